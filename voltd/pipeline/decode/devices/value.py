"""Messages of one value: plain text or JSON into one field, which ``gather`` puts together with the device's others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from voltd import config, models, readings
from voltd.models import Reason
from voltd.pipeline.decode import fields, frame, letters
from voltd.pipeline.decode.devices import description, path, taken
from voltd.readings import DeviceType

# How devices write that there is no value now.
_NONE = frozenset({"", "null", "nan", "undefined", "none", "<invalid>"})
_LONGEST = 1000  # bytes of a payload that is one value


class ValueReader:
    """Reads the messages of one value of a description.

    Args:
        value: from the description.
        device_type: whose field it is.
        limits: of the settings.
    """

    def __init__(self, value: description.Value, device_type: DeviceType, limits: config.Limits) -> None:
        self._value = value
        self._device_type = device_type
        self._measured = taken.Measured(value, value.field, device_type, as_text=True)
        self._path = path.parse(value.path) if value.path else None
        self._fields = fields.FieldReader(device_type, limits)
        self._nothing: list[Any] = [None] * self._fields.width
        # Nearly all values need no more than their bounds.
        has_sentinel = any(place == self._measured.place + 2 for place, _ in self._fields.sentinels)
        self._plain = value.parts == 1 and value.field not in readings.POSITION and not has_sentinel
        self._where = value.path or value.topic

    def read(self, message: models.Message, device_id: str | None) -> Sequence[taken.Taken]:
        """See ``taken.Reader``."""
        if device_id is None:
            raise fields.Invalid(Reason.MISSING_FIELD, "the topic has no device id")
        raw = plain(message.payload, self._path)
        if raw is path.MISSING:
            raise fields.Invalid(Reason.NO_MEASUREMENT, f"nothing at {self._value.path}")
        number = self._measured.number(raw)
        if self._measured.is_none(raw) or self._measured.is_none(number):
            return (taken.Taken(self._device_type, device_id, None, self._nothing),)
        value = self._measured.value(number if self._measured.is_number else raw)
        if self._plain and value.__class__ is float and self._measured.field.low <= value <= self._measured.field.high:
            columns = self._nothing.copy()
            columns[self._measured.place] = value
            return (taken.Taken(self._device_type, device_id, None, columns),)
        found = self._fields.read({self._value.field: value}, None)
        if self._value.parts > 1 and not found.bad:
            column = self._measured.place
            part = (column, self._value.part, self._value.parts, found.columns[column])
            parts = (part,) if part[3] is not None else ()
            return (taken.Taken(self._device_type, device_id, None, self._nothing, ignored=found.ignored, parts=parts),)
        bad = [self._measured.refusal(one, self._where) for one in found.bad]
        return (taken.Taken(self._device_type, device_id, None, found.columns, bad, found.ignored),)


class AliveReader:
    """Reads messages that say whether a device is connected."""

    def __init__(self, alive: description.Alive, device_type: DeviceType) -> None:
        self._device_type = device_type
        self._online = frozenset(word.lower() for word in alive.online)
        self._path = path.parse(alive.path) if alive.path else None
        self._nothing = [None] * len(readings.fields(device_type))

    def read(self, message: models.Message, device_id: str | None) -> Sequence[taken.Taken]:
        """See ``taken.Reader``."""
        if device_id is None:
            raise fields.Invalid(Reason.MISSING_FIELD, "the topic has no device id")
        word = plain(message.payload, self._path)
        if word.__class__ is bool:
            word = str(word)
        alive = word.__class__ is str and word.lower() in self._online
        return (taken.Taken(self._device_type, device_id, None, self._nothing, alive=alive),)


def is_none(payload: bytes) -> bool:
    """Whether a payload says that there is no value now."""
    return len(payload) <= _LONGEST and frame.bare(payload).decode(errors="replace").strip(' \t\r\n"').lower() in _NONE


def plain(payload: bytes, steps: tuple[path.Step, ...] | None) -> Any:
    """The value of a payload: JSON, or text as it is; None where the device has none now.

    Raises:
        fields.Invalid: no text, too long for one value, or no JSON where a path leads into it.
    """
    if len(payload) > _LONGEST and steps is None:
        raise fields.Invalid(Reason.NOT_AN_OBJECT, f"one value belongs here, not {len(payload)} bytes")
    payload = frame.bare(payload)
    if steps is not None:
        return path.look_up(letters.parsed(payload), steps)
    try:
        text = payload.decode().strip()
    except UnicodeDecodeError as error:
        raise fields.Invalid(Reason.NOT_JSON, frame.explain(payload, error)) from None
    if text.lower() in _NONE:
        return None
    if text[0] == '"':
        text = letters.parsed(payload)
        return None if text.__class__ is str and text.strip().lower() in _NONE else text
    if text[0] in "{[":
        raise fields.Invalid(Reason.NOT_AN_OBJECT, "one value belongs here, not an object or array")
    return text
