"""TeslaMate: payloads as its documentation and code write them."""

from __future__ import annotations

import pytest

from support import families as support
from voltd.pipeline.decode.devices import families

SETTINGS = support.settings(teslamate={})


def car(key, payload, after_s=0.0, **more):
    return support.message(f"teslamate/cars/1/{key}", payload, after_s, **more)


def test_a_car_that_charges():
    batch = support.decode(
        SETTINGS,
        car("location", '{"latitude":35.278131,"longitude":29.744801}'),
        car("battery_level", "88"),
        car("odometer", "1653"),
        car("power", "-9"),
        car("charging_state", "Charging"),
        car("charge_energy_added", "5.06", 0.5),
    )
    (reading,) = batch.vehicles
    assert support.values(reading) == {
        "vehicle_id": "1", "recorded_at": support.NOW, "soc_pct": 88.0, "latitude": 35.278131, "longitude": 29.744801,
        "odometer_km": 1653.0, "charging_power_kw": 9.0, "charging_status": "Charging", "dc_register_kwh": 5.06,
        "time_source": "arrival",
    }  # fmt: skip
    assert batch.dead_letters == []


@pytest.mark.parametrize(
    ("key", "payload", "column", "value"),
    [
        ("speed", "12", "speed_kmh", 12.0),
        ("power", "36", "charging_power_kw", -36.0),
        ("power", "0", "charging_power_kw", 0.0),
        ("odometer", "48212.55", "odometer_km", 48212.55),
        ("charging_state", "NoPower", "charging_status", "NoPower"),
        ("charge_energy_added", "0.0", "dc_register_kwh", 0.0),
    ],
)
def test_each_field(key, payload, column, value):
    (reading,) = support.decode(SETTINGS, car(key, payload)).vehicles
    assert getattr(reading, column) == value


@pytest.mark.parametrize("key", ["charge_energy_added", "location", "charging_state", "speed"])
def test_an_empty_payload_is_no_value(key):
    batch = support.decode(SETTINGS, car(key, ""))
    assert (batch.vehicles, batch.dead_letters, [alive.device_id for alive in batch.alive]) == ([], [], ["1"])


@pytest.mark.parametrize(
    ("state", "heard"),
    [("online", 1), ("driving", 1), ("charging", 1), ("updating", 1), ("asleep", 0), ("suspended", 0), ("offline", 0),
     ("unavailable", 0)],
)  # fmt: skip
def test_the_state_of_a_car_is_a_sign_of_life(state, heard):
    batch = support.decode(SETTINGS, car("state", state))
    assert (len(batch.alive), batch.vehicles, batch.dead_letters) == (heard, [], [])


def test_what_is_retained_is_passed_over():
    batch = support.decode(
        SETTINGS, car("battery_level", "88", retained=True), car("location", '{"latitude":35.2,"longitude":29.7}',
        retained=True), car("state", "online", retained=True),
    )  # fmt: skip
    assert (batch.vehicles, batch.alive, batch.dead_letters) == ([], [], [])


def test_what_is_not_read_is_not_subscribed_to():
    found = families.of(SETTINGS)
    for key in ("latitude", "longitude", "usable_battery_level", "inside_temp", "charger_power", "healthy", "since",
                "active_route", "charger_actual_current"):  # fmt: skip
        assert found.find(f"teslamate/cars/1/{key}") is None


def test_a_namespace():
    batch = support.decode(
        support.settings(
            teslamate={"topics": ["teslamate/{place}/cars/{id}"], "id": "{place}-{id}", "ids": {"depot-1": "van-7"}}
        ),
        support.message("teslamate/depot/cars/1/speed", "12"),
        support.message("teslamate/depot/cars/2/speed", "13"),
    )
    assert [(reading.vehicle_id, reading.speed_kmh) for reading in batch.vehicles] == [
        ("van-7", 12.0),
        ("depot-2", 13.0),
    ]
