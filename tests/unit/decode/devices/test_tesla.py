"""Tesla fleet-telemetry's MQTT dispatcher; payloads as its own tests and code write them."""

from __future__ import annotations

import datetime as dt

import pytest

from support import families as support
from voltd.models import Reason
from voltd.pipeline.decode.devices import families

VIN = "5YJ3E1EA7KF000001"
SETTINGS = support.settings(tesla={})


def tesla(topic, payload, after_s=0.0, **more):
    return support.message(f"telemetry/{VIN}/{topic}", payload, after_s, **more)


def one(*messages):
    batch = support.decode(SETTINGS, *messages)
    assert batch.dead_letters == []
    (reading,) = batch.vehicles
    return {name: value for name, value in support.values(reading).items() if name not in ("vehicle_id", "recorded_at")}


def test_its_own_payloads():
    """One reading of a car that charges, in whatever order its fields come."""
    assert one(
        tesla("v/Location", '{"latitude":37.7749,"longitude":-122.4194}'),
        tesla("v/BatteryLevel", "75.5"),
        tesla("v/DCChargingEnergyIn", "15.359999656677246"),
        tesla("v/Odometer", "44964.097"),
        tesla("v/DetailedChargeState", '"DetailedChargeStateCharging"'),
        tesla("v/ACChargingEnergyIn", "16.179500241092526", 0.9),
        tesla("v/ModuleTempMax", "41.5"),
        tesla("v/VehicleSpeed", "null"),
    ) == {
        "soc_pct": 75.5, "latitude": 37.7749, "longitude": -122.4194, "dc_register_kwh": 15.359999656677246,
        "odometer_km": 44964.097 * 1.609344, "charging_status": "DetailedChargeStateCharging",
        "ac_register_kwh": 16.179500241092526, "battery_temp_c": 41.5, "time_source": "arrival",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("field", "payload", "column", "value"),
    [
        ("VehicleSpeed", "12.3", "speed_kmh", 12.3 * 1.609344),
        ("VehicleSpeed", '"12.3"', "speed_kmh", 12.3 * 1.609344),
        ("VehicleSpeed", "0", "speed_kmh", 0.0),
        ("VehicleSpeed", '"60"', "speed_kmh", 96.56064),
        ("Odometer", '"44964.097"', "odometer_km", 44964.097 * 1.609344),
        ("Soc", "61.96487376509331", "soc_pct", 61.96487376509331),
        ("Soc", '"61.96"', "soc_pct", 61.96),
        ("BatteryLevel", "75.5", "soc_pct", 75.5),
        ("ModuleTempMax", '"41.500"', "battery_temp_c", 41.5),
        ("DCChargingPower", "47.9", "charging_power_kw", 47.9),
        ("DCChargingEnergyIn", '"15.359999656677246"', "dc_register_kwh", 15.359999656677246),
        ("DCChargingEnergyIn", "3.66e+01", "dc_register_kwh", 36.6),
        ("ACChargingEnergyIn", "16.1795", "ac_register_kwh", 16.1795),
    ],
)  # fmt: skip
def test_each_field_as_number_and_as_text(field, payload, column, value):
    assert one(tesla(f"v/{field}", payload)) == {column: value, "time_source": "arrival"}


@pytest.mark.parametrize(
    "word", ["Unknown", "Disconnected", "NoPower", "Starting", "Charging", "Complete", "Stopped"]
)  # fmt: skip
def test_the_state_of_charging_is_the_cars_word(word):
    found = one(tesla("v/DetailedChargeState", f'"DetailedChargeState{word}"'))
    assert found == {"charging_status": f"DetailedChargeState{word}", "time_source": "arrival"}


@pytest.mark.parametrize("payload", ["null", '"<invalid>"', "<invalid>", '""', ""])
@pytest.mark.parametrize("field", ["VehicleSpeed", "Location", "DetailedChargeState", "DCChargingEnergyIn"])
def test_a_signal_that_is_not_valid_is_no_value(field, payload):
    batch = support.decode(SETTINGS, tesla(f"v/{field}", payload))
    assert (batch.vehicles, batch.dead_letters, [alive.device_id for alive in batch.alive]) == ([], [], [VIN])


def test_a_position_of_zero_and_a_position_as_text():
    batch = support.decode(SETTINGS, tesla("v/Location", '{"latitude":0,"longitude":0}'))
    assert (batch.vehicles, batch.dead_letters) == ([], [])
    batch = support.decode(SETTINGS, tesla("v/Location", '"(37.412374 N, 122.145867 W)"'))
    assert [letter.reason for letter in batch.dead_letters] == [Reason.NOT_AN_OBJECT]


@pytest.mark.parametrize(
    ("status", "heard"), [("CONNECTED", [VIN]), ("DISCONNECTED", []), ("UNKNOWN", []), ("null", [])]
)
def test_connectivity(status, heard):
    payload = f'{{"ConnectionId":"c-1","CreatedAt":"2025-01-17T08:00:00Z","Status":"{status}"}}'
    batch = support.decode(SETTINGS, tesla("connectivity", payload))
    assert ([alive.device_id for alive in batch.alive], batch.vehicles, batch.dead_letters) == (heard, [], [])


def test_a_retained_flood_is_of_a_time_that_nobody_knows():
    batch = support.decode(
        SETTINGS,
        tesla("v/BatteryLevel", "75.5", retained=True),
        tesla("v/Location", '{"latitude":37.7749,"longitude":-122.4194}', retained=True),
        tesla("connectivity", '{"Status":"CONNECTED"}', retained=True),
    )
    assert (batch.vehicles, batch.alive, batch.dead_letters, len(batch.alive_sources)) == ([], [], [], 3)


def test_a_drive_is_one_reading_a_second():
    batch = support.decode(SETTINGS, *(tesla("v/VehicleSpeed", str(speed), speed) for speed in (1, 2, 3)))
    assert [(reading.recorded_at - support.NOW, reading.speed_kmh) for reading in batch.vehicles] == [
        (dt.timedelta(seconds=speed), speed * 1.609344) for speed in (1, 2, 3)
    ]


def test_what_is_not_read_is_not_subscribed_to():
    found = families.of(SETTINGS)
    for topic in ("alerts/TestAlert1/current", "alerts/TestAlert1/history", "errors/TestError1", "v/VehicleName",
                  "v/ChargeState", "v/ACChargingPower", "v/PackCurrent", "v/TimeToFullCharge"):  # fmt: skip
        assert found.find(f"telemetry/{VIN}/{topic}") is None


def test_a_topic_base_of_several_levels():
    batch = support.decode(
        support.settings(tesla={"topics": ["test/topic/{id}"], "ids": {"TEST123": "van-7"}}),
        support.message("test/topic/TEST123/v/BatteryLevel", "75.5"),
    )
    assert [(reading.vehicle_id, reading.soc_pct) for reading in batch.vehicles] == [("van-7", 75.5)]
