"""OVMS v3: its metrics, one a message; gathering them is tested in test_gather."""

from __future__ import annotations

import pytest

from support import families as support
from voltd.pipeline.decode.devices import families

SETTINGS = support.settings(ovms={})


def ovms(metric, payload, after_s=0.0, **more):
    return support.message(f"ovms/alice/EV1/metric/{metric}", payload, after_s, **more)


def test_a_car_that_charges():
    batch = support.decode(
        SETTINGS,
        ovms("v/b/soc", "96.3"),
        ovms("v/p/speed", "0"),
        ovms("v/p/odometer", "57913.1"),
        ovms("v/p/latitude", "51.302300"),
        ovms("v/p/longitude", "7.151200"),
        ovms("v/b/temp", "13"),
        ovms("v/b/power", "-3.456"),
        ovms("v/c/state", "charging"),
        ovms("v/c/kwh", "2.6969"),
        ovms("v/c/kwh/grid/total", "256.69", 0.8),
    )
    (reading,) = batch.vehicles
    assert support.values(reading) == {
        "vehicle_id": "EV1", "recorded_at": support.NOW, "soc_pct": 96.3, "speed_kmh": 0.0, "odometer_km": 57913.1,
        "latitude": 51.3023, "longitude": 7.1512, "battery_temp_c": 13.0, "charging_power_kw": 3.456,
        "charging_status": "charging", "dc_register_kwh": 2.6969, "ac_register_kwh": 256.69, "time_source": "arrival",
    }  # fmt: skip
    assert batch.dead_letters == []


@pytest.mark.parametrize(("payload", "into_kw"), [("-3.5", 3.5), ("21", -21.0), ("0", 0.0), ("-0", 0.0)])
def test_power_is_positive_out_of_the_battery(payload, into_kw):
    (reading,) = support.decode(SETTINGS, ovms("v/b/power", payload)).vehicles
    assert reading.charging_power_kw == into_kw


@pytest.mark.parametrize("word", ["charging", "topoff", "done", "prepare", "timerwait", "heating", "stopped"])
def test_the_state_of_charging_is_the_cars_word(word):
    (reading,) = support.decode(SETTINGS, ovms("v/c/state", word)).vehicles
    assert reading.charging_status == word


def test_a_position_is_two_messages():
    (reading,) = support.decode(SETTINGS, ovms("v/p/longitude", "7.1"), ovms("v/p/latitude", "51.3", 0.5)).vehicles
    assert (reading.latitude, reading.longitude) == (51.3, 7.1)


def test_a_retained_flood_is_passed_over_and_what_comes_live_is_stored():
    flood = [ovms(metric, "50", retained=True) for metric in ("v/b/soc", "v/p/speed", "v/b/temp", "v/p/odometer")]
    batch = support.decode(SETTINGS, *flood, ovms("s/v3/connected", "yes", retained=True), ovms("v/b/soc", "51", 2))
    assert [(reading.soc_pct, reading.speed_kmh) for reading in batch.vehicles] == [(51.0, None)]
    assert (batch.alive, batch.dead_letters) == ([], [])


def test_what_is_not_read_is_not_subscribed_to():
    found = families.of(SETTINGS)
    for metric in ("v/c/charging", "v/c/power", "v/c/kwh/grid", "v/b/current", "v/b/p/temp/max",
                   "v/b/energy/recd/total", "v/vin", "m/time/utc"):  # fmt: skip
        assert found.find(f"ovms/alice/EV1/metric/{metric}") is None
    assert found.find("ovms/alice/EV1/notify/alert/charge/stopped") is None
