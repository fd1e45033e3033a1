"""The declaration of the readings, and what follows from it in SQL."""

import datetime as dt

import pytest

from voltd import readings
from voltd.database import expand, queries
from voltd.readings import DeviceType


@pytest.mark.parametrize("device_type", DeviceType)
def test_each_column_is_declared(device_type):
    """Id, time and time of receipt frame the measured values, and each of these has a declaration."""
    columns = readings.CLASSES[device_type]._fields
    assert columns == (f"{device_type}_id", "recorded_at", *readings.fields(device_type), "received_at")


def test_names_on_the_wire_are_unambiguous():
    every = [
        field
        for device_type in DeviceType
        for column, field in readings.fields(device_type).items()
        if device_type is DeviceType.VEHICLE or column != "time_source"  # the one that both have
    ]
    names = [name for field in every for name in field.names]
    assert len(names) == len({*names}) == len(readings.names())
    assert {field.returned for field in every} - {""} <= {field.wire for field in every}


def test_values_measured_together_share_a_time():
    groups = readings.state(DeviceType.VEHICLE)
    assert (["latitude", "longitude"], "position_at") in groups
    assert [column for columns, _ in groups for column in columns] == list(readings.fields(DeviceType.VEHICLE))
    assert len({at for _, at in groups}) == len(groups)


@pytest.mark.parametrize("device_type", DeviceType)
def test_types_are_those_of_the_columns(device_type):
    types = readings.types(device_type)
    reading = readings.CLASSES[device_type]
    python = {"text": str, "jsonb": str, "float8": float, "timestamptz": dt.datetime}
    hints = [reading.__annotations__[column].__forward_arg__ for column in reading._fields]
    assert len(types) == len(hints)
    wanted = [python[one].__name__ for one in types]
    assert all(name in hint for name, hint in zip(wanted, hints, strict=True))


TEXT = """-- name: before
SELECT 1;
-- each device:
-- name: look_at_{device}
SELECT {columns}, {row.columns}, {state} FROM volt.{device}_reading WHERE false
  -- each value: OR r.{value} > c.{at}
  -- each time: , {at} FILTER (WHERE {known})
  -- vehicle: , only
;
-- end
-- name: after
"""


def test_a_block_is_written_for_each_device_type():
    text = expand.expand(TEXT)
    before, vehicle, meter = text.split("-- name: ")[1:4]
    assert before == "before\nSELECT 1;\n"
    assert text.endswith("-- name: after\n")
    assert vehicle.startswith("look_at_vehicle\nSELECT vehicle_id, recorded_at, soc_pct, ")
    assert "diagnostics, received_at, row.vehicle_id, row.recorded_at, row.soc_pct, " in vehicle
    assert "row.received_at, soc_pct, soc_at, speed_kmh, speed_at, " in vehicle
    assert "  OR r.longitude > c.position_at\n" in vehicle
    assert (
        "  , position_at FILTER (WHERE latitude IS NOT NULL AND longitude IS NOT NULL)\n  , charging_status_at"
        in vehicle
    )
    assert "  , only\n" in vehicle
    assert "only" not in meter
    assert "  OR r.power_kw > c.power_at\n" in meter


def test_text_outside_of_blocks_stays():
    text = "SELECT '{device}', '{columns}';\n-- each value: {value}\n"
    assert expand.expand(text) == text


def test_what_rules_watch_is_written_outside_of_blocks():
    text = expand.expand("SELECT {metrics}, {r.metrics}\n  -- each metric: WHEN '{metric}' THEN {metric_at}\n")
    assert text.startswith("SELECT soc_pct, speed_kmh, battery_temp_c")
    assert ", r.soc_pct, r.speed_kmh, r.battery_temp_c" in text
    assert "\n  WHEN 'speed_kmh' THEN speed_at\n  WHEN 'battery_temp_c' THEN battery_temp_at\n" in text


def test_no_query_keeps_a_mark():
    """A misspelt mark would go to the server as it is."""
    for name, text in queries.load().items():
        for mark in (
            "{device}",
            "columns}",
            "{state}",
            "{value}",
            "{at}",
            "{known}",
            "metrics}",
            "each value",
            "each time",
        ):
            assert mark not in text, name
