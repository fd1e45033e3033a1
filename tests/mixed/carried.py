"""What each format carries of a device, how fine, and what becomes of it: the reasons for which figures may differ.

A field that is not listed for a format is one for which the format has no word, or that its description leaves out with
a reason (docs/devices.md).
"""

import dataclasses

from voltd.simulate.families import speaker

_OWN_STEP = {
    "soc_pct": 0.01,
    "speed_kmh": 0.1,
    "battery_temp_c": 0.01,
    "dc_register_kwh": 1e-6,
    "latitude": 1e-6,
    "longitude": 1e-6,
    "charging_power_kw": 0.01,
    "odometer_km": 0.001,
    "ac_register_kwh": 1e-6,
    "voltage_v": 0.1,
    "current_a": 0.01,
    "power_kw": 0.0001,
}
_OF_METERS = ("ac_register_kwh", "voltage_v", "current_a", "power_kw")
_MILE_KM = 1.609344
_OVMS = {"CHARGING": "charging", "CONNECTED": "done", "DISCONNECTED": "stopped"}
_TESLA = {"CHARGING": "Charging", "CONNECTED": "Complete", "DISCONNECTED": "Disconnected"}
_PLACE = {"latitude": 1e-6, "longitude": 1e-6}


@dataclasses.dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        steps: how fine it writes each field, in the field's unit.
        words: of the charging status, by voltd's own.
        summed: its current is the sum of the phases; voltd's own format has that of one.
        moves: has a speed only while the vehicle drives.
        clock_s: how fine its own time is; 0: it has none, and the arrival counts.
    """

    steps: dict
    words: dict | None = None
    summed: bool = False
    moves: bool = False
    clock_s: float = 0.0


def _own(fields, words=None):
    return Format(dict.fromkeys(fields, 0.0), words, clock_s=1e-6)


def _meter(energy, power, voltage=None, current=None, **more):
    """A format of meters: how fine it writes each value."""
    steps = {"ac_register_kwh": energy, "power_kw": power, "voltage_v": voltage, "current_a": current}
    return Format({field: step for field, step in steps.items() if step is not None}, **more)


_VEHICLES = {
    None: _own([field for field in _OWN_STEP if field not in _OF_METERS], {word: word for word in _OVMS}),
    "ovms": Format(
        {"soc_pct": 0.01, "speed_kmh": 0.1, "odometer_km": 0.1, "battery_temp_c": 0.1, **_PLACE}
        | {"charging_power_kw": 0.001, "dc_register_kwh": 1e-4},
        _OVMS,
    ),
    "tesla": Format(
        {
            "soc_pct": 0.01,
            "speed_kmh": 0.001 * _MILE_KM,
            "odometer_km": 1e-4 * _MILE_KM,
            "battery_temp_c": 0.1,
            **_PLACE,
        }
        | {"charging_power_kw": 0.001, "dc_register_kwh": 1e-4},
        {word: f"DetailedChargeState{said}" for word, said in _TESLA.items()},
        moves=True,
    ),
    "teslamate": Format(
        {"soc_pct": 1.0, "speed_kmh": 1.0, "odometer_km": 0.01, **_PLACE}
        | {"charging_power_kw": 1.0, "dc_register_kwh": 0.01},
        _TESLA,
        moves=True,
    ),
}
# By how many phases the charger has, and whether the device is one of another model or firmware.
_METERS = {
    None: lambda _phases, _other: _own(_OF_METERS),
    "tasmota": lambda phases, other: (
        _meter(1e-4, 0.001, clock_s=1.0)  # a smart meter by infrared: energy and power
        if other
        else _meter(1e-4, 1e-5 * phases, 1.0, 0.001 * phases, summed=True, clock_s=1.0)
    ),
    # A switch has no time, a meter of three phases has.
    "shelly": lambda phases, _other: _meter(
        2e-6, 1e-4 * phases, 0.1, 0.001 * phases, summed=True, clock_s=0.01 if phases > 1 else 0.0
    ),
    "zigbee2mqtt": lambda _phases, _other: _meter(0.01, 0.001, 1.0, 0.01, summed=True, clock_s=0.001),
    "openevse": lambda _phases, _other: _meter(1e-4, 0.001, None, 0.001),
    "evcc": lambda _phases, _other: _meter(0.001, 1e-6, None, 0.003, summed=True),
    "ocpp": lambda _phases, _other: _meter(0.001, 0.001, 0.1, 0.01, clock_s=0.001),
    "dsmr_reader": lambda phases, _other: _meter(0.001, 0.001, 0.1, 1.0 * phases, summed=True, clock_s=1.0),
    "dsmr2mqtt": lambda _phases, _other: _meter(0.001, 0.001, 0.1, clock_s=1.0),
    "p1_dongle": lambda _phases, _other: _meter(0.021, 0.011, 0.01),  # rounded twice, its energy by tariff
    "sparkplug": lambda _phases, other: _meter(0.001 if other else 1e-6, 1e-6, 1e-4, 1e-4, clock_s=0.001),
}


def format_of(twin):
    """The format of a mixed device; that of some families depends on the device."""
    if twin.kind == "vehicle":
        return _VEHICLES[twin.family]
    return _METERS[twin.family](twin.device.phases, bool(twin.mixed.speaks) and _one_in_four(twin))


def tolerance(field, said, phases):
    """By how much two values may differ: half a step of either side, whose value may stand for several phases."""
    own = _OWN_STEP[field] * (phases if field == "current_a" and said.summed else 1)
    return 0.5 * (own + said.steps[field]) * 1.000001 + 1e-9 if said.steps[field] else 0.0


def expected(field, value, said, phases):
    """What the mixed device should have where its twin has ``value``."""
    if field == "charging_status":
        return said.words[value]
    return value * phases if field == "current_a" and said.summed else value


def alike(field, row, other, said):
    """Whether a device would write both values alike, as far as its twin's values can say."""
    if field == "charging_status":
        return row[field] == other[field]
    return abs(row[field] - other[field]) <= said.steps[field] + _OWN_STEP[field]


def _one_in_four(twin):
    return speaker.Measured(twin.mixed.device.device_id, None, None, 0.0).one_in(4)
