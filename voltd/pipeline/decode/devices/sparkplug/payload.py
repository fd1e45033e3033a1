"""The protobuf messages of Sparkplug B, declared here: the fields that voltd reads; others are kept as they are.

Facts: eclipse-tahu/tahu, sparkplug_b/sparkplug_b.proto (field numbers, data types). Names are bytes here: they are
compared, and what is no UTF-8 must not raise.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from voltd.models import Reason
from voltd.pipeline.decode import fields
from voltd.pipeline.decode.devices.sparkplug import layout

MOST_METRICS = 10_000
_SCANNED_BYTES = 2 * MOST_METRICS  # a smaller payload cannot have more
_UINT32, _UINT64, _BOOL, _BYTES, _FLOAT, _DOUBLE, _MESSAGE = 13, 4, 8, 12, 2, 1, 11
# name: number, type, whether it is one of the values
_METRIC = {
    "name": (1, _BYTES, False),
    "alias": (2, _UINT64, False),
    "timestamp": (3, _UINT64, False),
    "datatype": (4, _UINT32, False),
    "is_historical": (5, _BOOL, False),
    "is_null": (7, _BOOL, False),
    "int_value": (10, _UINT32, True),
    "long_value": (11, _UINT64, True),
    "float_value": (12, _FLOAT, True),
    "double_value": (13, _DOUBLE, True),
    "boolean_value": (14, _BOOL, True),
    "string_value": (15, _BYTES, True),
    "bytes_value": (16, _BYTES, True),
    "dataset_value": (17, _BYTES, True),  # a message, which nobody opens here
    "template_value": (18, _BYTES, True),
}
_COMPRESSED = b"SPBV1.0_COMPRESSED"


def _declare() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="voltd/sparkplug", package="voltd", syntax="proto2")
    metric = file.message_type.add(name="Metric")
    metric.oneof_decl.add(name="value")
    for name, (number, kind, is_value) in _METRIC.items():
        metric.field.add(name=name, number=number, type=kind, label=1, oneof_index=0 if is_value else None)
    payload = file.message_type.add(name="Payload")
    payload.field.add(name="timestamp", number=1, type=_UINT64, label=1)
    payload.field.add(name="metrics", number=2, type=_MESSAGE, label=3, type_name=".voltd.Metric")
    payload.field.add(name="seq", number=3, type=_UINT64, label=1)
    payload.field.add(name="uuid", number=4, type=_BYTES, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("voltd.Payload"))


Parsed = tuple[Any, list[Any]]  # a payload and its metrics: each access to them would make new objects
_Kept = Parsed | layout.Filled
Payload = _declare()
_parse = Payload.FromString
_kept: tuple[bytes, _Kept] = (b"", (None, []))


def keep(payload: bytes, parsed: _Kept) -> None:
    """What was heard is read next: ``heard`` of this very object returns it."""
    global _kept  # noqa: PLW0603 replaced whole, so threads need no lock
    _kept = (payload, parsed)


def heard(payload: bytes) -> _Kept:
    """The same as ``parse``, or what was heard of it: by its layout, or parsed already."""
    kept = _kept
    return kept[1] if kept[0] is payload else parse(payload)


def parse(payload: bytes) -> Parsed:
    """A message's payload, with at most 10,000 metrics.

    Raises:
        fields.Invalid: it is none, is compressed, or has more metrics.
    """
    if len(payload) > _SCANNED_BYTES:
        _scan(payload)
    try:
        found = _parse(payload)
    except message.DecodeError as error:
        raise fields.Invalid(Reason.NOT_PROTOBUF, f"no payload of Sparkplug B: {error}"[:200]) from None
    if found.uuid == _COMPRESSED:
        raise fields.Invalid(Reason.NOT_PROTOBUF, "a compressed payload: switch compression off in the edge node")
    return found, list(found.metrics)


def _scan(payload: bytes) -> None:
    """Refuses a payload with too many metrics before memory is spent on them."""
    at = metrics = 0
    try:
        while at < len(payload):
            tag, at = _varint(payload, at)
            metrics += tag == 0x12  # noqa: PLR2004 field 2, with a length
            if metrics > MOST_METRICS:
                raise fields.Invalid(Reason.TOO_MANY, f"over {MOST_METRICS} metrics in a message")
            match tag & 7:
                case 0:
                    _, at = _varint(payload, at)
                case 1:
                    at += 8
                case 2:
                    length, at = _varint(payload, at)
                    at += length
                case 5:
                    at += 4
                case _:  # a group: nothing that Sparkplug has
                    raise fields.Invalid(Reason.NOT_PROTOBUF, "no payload of Sparkplug B: it has a group")
    except IndexError:
        raise fields.Invalid(Reason.NOT_PROTOBUF, "no payload of Sparkplug B: it is cut short") from None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 the last one
            return value, at
        shift += 7
        if shift > 63:  # noqa: PLR2004
            raise fields.Invalid(Reason.NOT_PROTOBUF, "no payload of Sparkplug B: a number of over 10 bytes")
