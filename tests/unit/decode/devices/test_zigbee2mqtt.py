"""zigbee2mqtt: payloads of its device pages, beside those of devices that are no meters."""

from __future__ import annotations

import datetime as dt

import pytest

from support import families as support
from voltd.models import Reason

SETTINGS = support.settings(zigbee2mqtt={})
PLUG = '{"state":"ON","power":47,"current":0.21,"voltage":231,"energy":12.34,"linkquality":105}'


def zigbee(name, payload, after_s=0.0, **more):
    return support.message(f"zigbee2mqtt/{name}", payload, after_s, **more)


def test_a_plug():
    (reading,) = support.decode(SETTINGS, zigbee("garage plug", PLUG)).meters
    assert support.values(reading) == {
        "meter_id": "garage plug", "recorded_at": support.NOW, "ac_register_kwh": 12.34, "power_kw": 0.047,
        "current_a": 0.21, "voltage_v": 231.0, "time_source": "arrival",
    }  # fmt: skip


@pytest.mark.parametrize(
    "written", ['"2026-05-01T11:59:00.000Z"', '"2026-05-01T13:59:00+02:00"', "1777636740000", "1777636740"]
)
def test_last_seen_is_the_time(written):
    payload = PLUG[:-1] + f',"last_seen":{written}}}'
    (reading,) = support.decode(SETTINGS, zigbee("p", payload)).meters
    assert (reading.recorded_at, reading.time_source) == (support.NOW - dt.timedelta(minutes=1), None)


def test_retained_with_a_time_is_stored_and_without_one_passed_over():
    dated = PLUG[:-1] + ',"last_seen":"2026-05-01T11:00:00Z"}'
    batch = support.decode(SETTINGS, zigbee("p", dated, retained=True), zigbee("q", PLUG, retained=True))
    assert [(reading.meter_id, reading.recorded_at.hour) for reading in batch.meters] == [("p", 11)]
    assert (batch.alive, batch.dead_letters) == ([], [])


def test_energy_that_flows_back():
    payload = '{"energy":101.5,"produced_energy":7.25,"power":-320}'
    (reading,) = support.decode(SETTINGS, zigbee("pv", payload)).meters
    assert (reading.ac_register_kwh, reading.ac_returned_register_kwh, reading.power_kw) == (101.5, 7.25, -0.32)


def test_of_three_phases_only_the_energy_is_known():
    payload = ('{"energy":5021.7,"power":410,"power_phase_b":395,"power_phase_c":402,"current":1.8,'
               '"current_phase_b":1.7,"current_phase_c":1.7,"voltage":231,"voltage_phase_b":230}')  # fmt: skip
    (reading,) = support.decode(SETTINGS, zigbee("house", payload)).meters
    assert (reading.ac_register_kwh, reading.power_kw, reading.current_a, reading.voltage_v) == (
        5021.7,
        None,
        None,
        231,
    )


@pytest.mark.parametrize(
    "payload",
    [
        '{"temperature":21.4,"humidity":51,"battery":97,"voltage":3015,"linkquality":90}',
        '{"temperature":21.4,"battery":97,"voltage":3015,"last_seen":"1970-01-01T00:00:00Z"}',
        '{"state":"ON","brightness":254}',
        '{"occupancy":true}',
        "{}",
        "",
        "null",
    ],
)
def test_another_device_is_passed_over(payload):
    batch = support.decode(SETTINGS, zigbee("something", payload))
    assert (batch.meters, batch.dead_letters, len(batch.alive_sources)) == ([], [], 1)


def test_null_is_no_value():
    batch = support.decode(SETTINGS, zigbee("p", '{"power":null,"energy":null,"voltage":null}'))
    assert (batch.meters, batch.dead_letters, len(batch.alive)) == ([], [], 1)


def test_a_bad_value_does_not_take_the_others_down():
    batch = support.decode(SETTINGS, zigbee("p", '{"power":"on","energy":12.34}'))
    assert [(letter.reason, letter.field) for letter in batch.dead_letters] == [(Reason.WRONG_TYPE, "power")]
    assert [reading.ac_register_kwh for reading in batch.meters] == [12.34]


@pytest.mark.parametrize(
    ("payload", "heard"),
    [("online", 1), ("offline", 0), ('{"state":"online"}', 1), ('{"state":"offline"}', 0), ("", 0)],
)
def test_availability(payload, heard):
    batch = support.decode(SETTINGS, zigbee("p/availability", payload))
    assert (len(batch.alive), batch.meters, batch.dead_letters) == (heard, [], [])
    retained = support.decode(SETTINGS, zigbee("p/availability", payload, retained=True))
    assert (retained.alive, retained.dead_letters) == ([], [])


def test_friendly_names_with_a_slash():
    given = support.settings(zigbee2mqtt={"topics": ["zigbee2mqtt/garage/{id}"], "id": "garage/{id}"})
    batch = support.decode(given, zigbee("garage/plug", PLUG))
    assert [reading.meter_id for reading in batch.meters] == ["garage/plug"]
