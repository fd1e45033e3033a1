"""Tasmota: payloads of its documentation and of evcc's tests of it."""

from __future__ import annotations

import datetime as dt

import pytest

from support import families as support
from voltd.models import Reason

SETTINGS = support.settings(tasmota={})
PLUG = (
    '{"Time":"2026-05-01T13:59:48","ENERGY":{"TotalStartTime":"2023-02-05T11:04:13","Total":1290.3960,"Yesterday":0.8540,'
    '"Today":0.1730,"Period":5,"Power":47.11,"ApparentPower":0.0,"ReactivePower":0.0,"Factor":0.00,"Voltage":0.00,'
    '"Current":0.000}}'
)
TWO = (
    '{"Time":"2026-05-01T13:59:39","ENERGY":{"Total":0.077,"Power":[8.15,0],"Voltage":237,"Current":[0.034,0.000]},'
    '"TempUnit":"C"}'
)
THREE = (
    '{"Time":"2026-05-01T13:59:39","ENERGY":{"Total":[10.5,20.25,30],"ExportActive":[0.5,0,1],"Power":[2300,-690,0],'
    '"Voltage":[230.5,231.25,0],"Current":[10,3,0]}}'
)
SML = (
    '{"Time":"2026-05-01T13:59:11","SML":{"Total_in":34507.4761,"Total_out":14737.1422,"Power_curr":-894,'
    '"Meter_number":"0a01"}}'
)


def sensor(payload, topic="tele/plug-7/SENSOR", **more):
    return support.message(topic, payload, **more)


def one(payload, settings=SETTINGS, **more):
    batch = support.decode(settings, sensor(payload, **more))
    assert batch.dead_letters == []
    (reading,) = batch.meters
    found = support.values(reading)
    return {name: value for name, value in found.items() if name not in ("meter_id", "recorded_at", "time_source")}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (PLUG, {"ac_register_kwh": 1290.396, "power_kw": 0.04711, "voltage_v": 0.0, "current_a": 0.0}),
        (TWO, {"ac_register_kwh": 0.077, "power_kw": 8.15 / 1000, "voltage_v": 237.0, "current_a": 0.034}),
        (
            THREE,
            {"ac_register_kwh": 60.75, "ac_returned_register_kwh": 1.5, "power_kw": 1.61, "voltage_v": 231.25,
             "current_a": 13.0},
        ),
        (SML, {"ac_register_kwh": 34507.4761, "ac_returned_register_kwh": 14737.1422, "power_kw": -0.894}),
        (SML.replace("Total_in", "total_in"), {"ac_register_kwh": 34507.4761, "ac_returned_register_kwh": 14737.1422,
                                               "power_kw": -0.894}),
    ],
    ids=["plug", "two-channels", "three-phases", "sml", "sml-small-letters"],
)  # fmt: skip
@pytest.mark.parametrize("topic", ["tele/plug-7/SENSOR", "stat/plug-7/STATUS8", "stat/plug-7/STATUS10"])
def test_its_payloads(payload, expected, topic):
    assert one(payload if "tele" in topic else f'{{"StatusSNS":{payload}}}', topic=topic) == expected


def test_local_time_needs_its_zone():
    (reading,) = support.decode(SETTINGS, sensor(PLUG)).meters
    assert (reading.recorded_at, reading.time_source) == (support.NOW, "arrival")
    (reading,) = support.decode(support.settings(tasmota={"zone": "Europe/Berlin"}), sensor(PLUG)).meters
    assert (reading.recorded_at, reading.time_source) == (support.NOW - dt.timedelta(seconds=12), None)


def test_a_zone_that_is_wrong_is_refused_and_not_stored_hours_off():
    batch = support.decode(support.settings(tasmota={"zone": "America/New_York"}), sensor(PLUG))
    assert ([letter.reason for letter in batch.dead_letters], batch.meters) == ([Reason.IN_FUTURE], [])


def test_retained_is_stored_where_its_time_is_known():
    assert support.decode(SETTINGS, sensor(PLUG, retained=True)).meters == []
    with_zone = support.settings(tasmota={"zone": "Europe/Berlin"})
    assert len(support.decode(with_zone, sensor(PLUG, retained=True)).meters) == 1


@pytest.mark.parametrize(
    "payload",
    ['{"Time":"2026-05-01T13:59:48","DS18B20":{"Temperature":21.5},"TempUnit":"C"}', '{"Time":"1970-01-01T00:00:05"}'],
)
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_another_sensor_is_passed_over(payload, zone):
    batch = support.decode(support.settings(tasmota={"zone": zone}), sensor(payload))
    assert (batch.meters, batch.dead_letters, len(batch.alive_sources)) == ([], [], 1)


@pytest.mark.parametrize(("payload", "heard"), [("Online", 1), ("Offline", 0), ("", 0)])
def test_last_will(payload, heard):
    batch = support.decode(SETTINGS, sensor(payload, "tele/plug-7/LWT"))
    assert (len(batch.alive), batch.meters, batch.dead_letters) == (heard, [], [])
    assert support.decode(SETTINGS, sensor(payload, "tele/plug-7/LWT", retained=True)).alive == []


def test_the_other_order_of_the_topic():
    given = support.settings(tasmota={"topics": ["{id}/tele", "{id}/stat"]})
    batch = support.decode(given, sensor(PLUG, "plug-7/tele/SENSOR"))
    assert [reading.meter_id for reading in batch.meters] == ["plug-7"]


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_beside_an_energy_chip_a_smart_meter_is_another_meter(zone):
    both = PLUG[:-1] + "," + SML[SML.index('"SML"') :]
    batch = support.decode(support.settings(tasmota={"zone": zone}), sensor(both))
    assert [reading.ac_register_kwh for reading in batch.meters] == [1290.396]
    assert (len(batch.messages), batch.dead_letters) == (1, [])


def test_the_hour_that_comes_twice():
    """Each live message is of the one that it arrived in; of a late one nobody knows, and the first is taken."""
    zone = support.settings(tasmota={"zone": "Europe/Berlin"})
    sent = [
        sensor(f'{{"Time":"2026-10-25T{local}","ENERGY":{{"Total":{total}}}}}')._replace(
            received_at=dt.datetime.fromisoformat(f"2026-10-25T{received}Z")
        )
        for total, (local, received) in enumerate(
            [("02:10:00", "00:10:01"), ("02:40:00", "00:40:01"), ("02:10:00", "01:10:01"), ("02:40:00", "01:40:01"),
             ("03:10:00", "02:10:01"), ("02:10:00", "06:00:00")]
        )
    ]  # fmt: skip
    batch = support.decode(zone, *sent)
    assert batch.dead_letters == []
    assert [f"{one.recorded_at:%H:%M}" for one in batch.meters] == [
        "00:10",
        "00:40",
        "01:10",
        "01:40",
        "02:10",
        "00:10",
    ]
