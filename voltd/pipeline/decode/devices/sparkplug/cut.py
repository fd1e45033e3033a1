"""Cuts a payload into bytes that stay from message to message, and those of times, values and the number. Pure."""

from __future__ import annotations

import dataclasses

_TIME_BYTES = 6  # ms since 1970 as a varint, from 1971 to 2109
_LONGEST_NUMBER = 10
# Tags of the payload's fields, and of a metric's. Others, like history and null, make no shape.
_TIMESTAMP, _METRIC, _SEQ = 0x08, 0x12, 0x18
_NAME, _ALIAS, _METRIC_AT, _DATATYPE, _INT, _LONG = 0x0A, 0x10, 0x18, 0x20, 0x50, 0x58
_FLOAT, _DOUBLE, _STRING = 0x65, 0x69, 0x7A
_INTEGERS = {_INT: 32, _LONG: 64}
FLOAT = "f"  # a kind, and its letter in ``struct``
_SIZED = {_FLOAT: (FLOAT, 4), _DOUBLE: ("d", 8)}
_VALUES = {_STRING, *_INTEGERS, *_SIZED}
_OF_NUMBER = {1: "B", 2: "H"}


class OddError(Exception):
    """A payload without a shape."""


@dataclasses.dataclass(slots=True)
class Metric:
    """One metric; the indexes are those of the pieces.

    Attributes:
        name: as bytes; empty: it has an alias only.
        datatype: 0: not said.
        at: where its time is.
        value: where its value is; None: among the bytes that stay.
        integer: bits of the field that an integer is in, 32 or 64; 0: it is none.
    """

    name: bytes = b""
    datatype: int = 0
    at: int | None = None
    value: int | None = None
    integer: int = 0


class Shape:
    """The pieces of a payload: at even places bytes that stay, at odd ones others.

    Attributes:
        fixed: the pieces that stay.
        sizes: of all pieces, in bytes.
        kinds: of the others, in their order.
        format: of all pieces, for ``struct``.
        metrics: what they are parts of.
        sent, seq: where the message's own time and its number are; None: it has none.

    Raises:
        OddError: it has no shape. IndexError: it is cut short.
    """

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._done = 0
        self.fixed: list[bytes] = []
        self.sizes: list[int] = []
        self.kinds: list[str] = []
        self.format = "<"
        self.metrics: list[Metric] = []
        self.sent: int | None = None
        self.seq: int | None = None
        at, ends = 0, len(payload)
        while at < ends:
            tag, at = payload[at], at + 1
            after = _ends(payload, at)
            if tag == _METRIC:
                at = after + varint(payload[at:after])
                self.metrics.append(self._metric(after, at, ends))
            elif tag == _TIMESTAMP and self.sent is None and after - at == _TIME_BYTES:
                self.sent, at = self._piece("at", f"{_TIME_BYTES}s", at, after), after
            elif tag == _SEQ and after == ends and after - at in _OF_NUMBER:
                self.seq, at = self._piece("seq", _OF_NUMBER[after - at], at, after), after
            else:
                raise OddError
        if self._done < ends:
            self._stays(ends)

    def _metric(self, at: int, ends: int, of: int) -> Metric:  # noqa: C901 a branch a field
        payload, found = self._payload, Metric()
        if ends > of:
            raise OddError
        seen: list[int] = []
        while at < ends:
            tag, at = payload[at], at + 1
            seen.append(tag)
            if tag in _SIZED:
                letter, size = _SIZED[tag]
                found.value, at = self._piece(letter, letter, at, at + size), at + size
                continue
            after = _ends(payload, at)
            if tag in (_NAME, _STRING):
                begins, after = after, after + varint(payload[at:after])
                if tag == _NAME:
                    found.name = payload[begins:after]
            elif tag == _DATATYPE:
                found.datatype = varint(payload[at:after])
            elif tag == _METRIC_AT and after - at == _TIME_BYTES:
                found.at = self._piece("at", f"{_TIME_BYTES}s", at, after)
            elif tag in _INTEGERS:
                found.value, found.integer = self._piece("integer", f"{after - at}s", at, after), _INTEGERS[tag]
            elif tag != _ALIAS:
                raise OddError
            at = after
        # Of a field that is there twice, or of two values, the last one would count.
        if at != ends or len(set(seen)) < len(seen) or sum(tag in _VALUES for tag in seen) != 1:
            raise OddError
        return found

    def _piece(self, kind: str, letter: str, begins: int, ends: int) -> int:
        """Adds one that does not stay, and what was before it; where it is."""
        self._stays(begins)
        self.kinds.append(kind)
        self.sizes.append(ends - begins)
        self.format += letter
        self._done = ends
        return len(self.sizes) - 1

    def _stays(self, ends: int) -> None:
        self.fixed.append(self._payload[self._done : ends])
        self.sizes.append(ends - self._done)
        self.format += f"{ends - self._done}s"


def varint(raw: bytes) -> int:
    """The number of a varint."""
    value = shift = 0
    for byte in raw:
        value |= (byte & 0x7F) << shift
        shift += 7
    return value


def _ends(payload: bytes, at: int) -> int:
    """Where a varint ends."""
    begins = at
    while payload[at] > 0x7F:  # noqa: PLR2004 more bytes follow
        at += 1
    if at - begins >= _LONGEST_NUMBER:
        raise OddError
    return at + 1
