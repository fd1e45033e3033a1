"""The readings, declared once: columns in order, their names on the wire, units, bounds.

A field of a vehicle or meter costs one line here and a migration that adds its column. Everything else follows:
decoding and validation (``pipeline.decode``), COPY, staging and merging (``sql/queries``), the current state, the
trigger that protects stored values, what rules read, and comments in the database; a test compares ``docs/devices.md``
with it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import functools
import typing
from collections.abc import Mapping
from typing import Annotated, NamedTuple

UNBOUNDED = 1e9  # where the contract sets no bound, so that no sum over stored values can overflow
ID_LENGTH = 64
TEXT_LENGTH = 32
_TIME_SOURCE = "Who dated the reading: empty, the device itself; arrival, the daemon when it arrived"
POSITION = ("latitude", "longitude")  # both 0: the receiver has no fix


class DeviceType(enum.StrEnum):
    """What publishes readings; also the key of the topic filters in the settings."""

    VEHICLE = "vehicle"
    METER = "meter"


class Kind(enum.Enum):
    """What a field holds. The value is its column's type in PostgreSQL."""

    NUMBER = "float8"
    TEXT = "text"
    OBJECT = "jsonb"


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """One measured value.

    Attributes:
        wire: its name in payloads.
        meaning: for people; without the unit.
        unit: of the column and of the wire; empty where there is none.
        low, high: bounds of a number, inclusive.
        at: column of the current state that says when it was measured; fields with the same one go together.
        alias: another name in payloads; the first one wins.
        returned: field that takes the amount of a negative value (``limits.negative_is_returned``).
        metric: rules can watch it (``rules.model.TELEMETRY``).
    """

    wire: str
    meaning: str
    unit: str = ""
    low: float = 0.0
    high: float = UNBOUNDED
    kind: Kind = Kind.NUMBER
    at: str = ""
    alias: str = ""
    returned: str = ""
    metric: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """What payloads may call it."""
        return (self.wire, self.alias) if self.alias else (self.wire,)


class VehicleReading(NamedTuple):
    """One measured set of values of a vehicle: columns of ``volt.vehicle_reading``; None is missing."""

    vehicle_id: str
    recorded_at: dt.datetime
    soc_pct: Annotated[float | None, Field("soc", "State of charge", "%", 0, 100, at="soc_at", metric=True)]
    speed_kmh: Annotated[float | None, Field("speed", "Speed", "km/h", 0, 400, at="speed_at", metric=True)]
    battery_temp_c: Annotated[
        float | None,
        Field(
            "batteryTemp", "Battery temperature", "°C", -60, 200, at="battery_temp_at", alias="temperature", metric=True
        ),
    ]
    kwh_delivered_dc: Annotated[
        float | None,
        Field("kwhDeliveredDc", "DC energy into the battery in this interval", "kWh", returned="kwhReturnedDc"),
    ]
    dc_register_kwh: Annotated[
        float | None,
        Field("kwhDeliveredDcTotal", "Register of DC energy into the battery", "kWh", at="dc_register_at"),
    ]
    latitude: Annotated[float | None, Field("latitude", "Latitude, WGS 84", "degrees", -90, 90, at="position_at")]
    longitude: Annotated[float | None, Field("longitude", "Longitude, WGS 84", "degrees", -180, 180, at="position_at")]
    charging_status: Annotated[
        str | None, Field("chargingStatus", "Charging status as the vehicle calls it", kind=Kind.TEXT)
    ]
    charging_power_kw: Annotated[
        float | None,
        Field(
            "chargingPower", "Power into the battery (negative: out of it)", "kW", -5000, 5000, at="charging_power_at"
        ),
    ]
    odometer_km: Annotated[float | None, Field("odometer", "Odometer", "km", at="odometer_at")]
    kwh_returned_dc: Annotated[
        float | None, Field("kwhReturnedDc", "DC energy out of the battery in this interval (vehicle to grid)", "kWh")
    ]
    dc_returned_register_kwh: Annotated[
        float | None,
        Field("kwhReturnedDcTotal", "Register of DC energy out of the battery", "kWh", at="dc_returned_register_at"),
    ]
    ac_register_kwh: Annotated[
        float | None,
        Field("kwhOnboardAcTotal", "Register of AC energy into the on-board charger", "kWh", at="ac_register_at"),
    ]
    time_source: Annotated[str | None, Field("timeSource", _TIME_SOURCE, kind=Kind.TEXT)]
    diagnostics: Annotated[
        str | None, Field("diagnostics", "Whatever else the vehicle reports, a JSON object", kind=Kind.OBJECT)
    ]
    received_at: dt.datetime


class MeterReading(NamedTuple):
    """One measured set of values of a meter: columns of ``volt.meter_reading``; None is missing."""

    meter_id: str
    recorded_at: dt.datetime
    kwh_consumed_ac: Annotated[
        float | None,
        Field("kwhConsumedAc", "AC energy from the grid in this interval", "kWh", returned="kwhReturnedAc"),
    ]
    ac_register_kwh: Annotated[
        float | None, Field("kwhConsumedAcTotal", "Register of AC energy from the grid", "kWh", at="ac_register_at")
    ]
    voltage_v: Annotated[float | None, Field("voltage", "Voltage", "V", 0, 1000, at="voltage_at")]
    current_a: Annotated[float | None, Field("current", "Current", "A", -UNBOUNDED, at="current_at")]
    power_kw: Annotated[float | None, Field("power", "Power", "kW", -UNBOUNDED, at="power_at")]
    kwh_returned_ac: Annotated[
        float | None, Field("kwhReturnedAc", "AC energy back into the grid in this interval", "kWh")
    ]
    ac_returned_register_kwh: Annotated[
        float | None,
        Field("kwhReturnedAcTotal", "Register of AC energy back into the grid", "kWh", at="ac_returned_register_at"),
    ]
    time_source: Annotated[str | None, Field("timeSource", _TIME_SOURCE, kind=Kind.TEXT)]
    received_at: dt.datetime


Reading = VehicleReading | MeterReading
CLASSES: Mapping[DeviceType, type[Reading]] = {
    DeviceType.VEHICLE: VehicleReading,
    DeviceType.METER: MeterReading,
}


@functools.cache
def fields(device_type: DeviceType) -> Mapping[str, Field]:
    """The measured values of a reading by column, in the order of its columns; ``at`` is set in each."""
    found = {}
    for column, hint in typing.get_type_hints(CLASSES[device_type], include_extras=True).items():
        for field in getattr(hint, "__metadata__", ()):
            found[column] = dataclasses.replace(field, at=field.at or f"{column}_at")
    return found


def metrics() -> Mapping[str, Field]:
    """The values of vehicles that rules can watch, by column, in the order of the columns."""
    return {column: field for column, field in fields(DeviceType.VEHICLE).items() if field.metric}


def id_name(device_type: DeviceType) -> str:
    """What payloads call the device's id."""
    return f"{device_type.value}Id"


def known_names(device_type: DeviceType) -> frozenset[str]:
    """What somebody may have meant by another name: the fields of a reading, its time and its id."""
    return frozenset({*(field.wire for field in fields(device_type).values()), "timestamp", id_name(device_type)})


@functools.cache
def wire_names(device_type: DeviceType) -> Mapping[str, str]:
    """What payloads call the columns."""
    return {column: field.wire for column, field in fields(device_type).items()}


@functools.cache
def names() -> frozenset[str]:
    """What payloads may call the measured values of either device type."""
    return frozenset(
        name for device_type in DeviceType for field in fields(device_type).values() for name in field.names
    )


def types(device_type: DeviceType) -> list[str]:
    """PostgreSQL types of a reading's columns, for COPY."""
    return ["text", "timestamptz", *(field.kind.value for field in fields(device_type).values()), "timestamptz"]


def state(device_type: DeviceType) -> list[tuple[list[str], str]]:
    """The columns of the current state in order: values that are measured together, and the column of their time."""
    groups: list[tuple[list[str], str]] = []
    for column, field in fields(device_type).items():
        if groups and groups[-1][1] == field.at:
            groups[-1][0].append(column)
        else:
            groups.append(([column], field.at))
    return groups


def state_types(device_type: DeviceType) -> list[str]:
    """PostgreSQL types of the columns of the current state, for COPY."""
    declared = fields(device_type)
    types = ["text", "timestamptz"]
    for columns, _at in state(device_type):
        types += [*(declared[column].kind.value for column in columns), "timestamptz"]
    return [*types, "timestamptz"]
