"""What one message of a device family comes to, before ``decode`` adds it to a batch. Pure containers and one rule."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from voltd import models, readings
from voltd.pipeline.decode import fields
from voltd.pipeline.decode.devices import path, sources, units
from voltd.readings import DeviceType, Kind


class Taken(NamedTuple):
    """What a device said in a message, or in one element of it.

    Attributes:
        device_type, device_id: whose it is.
        at: when it measured, aware UTC; None: the message does not say, so its arrival dates it.
        columns: the reading's, without id, ``recorded_at`` and ``received_at``; None is missing.
        bad: the fields that were refused.
        ignored: how many values stand for none.
        parts: of fields that are sums over messages: column, which part, of how many, and its value.
        alive: whether it is a sign of life where it measures nothing.
    """

    device_type: DeviceType
    device_id: str
    at: dt.datetime | None
    columns: Sequence[Any]
    bad: Sequence[fields.Refusal] = ()
    ignored: int = 0
    parts: Sequence[tuple[int, int, int, float]] = ()
    alive: bool = True


def together(found: Sequence[Taken]) -> Sequence[Taken]:
    """What a message says without times, as one reading; as it is where it is of several devices or no single one."""
    first = found[0]
    columns, parts = list(first.columns), list(first.parts)
    for more in found[1:]:
        if (more.device_type, more.device_id) != (first.device_type, first.device_id):
            return found
        for place, value in enumerate(more.columns):
            if value is not None and columns[place] not in (None, value):
                return found
            columns[place] = columns[place] if value is None else value
        parts += more.parts
    bad, ignored = [bad for one in found for bad in one.bad], sum(one.ignored for one in found)
    return (first._replace(columns=columns, parts=parts, bad=bad, ignored=ignored),)


class Reader(Protocol):
    """Reads the messages of one topic pattern."""

    def read(self, message: models.Message, device_id: str | None) -> Sequence[Taken]:
        """What the message says; ``device_id`` is the topic's, None where it has none. Never blocks.

        Raises:
            fields.Invalid: it is refused whole.
        """
        ...


class Heard(NamedTuple):
    """What a message becomes by what was heard before it.

    Attributes:
        message: as it is read, and stored should it be spooled or refused; None: it waits for a birth of its node.
        node: who sent it.
        until: for how long it waits, aware UTC.
        born: messages of the node that wait may be read now.
        died: they never will be.
    """

    message: models.Message | None
    node: str
    until: dt.datetime | None = None
    born: bool = False
    died: bool = False


class Listener(Protocol):
    """Hears the stream's messages of one topic pattern before they are read, once each and in their order."""

    def hear(self, message: models.Message) -> models.Message | Heard:
        """What is read in its place; ``Heard`` where that is not all. Never blocks, never raises for a payload."""
        ...

    def again(self, message: models.Message) -> models.Message | None:
        """A message that has waited, after a birth; None: it still cannot be read."""
        ...


class Measured:
    """How one value of a description becomes the field's, step by step; the compiled form does the same.

    Args:
        source: from the description.
        name: of the field, as voltd writes it.
        device_type: whose field it is.
        as_text: whether a number may be written as a text.
    """

    def __init__(self, source: sources.Source, name: str, device_type: DeviceType, *, as_text: bool) -> None:
        declared = readings.fields(device_type)
        self.place, self.field = next(
            (place, field) for place, field in enumerate(declared.values()) if field.wire == name
        )
        self.name = name
        self.is_number = self.field.kind is Kind.NUMBER
        self.conversion = units.UNITS[self.field.unit][source.unit] if self.is_number else units.Conversion()
        self.source = source
        self.ignored = frozenset(source.ignore)
        # A sum of registers without one of them would be a register that falls.
        self.whole = getattr(source, "take", None) == "sum" and self.field.unit == "kWh"
        self._as_text = as_text

    def is_none(self, raw: Any) -> bool:
        """Whether the device's value stands for none."""
        return raw is None or (bool(self.ignored) and raw.__class__ is not bool and _hashable(raw) in self.ignored)

    def number(self, raw: Any) -> Any:
        """A number in the source's unit where it is plainly one; else what it was."""
        if raw.__class__ is int:
            try:
                return float(raw)
            except OverflowError:
                return raw
        if raw.__class__ is str and self._as_text and fields.is_number(raw):
            return float(raw)
        return raw

    def value(self, raw: Any) -> Any:
        """The field's value, which ``fields.FieldReader`` has yet to accept; what is no value of its kind stays."""
        if not self.is_number:
            if raw.__class__ in (int, float, bool):
                raw = str(raw).lower() if raw.__class__ is bool else f"{raw:g}"
            return self.source.words.get(raw, raw) if raw.__class__ is str else raw
        number = raw if raw.__class__ is float else self.number(raw)
        if number.__class__ is not float:
            return number
        return self.conversion(0.0 - number if self.source.negate else number)

    def refusal(self, refused: fields.Refusal, where: str) -> fields.Refusal:
        """The refusal with what the device had written, and where."""
        unit = f" in {self.source.unit}" if self.source.unit not in ("", self.field.unit) else ""
        return refused._replace(detail=f"{refused.detail} (from {where}{unit})")


def _hashable(raw: Any) -> Any:
    return raw if raw.__class__ in (str, int, float) else None


def several(values: Sequence[Any], take: str | None) -> Any:
    """What ``take`` makes of numbers, those that are missing left out; the first value that is no number as it is."""
    there = [value for value in values if value is not None and value is not path.MISSING]
    if not there:
        return None
    if odd := [value for value in there if value.__class__ is not float]:
        return odd[0]
    match take:
        case "sum":
            return sum(there)
        case "max":
            return max(there)
        case "mean":
            return sum(there) / len(there)
    return there[0]
