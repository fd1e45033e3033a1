"""A field that is refused alone, from the message to the command and back; and devices that only say that they live."""

import datetime as dt
import json

import pytest

from support import dead_letters, harness
from support.dead_letters import NOW, reading
from voltd import config, models
from voltd.database import connections
from voltd.pipeline.current import state as write_current
from voltd.pipeline.decode import decoder as decode
from voltd.pipeline.write import store as write

TOPIC = "volt/vehicle/V1/telemetry"


@pytest.fixture
def rig(migrated_database, tmp_path):
    return dead_letters.Rig(migrated_database, tmp_path)


def test_a_field_is_filled_in_once_it_is_acceptable(rig):
    """Replayed, it goes into the stored reading; the letters of other fields of the same reading stay."""
    rig.receive((TOPIC, reading(1, batteryTemp="21,5", kwhDeliveredDc=-0.21)))
    assert rig.rows("SELECT soc_pct, kwh_returned_dc FROM volt.vehicle_reading") == [(50, None)]
    assert "2 dead letters refused again" in rig.voltd("replay", code=1)
    text = rig.voltd("replay", code=1, limits__negative_is_returned="true")
    assert "1 dead letter done" in text
    assert "1 wrong_type" in text
    assert rig.rows("SELECT soc_pct, kwh_returned_dc FROM volt.vehicle_reading") == [(50, 0.21)]
    assert rig.rows("SELECT field FROM volt.dead_letter WHERE replayed_at IS NULL") == [("batteryTemp",)]


def test_an_element_of_an_array_is_filled_in(rig):
    rig.receive((TOPIC, [reading(1), reading(2, kwhDeliveredDc=-1)]))
    assert "1 dead letter done" in rig.voltd("replay", limits__negative_is_returned="true")
    assert rig.rows("SELECT kwh_returned_dc FROM volt.vehicle_reading ORDER BY recorded_at") == [(1,), (None,)]


def test_a_reading_refused_whole_stays_until_all_of_it_is_fine(rig):
    """Under "reject" the whole reading waits; with the field left out, the rest goes in and the letter stays."""
    rig.receive((TOPIC, reading(1, speed=-1)), bad_field="reject")
    assert harness.count(rig.dsn, "vehicle_reading") == 0
    text = rig.voltd("replay", code=1)
    assert "1 reading stored" in text
    assert "1 of them in part" in text


def test_a_field_of_a_reading_that_contradicts(rig):
    """Another field's conflict has a dead letter of its own, and does not keep this one back."""
    rig.receive((TOPIC, reading(1, soc=60)), numbers_as_text=False)
    rig.receive((TOPIC, reading(1, soc=61, batteryTemp="21")), numbers_as_text=False)
    text = rig.voltd("replay", code=1)
    assert "1 dead letter done" in text
    assert "1 conflict" in text
    assert rig.rows("SELECT soc_pct, battery_temp_c FROM volt.vehicle_reading") == [(60, 21)]
    assert rig.rows("SELECT reason FROM volt.dead_letter WHERE replayed_at IS NULL") == [("conflict",)]


def test_a_field_that_contradicts_itself(rig):
    """What came for it since is stored: its dead letter stays."""
    rig.receive((TOPIC, reading(1, batteryTemp="21")), numbers_as_text=False)
    rig.receive((TOPIC, reading(1, batteryTemp=25)))
    assert "1 conflict" in rig.voltd("replay", code=1)
    assert rig.rows("SELECT battery_temp_c FROM volt.vehicle_reading") == [(25,)]


def test_a_field_alone_in_its_message_is_stored_once_it_is_acceptable(rig):
    """The first of those counted in one row; of the others the values are gone, and it says so."""
    alone = [{name: value for name, value in reading(n, batteryTemp="21").items() if name != "soc"} for n in range(3)]
    rig.receive(*((TOPIC, body) for body in alone), numbers_as_text=False)
    assert rig.rows("SELECT field, repeats FROM volt.dead_letter") == [("batteryTemp", 3)]
    text = rig.voltd("replay")
    assert "1 reading stored" in text
    assert "1 dead letter done\n  2 repeats counted with them had values of their own, which were not kept" in text
    assert rig.rows("SELECT battery_temp_c FROM volt.vehicle_reading") == [(21,)]


def test_list_and_show_name_field_and_repeats(rig):
    rig.receive(*[(TOPIC, reading(number, batteryTemp=-127)) for number in range(3)])
    text = rig.voltd("list")
    assert "batteryTemp: should be at least -60, not -127 (3 times, last " in text
    (row,) = [json.loads(line) for line in rig.voltd("list", "--json").splitlines()]
    assert (row["field"], row["repeats"], row["device_type"], row["device_id"]) == ("batteryTemp", 3, "vehicle", "V1")
    shown = rig.voltd("show", str(row["id"]))
    assert "batteryTemp" in shown
    assert '"batteryTemp": -127' in shown


def test_a_backlog_that_was_too_large_is_stored_once_the_limit_is_raised(rig):
    """A day of readings every minute, refused and kept whole; nothing of it is lost."""
    body = [reading(number, note="x" * 150) for number in range(1440)]
    rig.receive((TOPIC, body), max_payload_bytes=1 << 18)
    assert rig.rows("SELECT reason, octet_length(payload) > 300000 FROM volt.dead_letter") == [("too_large", True)]
    assert "1 too_large" in rig.voltd("replay", code=1, limits__max_payload_bytes=str(1 << 18))
    text = rig.voltd("replay")
    assert "1440 readings stored" in text
    assert "only the beginning" not in text


def test_a_sign_of_life_refreshes_liveness_and_nothing_else(rig):
    """Known fields that are null: last_seen_at moves on, history and state stay; unknown devices get no state."""
    settings = config.Settings(database={"dsn": rig.dsn})
    decoder = decode.Decoder(settings.mqtt.topics, settings.limits, settings.max_age_days)
    store = write.PostgresStore(connections.connector(settings), "test")
    current = write_current.CurrentState(connections.connector(settings), "test", 1.0)

    def receive(topic, body, after_s, *, retained=False):
        at = NOW + dt.timedelta(seconds=after_s)
        payload = json.dumps({"timestamp": NOW.isoformat(), **body}).encode()
        batch = decoder.decode([models.Message(topic, payload, 1, at, retained=retained, connection=1)])
        current.note(batch, store.write(batch))
        current.merge()
        return batch

    try:
        receive(TOPIC, {"soc": 64}, 0)
        receive("volt/meter/M1/telemetry", {"power": 1}, 0)
        receive("volt/meter/M1/telemetry", {"power": None}, 5)
        receive(TOPIC, {"soc": None}, 7)
        receive(TOPIC, {"soc": None}, 6)
        receive(TOPIC, {"soc": None}, 99, retained=True)
        receive("volt/vehicle/NEW/telemetry", {"soc": None}, 7)
    finally:
        store.close()
        current.close()
    seen = "SELECT last_seen_at - recorded_at FROM volt."
    assert rig.rows(seen + "vehicle_current") == [(dt.timedelta(seconds=7),)]
    assert rig.rows(seen + "meter_current") == [(dt.timedelta(seconds=5),)]
    assert rig.rows("SELECT vehicle_id, soc_pct FROM volt.vehicle_current") == [("V1", 64)]
    assert harness.count(rig.dsn, "vehicle_reading") == 1
    assert harness.count(rig.dsn, "dead_letter") == 0
