"""The field names of payloads with their units, and suggestions for unknown names.

``recording`` sorts a row's columns with it, ``checks`` explains unknown ones. Pure.
"""

from __future__ import annotations

import difflib
import functools
import re

from voltd import readings

TIME_KEYS = ("timestamp", "createdAt")
IDS = ("vehicleId", "meterId")


def _unit(field: readings.Field) -> str:
    """What a person has to know of a field's values."""
    match field.kind:
        case readings.Kind.TEXT:
            return "text"
        case readings.Kind.OBJECT:
            return "JSON object"
    if field.unit != "kWh":
        return field.unit
    return "kWh, register" if field.wire.endswith("Total") else "kWh in the interval"


def _units(device_type: readings.DeviceType) -> dict[str, str]:
    return {name: _unit(field) for field in readings.fields(device_type).values() for name in field.names}


def _of_kind(*kinds: readings.Kind) -> set[str]:
    every = [field for device_type in readings.DeviceType for field in readings.fields(device_type).values()]
    return {name for field in every if field.kind in kinds for name in field.names}


VEHICLE = _units(readings.DeviceType.VEHICLE)
METER = _units(readings.DeviceType.METER)
TEXTS = {*_of_kind(readings.Kind.TEXT), *IDS, *TIME_KEYS}
NUMBERS = _of_kind(readings.Kind.NUMBER)

_UNITS = {"pct", "percent", "kmh", "kph", "km", "h", "c", "degc", "celsius", "kwh", "kw", "v", "a", "deg", "mph", "mi"}
_MEANT = {  # by normalised name: what voltd's own tables call them, and what is common
    "time": "timestamp", "ts": "timestamp", "datetime": "timestamp", "date": "timestamp", "recordedat": "timestamp",
    "receivedat": "timestamp", "vehicle": "vehicleId", "meter": "meterId", "dcregister": "kwhDeliveredDcTotal",
    "acregister": "kwhConsumedAcTotal", "lat": "latitude", "lon": "longitude", "lng": "longitude", "long": "longitude",
    "stateofcharge": "soc", "mileage": "odometer", "velocity": "speed", "temp": "temperature",
}  # fmt: skip
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_CLOSE = 0.75  # difflib's ratio


def of(*, is_vehicle: bool) -> dict[str, str]:
    """The measurements of a device type by name, each with its unit."""
    return VEHICLE if is_vehicle else METER


@functools.lru_cache(maxsize=1000)
def near(name: str, *, is_vehicle: bool | None = None) -> str | None:
    """The known name that ``name`` most likely means; None if there is none.

    Args:
        name: unknown to the wire contract.
        is_vehicle: of which device type it may be; None for either.
    """
    known: list[str] = [*IDS, *TIME_KEYS]
    known += [*VEHICLE] if is_vehicle is not False else []
    known += [*METER] if not is_vehicle else []
    by_plain = {_plain(key): key for key in known}
    wanted = _plain(name)
    meant = by_plain.get(wanted) or _MEANT.get(wanted)
    if meant is None:
        close = difflib.get_close_matches(wanted, by_plain, n=1, cutoff=_CLOSE)
        meant = by_plain[close[0]] if close else None
    return meant if meant in known else None


@functools.lru_cache(maxsize=1000)
def explain(name: str, *, is_vehicle: bool) -> str:
    """Why a reading of this type ignores the field ``name``, and what to do, in one clause."""
    kind, other = ("vehicle", "meters") if is_vehicle else ("meter", "vehicles")
    if name in of(is_vehicle=not is_vehicle):
        return f"belongs to {other}, a {kind} reading ignores it"
    meant = near(name, is_vehicle=is_vehicle)
    text = f"is no field of a {kind} reading and is ignored"
    if meant is None:
        return text
    unit = of(is_vehicle=is_vehicle).get(meant)
    return f"{text}: did you mean {meant}{f' ({unit})' if unit else ''}?"


def _plain(name: str) -> str:
    """Lower case, letters only, without a unit at the end: ``soc_pct``, ``SOC [%]`` and ``Soc`` are all ``soc``."""
    words = [word.lower() for word in _WORDS.findall(name)]
    while len(words) > 1 and words[-1] in _UNITS:
        words.pop()
    return "".join(words)
