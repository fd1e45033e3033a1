"""The hot part of MQTT: parses PUBLISH packets out of a byte stream, and builds the PUBACKs of a batch as one buffer.

``session`` feeds it the bytes of the socket, puts the messages into the window and passes every other packet to paho.
Pure: bytes in, messages and bytes out. Packet layout: MQTT 5, 2.1 (fixed header), 3.3 (PUBLISH), 3.4 (PUBACK).
"""

from __future__ import annotations

import array
import dataclasses
import datetime as dt
import sys
from collections.abc import Iterator

from voltd import models
from voltd.pipeline import room

# The first byte: type (4 bits), DUP, QoS (2 bits), RETAIN. With the upper QoS bit off it is QoS 0 or 1.
_TYPE_AND_QOS_2, _PUBLISH = 0xF4, 0x30
_DUP, _QOS_1, _RETAIN = 0x08, 0x02, 0x01
_CONTINUES = 0x80  # of a variable byte integer, one more byte follows
_PUBACK_HEADER = 0x4002  # type 4, remaining length 2: reason code 0 and properties may be left out (3.4.2.1)
DISCONNECT = b"\xe0\x00"  # normal disconnection: reason code and properties may be left out (3.14.2.1)
_CACHED_TOPICS = 200_000
_CACHED_BYTES = 128 << 20
_LARGE_BYTES = 1 << 20  # a larger packet is collected in a buffer of its own, which grows without being copied


@dataclasses.dataclass(slots=True)
class _Large:
    """A message whose payload has not arrived completely."""

    message: models.Message
    payload: bytearray
    missing: int


class PublishStream:
    """Parses the stream of one connection; each connection needs a new one.

    Args:
        connection: number of the connection, written into each message.
    """

    def __init__(self, connection: int) -> None:
        self._connection = connection
        self._rest = b""
        self._large: _Large | None = None
        self._topics: dict[bytes, str] = {}
        self._room = room.Room(_CACHED_TOPICS, _CACHED_BYTES)

    def feed(  # noqa: C901 one loop over every packet, where a call costs more than a line
        self, data: bytes, received_at: dt.datetime
    ) -> Iterator[list[models.Message] | bytes]:
        """Parses the packets that ``data`` completes, in the order of the stream.

        Yields:
            lists of messages (QoS 0 and 1), and each other packet (QoS 2 included) as its bytes.

        Raises:
            ValueError: the stream is not MQTT; close the connection, the broker sends unacked messages again.
        """
        messages: list[models.Message] = []
        if self._large is not None:
            data = self._continue(self._large, data, messages)
        buffer = self._rest + data if self._rest else data
        position, end = 0, len(buffer)
        while end - position > 1:
            first, length, body = buffer[position], buffer[position + 1], position + 2
            if length & _CONTINUES:
                if end - position > 2 and not buffer[body] & _CONTINUES:  # noqa: PLR2004 two bytes, as most are
                    length, body = length & 0x7F | buffer[body] << 7, body + 1
                else:
                    length, body = _varint(buffer, position + 1)
                    if not body:
                        break
            stop = body + length
            if stop > end:
                large = stop - position > _LARGE_BYTES and first & _TYPE_AND_QOS_2 == _PUBLISH
                if large and self._begin(buffer[position:], first, body - position, stop - end, received_at):
                    position = end
                break
            if first & _TYPE_AND_QOS_2 == _PUBLISH:
                messages.append(self._message(buffer, first, body, stop, received_at))
            else:
                if messages:
                    yield messages
                    messages = []
                yield buffer[position:stop]
            position = stop
        self._rest = buffer[position:]
        if messages:
            yield messages

    def _message(self, buffer: bytes, first: int, body: int, stop: int, received_at: dt.datetime) -> models.Message:
        try:
            at = body + 2 + (buffer[body] << 8 | buffer[body + 1])
            name = buffer[body + 2 : at]
            packet_id = 0
            if first & _QOS_1:
                packet_id = buffer[at] << 8 | buffer[at + 1]
                at += 2
            if buffer[at]:  # properties; no topic aliases, since we allow none
                length, at = _varint(buffer, at)
                at = at + length if at else stop + 1
            else:
                at += 1
        except IndexError:
            at = stop + 1
        size = stop - at
        if size < 0:
            raise ValueError("a PUBLISH packet that ends within its header")
        topic = self._topics.get(name) or self._topic(name)
        return models.Message(
            topic,
            buffer[at:stop],
            packet_id,
            received_at,
            1 if packet_id else 0,
            first & _RETAIN != 0,
            first & _DUP != 0,
            self._connection,
            size,
        )

    def _topic(self, name: bytes) -> str:
        topic = name.decode("utf-8", "backslashreplace")
        if self._room.take(self._topics, 2 * len(name)):
            self._topics[name] = topic
        return topic

    def _begin(self, part: bytes, first: int, body: int, missing: int, received_at: dt.datetime) -> bool:
        """Starts a large message from its first part; False while its header is incomplete."""
        try:
            message = self._message(part, first, body, len(part), received_at)
        except ValueError:
            return False
        message = message._replace(size=message.size + missing)
        self._large = _Large(message, bytearray(message.payload), missing)
        return True

    def _continue(self, large: _Large, data: bytes, messages: list[models.Message]) -> bytes:
        """Adds data to the large message; returns the rest, which belongs to the next packet."""
        part = data[: large.missing]
        large.missing -= len(part)
        large.payload += part
        if not large.missing:
            messages.append(large.message._replace(payload=bytes(large.payload)))
            self._large = None
        return data[len(part) :]


def pubacks(packet_ids: list[int]) -> bytes:
    """PUBACK packets, reason code success, in this order."""
    words = array.array("H", [_PUBACK_HEADER]) * (2 * len(packet_ids))
    words[1::2] = array.array("H", packet_ids)
    if sys.byteorder == "little":
        words.byteswap()
    return words.tobytes()


def _varint(buffer: bytes, at: int) -> tuple[int, int]:
    """A variable byte integer (MQTT 5, 1.5.5) and the position behind it; (0, 0) while it is incomplete.

    Raises:
        ValueError: more than four bytes: the stream is not MQTT.
    """
    value = shift = 0
    for position in range(at, min(at + 4, len(buffer))):
        value |= (buffer[position] & 0x7F) << shift
        if not buffer[position] & _CONTINUES:
            return value, position + 1
        shift += 7
    if len(buffer) - at >= 4:  # noqa: PLR2004
        raise ValueError("a variable byte integer of more than four bytes")
    return 0, 0
