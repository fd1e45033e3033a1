"""Corrections: what a conflict says replaces what is stored, the old value is kept, and every figure follows."""

import datetime as dt

import psycopg
import pytest

from support import dead_letters, harness, schema

HOUR = dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0) - dt.timedelta(days=3)
REPLAY = ("replay", "--reason", "conflict", "--overwrite")


def meter(minute, kwh):
    """A meter's reading in the hour."""
    return {"timestamp": (HOUR + dt.timedelta(minutes=minute)).isoformat(), "kwhConsumedAc": kwh}


@pytest.fixture(params=["timescale", "apache"])
def rig(database_of, request, tmp_path):
    made = dead_letters.Rig(database_of(request.param, schema=True), tmp_path)
    made.edition = request.param
    return made


def closed(rig):
    """The hour is closed, and where the edition can, its chunk compressed."""
    with psycopg.connect(rig.dsn, autocommit=True) as connection:
        schema.materialise(connection)
        if rig.edition == "timescale":
            connection.execute(
                "SELECT compress_chunk(c, if_not_compressed => true) FROM show_chunks('volt.meter_reading') AS c"
            )


def test_hour_day_and_current_state_follow(rig):
    """One wrong energy in a closed hour: the row, its hour, its day, the current state; and who, when, from, to."""
    rig.receive(*(("volt/meter/M1/telemetry", meter(minute, 1)) for minute in range(60)))
    rig.execute(
        "INSERT INTO volt.meter_current (meter_id, recorded_at, kwh_consumed_ac, kwh_consumed_ac_at)"
        f" VALUES ('M1', '{meter(59, 1)['timestamp']}', 1, '{meter(59, 1)['timestamp']}')"
    )
    closed(rig)
    rig.receive(("volt/meter/M1/telemetry", meter(59, 41)))
    assert rig.rows("SELECT interval_kwh FROM volt.meter_hourly") == [(60,)]
    assert "1 reading corrected" in rig.voltd(*REPLAY)
    assert rig.rows("SELECT sum(kwh_consumed_ac) FROM volt.meter_reading") == [(100,)]
    assert rig.rows("SELECT interval_kwh FROM volt.meter_hourly") == [(100,)]
    assert rig.rows("SELECT interval_kwh FROM volt.meter_daily") == [(100,)]
    assert rig.rows("SELECT kwh_consumed_ac FROM volt.meter_current") == [(41,)]
    assert rig.rows(
        "SELECT device_type, device_id, recorded_at, field, old_value, new_value, corrected_by = session_user,"
        " corrected_at > now() - INTERVAL '1 minute' FROM volt.correction"
    ) == [("meter", "M1", HOUR + dt.timedelta(minutes=59), "kwh_consumed_ac", 1, 41, True, True)]
    assert rig.rows("SELECT count(replayed_at) FROM volt.dead_letter") == [(1,)]
    assert "nothing to replay" in rig.voltd(*REPLAY)


def test_of_several_the_last_one_counts(rig):
    for kwh in (1, 2, 3):
        rig.receive(("volt/meter/M1/telemetry", meter(0, kwh)))
    assert "2 readings corrected" in rig.voltd(*REPLAY)
    assert rig.rows("SELECT old_value, new_value FROM volt.correction ORDER BY 1") == [(1, 2), (2, 3)]
    assert rig.rows("SELECT kwh_consumed_ac FROM volt.meter_reading") == [(3,)]


def vehicle(**values):
    """A vehicle's reading in the hour."""
    return ("volt/vehicle/V1/telemetry", {"timestamp": HOUR.isoformat(), **values})


def test_a_correction_beside_a_bad_field_is_done(rig):
    """The bad field has a dead letter of its own: run again, nothing puts the older correction back."""
    rig.receive(vehicle(soc=60))
    rig.receive(vehicle(soc=61, batteryTemp=-127))
    rig.receive(vehicle(soc=62))
    assert "2 dead letters done" in rig.voltd(*REPLAY)
    assert rig.rows("SELECT soc_pct FROM volt.vehicle_reading") == [(62,)]
    assert "nothing to replay" in rig.voltd(*REPLAY)
    assert rig.rows("SELECT soc_pct FROM volt.vehicle_reading") == [(62,)]
    assert rig.rows("SELECT field FROM volt.dead_letter WHERE replayed_at IS NULL") == [("batteryTemp",)]


def test_a_message_at_odds_with_itself_overwrites_nothing(rig):
    """Its conflict is between two of its own fields, and the rest of it was taken when it came."""
    rig.receive(vehicle(soc=60, batteryTemp=20, temperature=21))
    rig.receive(vehicle(soc=62))
    assert "1 dead letter done" in rig.voltd(*REPLAY)
    assert "nothing to replay" in rig.voltd(*REPLAY)
    assert rig.rows("SELECT soc_pct, battery_temp_c FROM volt.vehicle_reading") == [(62, 20)]


def test_without_overwrite_a_conflict_stays(rig):
    """Replayed it is refused again; --overwrite needs the reason beside it; --dry-run writes nothing."""
    rig.receive(("volt/meter/M1/telemetry", meter(0, 1)), ("volt/meter/M1/telemetry", meter(0, 2)))
    for words in ((), ("--dry-run",)):
        text = rig.voltd("replay", *words, code=1)
        assert "1 conflict" in text
        assert "in part" not in text
    assert "--reason conflict" in rig.voltd("replay", "--overwrite", code=2)
    assert "1 reading would be corrected" in rig.voltd(*REPLAY, "--dry-run")
    assert rig.rows("SELECT kwh_consumed_ac FROM volt.meter_reading") == [(1,)]
    assert harness.count(rig.dsn, "correction") == 0


def test_a_correction_that_also_fills_in(rig):
    """It is counted once, as a correction."""
    rig.receive(("volt/meter/M1/telemetry", meter(0, 1)), ("volt/meter/M1/telemetry", meter(0, 2)))
    more = "replace(convert_from(payload, 'UTF8'), '}', ', \"power\": 3}')"
    rig.execute(f"UPDATE volt.dead_letter SET payload = convert_to({more}, 'UTF8')")
    text = rig.voltd(*REPLAY)
    assert "0 readings stored, 0 were there already" in text
    assert "1 reading corrected" in text
    assert rig.rows("SELECT kwh_consumed_ac, power_kw FROM volt.meter_reading") == [(2, 3)]
