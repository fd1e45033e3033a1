"""The quick way for messages that are written like an earlier one of their device: the same metrics, other numbers.

A message that was read thoroughly leaves its layout: which bytes stay as they are, and where its times, values and
number are. It only ever says yes: a message that differs in any other byte is read thoroughly. Pure.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from voltd.pipeline.decode.devices.sparkplug import cut

LONGEST = 2048  # bytes of a payload that leaves a layout
_PATIENCE = 32
_TIME_MASK, _TIME_BITS = 0x808080808080, 0x008080808080  # which bytes of a varint say that more follow
_MOST_DATATYPE = 34  # of those that there are
_SIGNED_BITS = {1: 8, 2: 16, 3: 32, 4: 64}  # by data type: Int8 to Int64


class Filled(NamedTuple):
    """A message by its layout.

    Attributes:
        layout: it.
        found: bytes that stay and others in turns; the values among the latter are numbers.
        at_ms: the time of all its metrics, ms since 1970.
        seq: its number, 0 to 255; None: it has none.
        payload: with the names of its metrics.
    """

    layout: Layout
    found: list[Any]
    at_ms: int
    seq: int | None
    payload: bytes


class Layout:
    """How a device writes a message of one length.

    Args:
        payload: the message as it arrived.
        named: the same with the names of its metrics; the same object if nothing was added.

    Attributes:
        values: its metrics: the name, and where in ``Filled.found`` the value is; None: it stays the same.
        plans: what each reader makes of them, for the readers to keep.
        patience: how many messages of this length may be written otherwise until another layout takes the place.

    Raises:
        cut.OddError: see ``learn``.
    """

    __slots__ = (
        "_at",
        "_fixed",
        "_floats",
        "_integers",
        "_pack",
        "_sent",
        "_seq",
        "_times",
        "_unpack",
        "patience",
        "plans",
        "values",
    )

    def __init__(self, payload: bytes, named: bytes) -> None:
        shape = cut.Shape(payload)
        full = shape if named is payload else cut.Shape(named)
        if shape.kinds != full.kinds:
            raise cut.OddError
        self._unpack = struct.Struct(shape.format).unpack
        self._fixed = tuple(shape.fixed)
        self._pack: tuple[Callable[..., bytes], list[bytes]] | None = None
        if named is not payload:
            self._pack = struct.Struct(full.format).pack, full.fixed
        self.values = [(metric.name, metric.value) for metric in full.metrics]
        self._integers = [_reads(metric, full) for metric in full.metrics if metric.integer]
        self._floats = [1 + 2 * place for place, kind in enumerate(full.kinds) if kind == cut.FLOAT]
        times = [metric.at for metric in full.metrics if metric.at is not None]
        if times and len(times) < len(full.metrics):
            raise cut.OddError  # some metrics have the message's time, some their own
        at = times[0] if times else full.sent
        if at is None:
            raise cut.OddError
        self._at, self._sent = at, full.sent
        self._times = operator.itemgetter(*times) if len(times) > 1 else None
        self._seq = full.seq
        self.plans: dict[Any, Any] = {}
        self.patience = _PATIENCE

    def fill(self, payload: bytes) -> Filled | None:
        """A message of the layout's length; None: it is written otherwise."""
        found = self._unpack(payload)
        if found[::2] != self._fixed:
            self.patience -= 1
            return None
        at_ms = self._time(found)
        seq = None if self._seq is None else _number(found[self._seq])
        # The bits of a NaN may change.
        if not at_ms or seq == -1 or (self._floats and any(found[place] != found[place] for place in self._floats)):
            return None
        filled = list(found)
        if self._pack is not None:
            pack, names = self._pack
            filled[::2] = names
            payload = pack(*filled)
        if self._integers and not self._read_integers(filled):
            return None
        self.patience = _PATIENCE
        return Filled(self, filled, at_ms, seq, payload)

    def _time(self, found: tuple[Any, ...]) -> int | None:
        """The time of all metrics; None: they have several, or one is no time."""
        raw = found[self._at]
        if self._times is not None and (times := self._times(found)).count(raw) < len(times):
            return None
        # The message's own time may be another one.
        if self._sent is not None and (sent := found[self._sent]) != raw and _time(sent) is None:
            return None
        return _time(raw)

    def _read_integers(self, filled: list[Any]) -> bool:
        """Puts their numbers in the place of their bytes; whether they are some."""
        for index, mask, bits, most, signed in self._integers:
            raw = filled[index]
            if int.from_bytes(raw, "little") & mask != bits or (value := cut.varint(raw)) > most:
                return False
            filled[index] = _signed(value, signed) if signed else value
        return True


def learn(payload: bytes, named: bytes) -> Layout | None:
    """The layout of a message, see ``Layout``; None: it has none.

    History, null, times of several moments and values without a data type are read thoroughly each time.
    """
    try:
        return Layout(payload, named)
    except (cut.OddError, IndexError):
        return None


def _time(raw: bytes) -> int | None:
    """Since 1970, ms; None: the bytes are no number of this length."""
    bits = int.from_bytes(raw, "little")
    if bits & _TIME_MASK != _TIME_BITS:
        return None
    return (
        bits & 0x7F
        | bits >> 1 & 0x3F80
        | bits >> 2 & 0x1FC000
        | bits >> 3 & 0xFE00000
        | bits >> 4 & 0x7F0000000
        | bits >> 5 & 0x3F800000000
    )


def _number(raw: int) -> int:
    """The message's number, as it stands in one byte or two; -1: it is written otherwise."""
    if raw <= 0x7F:  # noqa: PLR2004
        return raw
    return raw & 0x7F | 0x80 if raw & 0xFF80 == 0x0180 else -1  # noqa: PLR2004 two bytes, 128 to 255


def _reads(metric: cut.Metric, shape: cut.Shape) -> tuple[int, int, int, int, int]:
    """How an integer is read: where it is, which bits say that it ends there, the most it can be, bits of a signed one.

    Raises:
        cut.OddError: without a data type nobody can know its sign.
    """
    if metric.value is None or not 0 < metric.datatype <= _MOST_DATATYPE:
        raise cut.OddError
    mask = int.from_bytes(b"\x80" * shape.sizes[metric.value], "little")
    return metric.value, mask, mask >> 8, (1 << metric.integer) - 1, _SIGNED_BITS.get(metric.datatype, 0)


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1  # some write 8 bits, some 32, where an Int8 is meant
    return value - (1 << bits) if value >> (bits - 1) else value
