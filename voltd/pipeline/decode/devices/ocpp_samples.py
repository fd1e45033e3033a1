"""Which of OCPP's sampled values are a meter's fields: by measurand, context, phase, unit. Pure.

Defaults are OCPP's own. A register comes several times in a message: as total and by phase, and with several contexts.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from voltd import hints
from voltd.models import Reason
from voltd.pipeline.decode import fields
from voltd.pipeline.decode.devices import taken, units

_REGISTER = "Energy.Active.Import.Register"
_EXPORTED = "power exported"


class _Measurand(NamedTuple):
    """The field that a measurand is, the unit where none is given, and what its phases come to."""

    field: str
    target: str
    unit: str
    take: str


_MEASURANDS = {
    _REGISTER.lower(): _Measurand("kwhConsumedAcTotal", "kWh", "Wh", "sum"),
    "energy.active.export.register": _Measurand("kwhReturnedAcTotal", "kWh", "Wh", "sum"),
    "power.active.import": _Measurand("power", "kW", "W", "sum"),
    "power.active.export": _Measurand(_EXPORTED, "kW", "W", "sum"),
    "voltage": _Measurand("voltage", "V", "V", "mean"),
    "current.import": _Measurand("current", "A", "A", "mean"),
}
_UNITS = {"wh": "Wh", "kwh": "kWh", "w": "W", "kw": "kW", "v": "V", "a": "A"}  # however they are written
_PHASES = (("L1", "L2", "L3"), ("L1-N", "L2-N", "L3-N"))
_RANK = {"Transaction.End": 0, "Sample.Periodic": 1, "Sample.Clock": 2}
_LAST = 3
_LAST_OF_ALL = 4
_MOST_DIGITS = 12


class _Sample(NamedTuple):
    rank: tuple[int, bool]
    value: Any
    conversion: units.Conversion


@dataclasses.dataclass(slots=True)
class Chosen:
    """Values by voltd's fields, for ``fields.FieldReader``.

    Attributes:
        values: in the field's unit; what is no number is as it was.
        bad: the fields that were refused.
        ignored: how many samples stand for none.
    """

    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    bad: list[fields.Refusal] = dataclasses.field(default_factory=list)
    ignored: int = 0


def get(holder: Mapping[str, Any], name: str) -> Any:
    """A value by its name in camelCase, or as Python programs write it."""
    found = holder.get(name)
    return holder.get(_snake_case(name)) if found is None else found


@functools.cache
def _snake_case(name: str) -> str:
    return "".join(f"_{one.lower()}" if one.isupper() else one for one in name)


def choose(samples: Sequence[Any]) -> Chosen:
    """The fields of samples that were taken at one time."""
    chosen = Chosen()
    by_phase: dict[_Measurand, dict[str, _Sample]] = {}
    for sample in samples:
        if sample.__class__ is dict:
            _add(chosen, by_phase, sample)
    for measurand, phases in by_phase.items():
        if (value := _combined(measurand, phases)) is not None:
            chosen.values[measurand.field] = value
    exported = chosen.values.pop(_EXPORTED, None)
    imported = chosen.values.get("power")
    if exported.__class__ is float and imported.__class__ in (float, type(None)):
        chosen.values["power"] = (imported or 0.0) - exported
    return chosen


def _add(chosen: Chosen, by_phase: dict[_Measurand, dict[str, _Sample]], sample: Mapping[str, Any]) -> None:
    measurand = _MEASURANDS.get(_word(get(sample, "measurand"), _REGISTER).lower())
    context = _word(get(sample, "context"), "Sample.Periodic")
    if measurand is None or get(sample, "format") == "SignedData":
        return
    value = _value(get(sample, "value"))
    # A register at the beginning of a transaction may be one of long ago.
    if value is None or (context == "Transaction.Begin" and measurand.target == "kWh"):
        chosen.ignored += value is None
        return
    conversion, multiplier = _unit(measurand, sample)
    if conversion is None or multiplier is None:
        if measurand.field == _EXPORTED:  # some write energy there
            chosen.ignored += 1
        elif all(one.field != measurand.field for one in chosen.bad):
            chosen.bad.append(_refusal(measurand, sample, "unit" if conversion is None else "multiplier"))
        return
    if value.__class__ is float:
        value = value * 10**multiplier if multiplier >= 0 else value / 10**-multiplier
    rank = _LAST_OF_ALL if context == "Transaction.Begin" else _RANK.get(context, _LAST)
    one = _Sample((rank, get(sample, "location") not in (None, "Outlet")), value, conversion)
    phases = by_phase.setdefault(measurand, {})
    phase = _word(get(sample, "phase"), "")
    if phase not in phases or _better(one, phases[phase]):
        phases[phase] = one


def _word(written: Any, default: str) -> str:
    """A word of OCPP, or its default where there is none; ``?`` for what is no text."""
    if written is None or written == "":
        return default
    return written if written.__class__ is str else "?"


def _value(written: Any) -> Any:
    """A number where it is plainly one, None where there is none; else as it was written."""
    if written.__class__ is str:
        text = written.strip()
        return float(text) if fields.is_number(text) else text or None
    return float(written) if written.__class__ is int and -(2**63) < written < 2**64 else written


def _unit(measurand: _Measurand, sample: Mapping[str, Any]) -> tuple[units.Conversion | None, int | None]:
    """How a sample's value becomes the field's, and its power of ten; None: none that is known."""
    measure = get(sample, "unitOfMeasure")
    multiplier: Any = 0
    unit = get(sample, "unit")
    if measure.__class__ is dict:
        unit = measure.get("unit") or unit
        multiplier = measure.get("multiplier") or 0
    known = units.UNITS[measurand.target]
    written = _word(unit, measurand.unit)
    conversion = known.get(written) or known.get(_UNITS.get(written.lower(), ""))
    usable = multiplier.__class__ is int and abs(multiplier) <= _MOST_DIGITS
    return conversion, multiplier if usable else None


def _better(one: _Sample, other: _Sample) -> bool:
    """By context and place of measurement; of two alike the larger value, as a register only grows."""
    if one.value.__class__ is not float or other.value.__class__ is not float:
        return one.value.__class__ is float
    return one.rank < other.rank or (one.rank == other.rank and one.value > other.value)


def _combined(measurand: _Measurand, phases: Mapping[str, _Sample]) -> Any:
    """The total where there is one, else what the phases come to; None: neither."""
    if "" in phases:
        return _converted(phases[""])
    # Voltages are measured against N; some chargers name the line alone.
    for names in _PHASES if measurand.target != "V" else reversed(_PHASES):
        if there := [phases[name] for name in names if name in phases]:
            if len({one.conversion for one in there}) == 1:  # exact sums of what was written
                value = taken.several([one.value for one in there], measurand.take)
                return _converted(there[0]._replace(value=value))
            return taken.several([_converted(one) for one in there], measurand.take)
    return None


def _converted(sample: _Sample) -> Any:
    return sample.conversion(sample.value) if sample.value.__class__ is float else sample.value


def _refusal(measurand: _Measurand, sample: Mapping[str, Any], what: str) -> fields.Refusal:
    written = get(sample, "unitOfMeasure") or get(sample, "unit")
    detail = f"{measurand.field}: its {what} {hints.shown(written)} is none for {measurand.target}"
    return fields.Refusal(Reason.WRONG_TYPE, detail, measurand.field)
