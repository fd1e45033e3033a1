"""Payloads of Sparkplug B, encoded by hand: protobuf's wire format, and the field numbers of sparkplug_b.proto."""

from __future__ import annotations

import struct

INT8, INT16, INT32, INT64, UINT32, UINT64, FLOAT, DOUBLE, STRING = 1, 2, 3, 4, 7, 8, 9, 10, 12
Value = float | str | bytes | None


def varint(value: int) -> bytes:
    """A number in groups of seven bits."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    """A field of wire type 0."""
    return varint(field << 3) + varint(value)


def block(field: int, value: bytes) -> bytes:
    """A field of wire type 2."""
    return varint(field << 3 | 2) + varint(len(value)) + value


def metric(
    name: str | None = None,
    value: Value = None,
    datatype: int | None = DOUBLE,
    *,
    alias: int | None = None,
    at_ms: int | None = None,
    historical: bool = False,
    null: bool = False,
) -> bytes:
    """A metric, its fields in the order of their numbers; ``datatype`` says how the value is written as well."""
    out = block(1, name.encode()) if name is not None else b""
    out += number(2, alias) if alias is not None else b""
    out += number(3, at_ms) if at_ms is not None else b""
    out += number(4, datatype) if datatype is not None else b""
    out += number(5, 1) if historical else b""
    out += number(7, 1) if null else b""
    return out + (b"" if value is None else written(value, datatype))


def written(value: Value, datatype: int | None = DOUBLE) -> bytes:
    """The value alone."""
    if isinstance(value, bytes):
        return block(16, value)
    if isinstance(value, str):
        return block(15, value.encode())
    assert value is not None
    match datatype:
        case 9:
            return varint(12 << 3 | 5) + struct.pack("<f", value)
        case 10:
            return varint(13 << 3 | 1) + struct.pack("<d", value)
        case 4 | 8:
            return number(11, int(value) % (1 << 64))
    return number(10, int(value) % (1 << 32))


def payload(*metrics: bytes, seq: int | None = None, at_ms: int | None = None) -> bytes:
    """A message's payload."""
    out = number(1, at_ms) if at_ms is not None else b""
    out += b"".join(block(2, one) for one in metrics)
    return out + (number(3, seq) if seq is not None else b"")


def birth(*metrics: bytes, session: int = 1, at_ms: int | None = None) -> bytes:
    """NBIRTH of a node."""
    return payload(metric("bdSeq", session, INT64), *metrics, seq=0, at_ms=at_ms)


REBIRTH = b"\x12\x1a\x0a\x14Node Control/Rebirth\x20\x0b\x70\x01"  # one metric: its name, Boolean, true
