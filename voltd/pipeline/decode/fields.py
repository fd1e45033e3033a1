"""The thorough way through ``decode``: a reading's fields one by one, each with a fate of its own.

``decode`` comes here with the payloads that ``decode.fast`` does not take. A field is taken, left out silently (null,
a value of ``limits.ignore``, a position of 0, 0), refused with reason and detail, or unknown. Names are the wire's,
units the contract's: %, km/h, degrees Celsius, kWh, V, A, kW, degrees, km. Bounds that the contract leaves open end at
1e9, so that no sum over them can overflow. No I/O, no clock.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from voltd import config, hints, models, readings, wording
from voltd.models import Reason
from voltd.pipeline.decode import fast
from voltd.readings import UNBOUNDED, DeviceType, Kind

_PLAIN_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,9})?", re.ASCII)
_LONGEST_NUMBER = 400  # characters; a longer text is no measured value


def is_number(text: str) -> bool:
    """Whether a text is plainly a number: sign, digits, one dot, exponent."""
    return len(text) <= _LONGEST_NUMBER and _PLAIN_NUMBER.fullmatch(text) is not None


class Refusal(NamedTuple):
    """Why a reading cannot be stored, or one of its fields; ``field`` is the one to blame, None where none is."""

    reason: Reason
    detail: str
    field: str | None = None


class Invalid(Exception):
    """One reading that cannot be stored.

    Attributes:
        refusal: why.
        device: device type and id, where known.
    """

    def __init__(self, reason: Reason, detail: str, field: str | None = None) -> None:
        super().__init__(detail)
        self.refusal = Refusal(reason, detail, field)
        self.device: tuple[models.DeviceType | None, str | None] = (None, None)


def columns(name: str | None) -> frozenset[str]:
    """The columns that a field may fill, by its name on the wire; none where nobody knows it."""
    every = {column: field for device_type in DeviceType for column, field in readings.fields(device_type).items()}
    wanted = {name, *(field.returned for field in every.values() if field.wire == name and field.returned)}
    return frozenset(column for column, field in every.items() if not wanted.isdisjoint(field.names))


@dataclasses.dataclass(slots=True)
class Fields:
    """What a payload's fields came to.

    Attributes:
        columns: the reading's, without id, ``recorded_at`` and ``received_at``; None is missing.
        bad: the fields that were refused.
        unknown: names that no reading of this type has.
        ignored: how many values stand for none, as ``limits.ignore`` names them or as a position of 0, 0.
        known: how many fields the reading has, those that are null or ignored included.
    """

    columns: list[Any]
    bad: list[Refusal] = dataclasses.field(default_factory=list)
    unknown: list[str] = dataclasses.field(default_factory=list)
    ignored: int = 0
    known: int = 0


_Second = tuple[str, str, float]  # a field, the one whose column it fills unless that one is there, and the value


class FieldReader:
    """The fields of one device type under the limits of the settings."""

    def __init__(self, device_type: models.DeviceType, limits: config.Limits) -> None:
        declared = list(readings.fields(device_type).values())
        self.fields = {name: field for field in declared for name in field.names}
        self.width = len(declared)
        self._places = {name: declared.index(field) for name, field in self.fields.items()}
        self._position = [self._places[name] for name in readings.POSITION if name in self._places]
        self._beside = frozenset({"timestamp", "createdAt", readings.id_name(device_type)})
        self._as_text = limits.numbers_as_text
        self._negative_is_returned = limits.negative_is_returned
        ignored: dict[str, set[float | str]] = {}
        for name, values in limits.ignore.items():
            if name in self.fields:
                ignored.setdefault(self.fields[name].wire, set()).update(values)
        self._ignored = {name: frozenset(values) for name, values in ignored.items()}
        self._plain = {
            field.wire: (place, field.low, field.high)
            for place, field in enumerate(declared)
            if field.kind is Kind.NUMBER and field.wire not in self._ignored
        }
        self.sentinels = tuple((self._places[name] + 2, values) for name, values in self._ignored.items())

    def read(self, payload: Mapping[str, Any], time_name: str | None) -> Fields:
        """Gives each field its fate. ``time_name`` is the one that the reading's time was taken from."""
        found = Fields([None] * self.width)
        second: list[_Second] = []
        columns, plain_of = found.columns, self._plain.get
        for name, value in payload.items():
            plain = plain_of(name)
            if plain is not None and (value.__class__ is float or value.__class__ is int):
                place, low, high = plain
                if low <= value <= high:  # nearly all values, so without a call
                    columns[place] = float(value)
                    found.known += 1
                    continue
            self._other(found, name, value, time_name, second)
        for name, other, taken in second:
            self._fill(found, name, other, taken)
        if self._position and all(columns[place] == 0 for place in self._position):
            for place in self._position:
                columns[place] = None
                found.ignored += 1
        return found

    def _other(self, found: Fields, name: str, value: Any, time_name: str | None, second: list[_Second]) -> None:
        """A field that is not simply a number within its bounds."""
        field = self.fields.get(name)
        if field is None:
            if name not in self._beside or (name == "createdAt" and name != time_name):
                found.unknown.append(name)
            return
        found.known += 1
        if value is None:
            return
        taken = self._value(name, field, value)
        if taken is None:
            found.ignored += 1
        elif taken.__class__ is Refusal:
            found.bad.append(taken)
        elif name == field.alias:
            second.append((name, field.wire, taken))
        elif self._negative_is_returned and field.returned and taken < 0:
            second.append((name, field.returned, -taken))
        else:
            found.columns[self._places[name]] = taken

    def _fill(self, found: Fields, name: str, other: str, taken: float) -> None:
        place = self._places[other]
        there = found.columns[place]
        # a device may always send both, one of them 0
        if there is None or (there == 0 and self.fields[name].returned):
            found.columns[place] = taken
        elif there != taken:
            detail = f"{name}: {taken:g} for {other}, which the same message says is {there:g}; that one stands"
            found.bad.append(Refusal(Reason.CONFLICT, detail, name))

    def _value(self, name: str, field: readings.Field, value: Any) -> Any:
        """The column's value; None: one that stands for no value; or why it is refused, as a ``Refusal``."""
        ignored = self._ignored.get(field.wire, ())
        kind = value.__class__
        if kind is str and value in ignored:
            return None
        if field.kind is not Kind.NUMBER:
            return _text(name, value) if field.kind is Kind.TEXT else _object(name, value)
        if kind is str and self._as_text and is_number(value):
            value = float(value)
        elif kind is not float and kind is not int:
            return Refusal(Reason.WRONG_TYPE, f"{name}: {self._no_number(value)}", name)
        if value in ignored:
            return None
        low = -UNBOUNDED if self._negative_is_returned and field.returned else field.low
        if low <= value <= field.high:
            return float(value)
        return Refusal(Reason.OUT_OF_RANGE, f"{name}: {self._outside(field, value, low)}", name)

    def _no_number(self, value: Any) -> str:
        shown = hints.shown(value)
        if value.__class__ is not str:
            return f"a number belongs here, not {shown}"
        if is_number(value):
            return f"a number belongs here, not the text {shown} (limits.numbers_as_text is off)"
        if is_number(value.replace(",", ".")):
            return f"a number belongs here, not the text {shown}: write it with a dot"
        return f"a number belongs here, not the text {shown}"

    def _outside(self, field: readings.Field, number: float, low: float) -> str:
        if number != number:  # noqa: PLR0124 NaN
            return "NaN is no measured value"
        shown = hints.shown(number)
        if number > field.high:
            return f"{wording.at_most(field.high)}, not {shown}"
        more = ""
        if field.returned and not self._negative_is_returned:
            more = f"; energy that flows back is {field.returned}, or set limits.negative_is_returned = true"
        return f"{wording.at_least(low)}, not {shown}{more}"


def _text(name: str, value: Any) -> str | Refusal:
    if value.__class__ is not str:
        return Refusal(Reason.WRONG_TYPE, f"{name}: a text belongs here, not {hints.shown(value)}", name)
    if len(value) > readings.TEXT_LENGTH:
        detail = f"{name}: {len(value)} characters are over the limit of {readings.TEXT_LENGTH}: {hints.shown(value)}"
        return Refusal(Reason.BAD_TEXT, detail, name)
    if "\0" in value:
        return Refusal(Reason.BAD_TEXT, f"{name}: a NUL character (\\u0000), which PostgreSQL cannot hold", name)
    return str(value)


def _object(name: str, value: Any) -> str | Refusal:
    if value.__class__ is not dict:
        return Refusal(Reason.WRONG_TYPE, f"{name}: an object belongs here, not {hints.shown(value)}", name)
    try:
        text = fast.jsonb_text(value)
    except ValueError as error:  # NaN, Infinity, or an integer of thousands of digits
        return Refusal(Reason.OUT_OF_RANGE, f"{name}: {error}", name)
    # A NUL is escaped in JSON text; an escaped backslash before u0000 is none.
    if "\\u0000" in text and "\\u0000" in text.replace("\\\\", ""):
        detail = f"{name}: a NUL character (\\u0000) in a text, which PostgreSQL cannot hold"
        return Refusal(Reason.BAD_TEXT, detail, name)
    return text
