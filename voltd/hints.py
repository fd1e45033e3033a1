"""What somebody probably meant: near names, values one level too deep, a time under another name. For people only.

``pipeline.decode`` puts these into the details of dead letters, ``metrics`` beside the names of unknown fields. No fate
depends on them. Pure.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

_SHOWN = 60
_CLOSE = 0.8
_MOST_NAMES = 5
_LONGEST_NAME = 64
_ALSO_CALLED = {
    "stateofcharge": "soc", "socpct": "soc", "batterysoc": "soc", "batterylevel": "soc", "batterypct": "soc",
    "lat": "latitude", "lon": "longitude", "lng": "longitude", "long": "longitude", "velocity": "speed",
    "speedkmh": "speed", "temp": "batteryTemp", "batterytemperature": "batteryTemp", "odo": "odometer",
    "odometerkm": "odometer", "mileage": "odometer", "volt": "voltage", "volts": "voltage", "voltagev": "voltage",
    "amps": "current", "currenta": "current", "powerkw": "power", "kw": "power", "status": "chargingStatus",
    "chargepower": "chargingPower", "chargerpower": "chargingPower", "chargingpowerkw": "chargingPower",
    "chargerpowerkw": "chargingPower",
}  # fmt: skip
_TIMES = frozenset(
    {"time", "ts", "t", "at", "date", "datetime", "epoch", "timestampms", "timestamps", "timestamputc", "recordedat"}
    | {"eventtime", "devicetime", "created", "createdat", "timestamp", "measuredat", "unixtime", "utc"}
)


def shown(value: Any) -> str:
    """A device's value, cut to one line."""
    if value.__class__ is int and not -(1 << 200) < value < 1 << 200:
        return "a number of very many digits"
    if value.__class__ in (dict, list):
        return "an object" if value.__class__ is dict else "an array"
    if value is None or value.__class__ is bool:
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value[: _SHOWN + 1] if value.__class__ is str else value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def name(text: str) -> str:
    """A field's name as a person may see it: printable, at most 64 characters."""
    cut = text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 3] + "..."
    return cut if cut.isprintable() else repr(cut)[1:-1][:_LONGEST_NAME]


def near(text: str, known: Collection[str]) -> str | None:
    """The field that was probably meant, or None."""
    if len(text) > _LONGEST_NAME:
        return None
    plain = _plain(text)
    by_plain = {_plain(one): one for one in known}
    if plain in by_plain:
        return by_plain[plain]
    if (called := _ALSO_CALLED.get(plain)) in known:
        return called
    close = difflib.get_close_matches(plain, by_plain, 1, _CLOSE)
    return by_plain[close[0]] if close else None


def no_time(payload: Mapping[str, Any], known: Collection[str]) -> str:
    """Why there may be no time: it has another name, or the values are nested."""
    other = next((one for one in payload if _plain(one) in _TIMES), None)
    if other is not None and payload[other] is None:
        return f"no timestamp: {name(other)} is null"
    if other is not None:
        return f"no timestamp; found {name(other)}"
    return "no timestamp" + (_nested(payload, known) or "")


def no_measurement(
    payload: Mapping[str, Any], known: Collection[str], unknown: Iterable[str], others: Iterable[str]
) -> str:
    """Why there may be no known field: misspelt, nested, or those of another device type."""
    nested = _nested(payload, known)
    if nested:
        return f"no field that voltd knows{nested}"
    foreign = [one for one in unknown if one in others]
    if foreign:
        return f"no field that this type of device has; {foreign[0]} belongs to the other one"
    pairs = [(one, near(one, known)) for one in list(unknown)[:_MOST_NAMES]]
    meant = [f"{name(one)} (did you mean {other}?)" if other else name(one) for one, other in pairs]
    return f"no field that voltd knows; found {', '.join(meant)}" if meant else "id and time only: nothing is measured"


def no_object(value: Any) -> str:
    """What stands where a reading belongs."""
    if isinstance(value, list):
        return "an array within an array: a reading is an object"
    return f"a bare value, {shown(value)}: a reading is an object with a timestamp and its fields"


def _nested(payload: Mapping[str, Any], known: Collection[str]) -> str | None:
    for outer, value in payload.items():
        if isinstance(value, dict) and outer not in known:
            inner = next((one for one in value if one in known or one in {"timestamp", "createdAt"}), None)
            if inner is not None:
                return f"; values are nested: {inner} is in {name(outer)}, and belongs to the top level"
    return None


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).lower()
