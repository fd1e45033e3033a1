"""Values of one device that arrive within a moment become one reading."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import families as support
from voltd import models
from voltd.models import Reason
from voltd.pipeline.decode.devices import gather, taken

OVMS = "ovms/alice/EV1/metric/v/"
SETTINGS = support.settings(ovms={"gather_s": 1.0}, tasmota={})


def ovms(rest, payload, after_s=0.0, device="EV1", **more):
    return support.message(f"ovms/alice/{device}/metric/{rest}", payload, after_s, **more)


def test_one_reading_dated_by_its_first_message():
    batch = support.decode(
        SETTINGS, ovms("v/b/soc", "96.3"), ovms("v/p/speed", "0", 0.4), ovms("v/b/power", "-3.5", 0.9)
    )
    (reading,) = batch.vehicles
    assert support.values(reading) == {
        "vehicle_id": "EV1", "recorded_at": support.NOW, "soc_pct": 96.3, "speed_kmh": 0.0, "charging_power_kw": 3.5,
        "time_source": "arrival",
    }  # fmt: skip
    assert (batch.vehicle_sources, batch.gathered, len(batch.messages)) == ([(0, None)], {0: 3}, 3)


def test_another_value_of_the_same_field_begins_a_new_reading():
    batch = support.decode(SETTINGS, ovms("v/b/soc", "96.3"), ovms("v/b/soc", "96.3"), ovms("v/b/soc", "96.2"))
    assert [(one.soc_pct, one.recorded_at - support.NOW) for one in batch.vehicles] == [
        (96.3, dt.timedelta(0)),
        (96.2, dt.timedelta(microseconds=1)),
    ]


def test_what_comes_later_is_another_reading():
    batch = support.decode(SETTINGS, ovms("v/b/soc", "96"), ovms("v/p/speed", "3", 1.0))
    assert [(one.soc_pct, one.speed_kmh) for one in batch.vehicles] == [(96.0, None), (None, 3.0)]


def test_a_position_of_zero_is_none():
    batch = support.decode(SETTINGS, ovms("v/p/latitude", "0"), ovms("v/p/longitude", "0.0"), ovms("v/b/soc", "5"))
    (reading,) = batch.vehicles
    assert (reading.latitude, reading.longitude, reading.soc_pct) == (None, None, 5.0)
    batch = support.decode(SETTINGS, ovms("v/p/latitude", "0"), ovms("v/p/longitude", "9.5"))
    assert [(one.latitude, one.longitude) for one in batch.vehicles] == [(0.0, 9.5)]


def test_a_retained_value_is_of_a_time_that_nobody_knows():
    batch = support.decode(SETTINGS, ovms("v/b/soc", "96", retained=True))
    assert (batch.vehicles, batch.alive, batch.alive_sources, batch.dead_letters) == ([], [], [(0, None)], [])
    assert (batch.signs_of_life, batch.passed_over) == (0, 1)
    replayed = support.decoder_of(SETTINGS).decode([ovms("v/b/soc", "96", retained=True)], replayed=True)
    assert [one.soc_pct for one in replayed.vehicles] == [96.0]


@pytest.mark.parametrize("payload", ["", "null", '""', "nan", " ", "null\0"])
def test_no_value_is_a_sign_of_life(payload):
    batch = support.decode(SETTINGS, ovms("v/b/soc", payload))
    assert [(one.device_id, one.received_at) for one in batch.alive] == [("EV1", support.NOW)]
    assert (batch.vehicles, batch.dead_letters) == ([], [])


@pytest.mark.parametrize(
    ("payload", "reason", "detail"),
    [
        ("full", Reason.WRONG_TYPE, "soc: a number belongs here, not the text 'full' (from metric/v/b/soc)"),
        ("101", Reason.OUT_OF_RANGE, "soc: should be at most 100, not 101.0 (from metric/v/b/soc)"),
        ('{"soc":1}', Reason.NOT_AN_OBJECT, "one value belongs here, not an object or array"),
        (b"\xff\xff", Reason.NOT_JSON, "binary data that begins with ff ff: JSON belongs here, in UTF-8"),
        ("9" * 2000, Reason.NOT_AN_OBJECT, "one value belongs here, not 2000 bytes"),
    ],
)
def test_what_is_no_value_is_a_dead_letter(payload, reason, detail):
    batch = support.decode(SETTINGS, ovms("v/b/soc", payload), ovms("v/p/speed", "3"))
    assert [(one.reason, one.detail, one.device_id) for one in batch.dead_letters] == [(reason, detail, "EV1")]
    assert [one.speed_kmh for one in batch.vehicles] == [3.0]


@pytest.mark.parametrize(("payload", "heard"), [("yes", ["EV1"]), ("YES", ["EV1"]), ("no", []), ("", []), ("true", [])])
def test_liveness(payload, heard):
    batch = support.decode(SETTINGS, ovms("s/v3/connected", payload))
    assert [one.device_id for one in batch.alive] == heard
    assert (batch.vehicles, batch.dead_letters, batch.alive_sources) == ([], [], [(0, None)])


def test_ids_of_the_settings():
    given = support.settings(ovms={"id": "{user}-{id}", "ids": {"alice-EV1": "van-7"}})
    batch = support.decode(
        given, ovms("v/b/soc", "5"), ovms("v/b/soc", "5", device="EV2"), ovms("v/b/soc", "5", device="")
    )
    assert [one.vehicle_id for one in batch.vehicles] == ["van-7", "alice-EV2", "alice-"]


def test_messages_wait_until_their_reading_is_complete():
    decoder, held = support.decoder_of(SETTINGS), gather.Gather()
    batch = decoder.decode([ovms("v/b/soc", "5"), support.message("volt/vehicle/V/telemetry", "{")], None, held)
    assert ([one.topic for one in batch.messages], len(batch.dead_letters)) == (["volt/vehicle/V/telemetry"], 1)
    assert held.due == support.NOW + dt.timedelta(seconds=1)
    assert decoder.complete(batch, held, support.NOW + dt.timedelta(seconds=0.9)) == 0
    assert decoder.complete(batch, held, support.NOW + dt.timedelta(seconds=1)) == 1
    assert (len(batch.messages), len(batch.vehicles), batch.vehicle_sources, held.held) == (2, 1, [(1, None)], False)


EVENT = st.tuples(
    st.sampled_from(["EV1", "EV2"]), st.sampled_from(["v/b/soc", "v/p/speed", "v/p/odometer"]), st.integers(0, 3),
    st.floats(0, 0.7), st.booleans(),
)  # fmt: skip


@given(events=st.lists(EVENT, max_size=30))
def test_every_message_has_one_fate_and_every_value_is_kept(events):
    """Whatever comes when, and whenever it is asked for: no message twice, no value lost, no time twice."""
    decoder, held = support.decoder_of(SETTINGS), gather.Gather()
    batch, at, sent = models.Batch([]), 0.0, []
    for number, (device, topic, value, after_s, asks) in enumerate(events):
        at += after_s
        one = ovms(topic, str(value), at, device=device, packet_id=number)
        sent.append((device, topic, float(value)))
        decoder.decode([one], batch, held)
        if asks:
            decoder.complete(batch, held, one.received_at)
    decoder.complete(batch, held, None)
    assert sorted(one.packet_id for one in batch.messages) == list(range(len(events)))
    times = [(one.vehicle_id, one.recorded_at) for one in batch.vehicles]
    assert len(times) == len(set(times))
    columns = {"v/b/soc": "soc_pct", "v/p/speed": "speed_kmh", "v/p/odometer": "odometer_km"}
    found = {(one.vehicle_id, name, getattr(one, name)) for one in batch.vehicles for name in columns.values()}
    assert {(device, columns[topic], value) for device, topic, value in sent} == {
        one for one in found if one[2] is not None
    }
    last = {(device, topic): value for device, topic, value in sent}
    for (device, topic), value in last.items():
        newest = [getattr(one, columns[topic]) for one in batch.vehicles if one.vehicle_id == device]
        assert [one for one in newest if one is not None][-1] == value


STATION = """
title = "Stations"
topics = ["s/{id}"]
device = "meter"
[[document]]
topic = "state"
[document.fields]
power = { path = "w", unit = "W" }
[[document]]
topic = "state"
device = "vehicle"
[document.fields]
soc = { path = "soc", unit = "%" }
[[value]]
topic = "us"
path = "l1"
field = "voltage"
unit = "V"
[[value]]
topic = "us"
path = "i1"
field = "current"
unit = "A"
[[value]]
topic = "us"
path = "other"
field = "voltage"
unit = "V"
"""


@pytest.fixture
def stations(tmp_path):
    (tmp_path / "stations.toml").write_text(STATION)
    return support.settings(tmp_path, stations={})


def test_a_message_of_two_devices_waits_for_none(stations):
    """It is acked once, so that it must be stored at once; the time of each reading is its own."""
    decoder, held = support.decoder_of(stations), gather.Gather()
    messages = [support.message("s/7/state", f'{{"w":{kw}000,"soc":50}}', packet_id=kw) for kw in (1, 2)]
    batch = decoder.decode(messages, None, held)
    assert ([one.packet_id for one in batch.messages], held.held) == ([1, 2], False)
    assert [(one.power_kw, one.recorded_at - support.NOW, one.time_source) for one in batch.meters] == [
        (1.0, dt.timedelta(0), "arrival"),
        (2.0, dt.timedelta(microseconds=1), "arrival"),
    ]
    assert (batch.meter_sources, batch.vehicle_sources) == ([(0, None), (1, None)], [(0, None), (1, None)])


def test_two_values_of_one_message_are_one_reading(stations):
    decoder, held = support.decoder_of(stations), gather.Gather()
    batch = decoder.decode([support.message("s/7/us", '{"l1":230,"i1":5}', packet_id=3)], None, held)
    decoder.complete(batch, held, None)
    assert [one.packet_id for one in batch.messages] == [3]
    assert [(one.voltage_v, one.current_a) for one in batch.meters] == [(230.0, 5.0)]


def test_two_values_that_contradict_each_other_are_two_readings(stations):
    batch = support.decode(stations, support.message("s/7/us", '{"l1":230,"other":231}', packet_id=3))
    assert [one.packet_id for one in batch.messages] == [3]
    assert [one.voltage_v for one in batch.meters] == [230.0, 231.0]


def test_what_is_redelivered_is_one_reading_with_the_last_values():
    """Nobody knows the times, and some of it may be stored already: a register must not run backwards."""
    again = [ovms("v/c/kwh", value, redelivered=True) for value in ("9.0", "9.5", "0.0", "0.5")]
    batch = support.decode(SETTINGS, *again, ovms("v/b/soc", "60", redelivered=True), ovms("v/c/kwh", "0.6"))
    assert [(one.dc_register_kwh, one.soc_pct) for one in batch.vehicles] == [(0.5, 60.0), (0.6, None)]
    assert (len(batch.messages), batch.gathered) == (6, {0: 5})


def test_parts_of_a_sum_are_of_one_telegram():
    """A part that comes once more is of the next sum, even where its value is the same."""
    given_ = support.settings(dsmr_reader_split={})
    base = "dsmr/reading/electricity_delivered_"

    def telegram(first, second, after_s):
        parts = ((f"{base}1", first), (f"{base}2", second))
        return [support.message(topic, value, after_s) for topic, value in parts]

    batch = support.decode(given_, *telegram("5", "1.5", 0.0), *telegram("5", "2.5", 0.5), *telegram("6", "2.5", 0.9))
    assert [one.ac_register_kwh for one in batch.meters] == [6.5, 7.5, 8.5]


def test_an_older_value_is_not_dated_behind_a_newer_one():
    """Also where the newer one cannot wait, as its message is of two devices."""
    key = (models.DeviceType.METER, "m")
    held = gather.Gather()
    first = support.message("t", "1")
    held.add(first, taken.Taken(*key, None, [1.0, *[None] * 7]), dt.timedelta(seconds=1))
    held.end(key)
    later = held.moment(key, support.NOW)
    assert [group.at < later for group in held.complete(None)] == [True]
