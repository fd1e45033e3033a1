"""The reader of the PUBLISH stream: the same messages as paho's own parser, wherever the stream is cut."""

import datetime as dt
import struct
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voltd import config
from voltd.pipeline.consume import clients
from voltd.pipeline.consume.stream import PublishStream, pubacks

NOW = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)


def varint(value):
    out = bytearray()
    while True:
        value, low = divmod(value, 128)
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def publish(topic, payload, *, qos=1, packet_id=1, retain=False, dup=False, properties=b""):
    name = topic.encode()
    body = struct.pack("!H", len(name)) + name
    if qos:
        body += struct.pack("!H", packet_id)
    body += varint(len(properties)) + properties + payload
    return bytes([0x30 | dup << 3 | qos << 1 | retain]) + varint(len(body)) + body


USER_PROPERTY = b"\x26\x00\x01k\x00\x01v"  # MQTT 5, 3.3.2.3.7
EXPIRY = b"\x02\x00\x00\x00\x3c"  # message expiry interval, 3.3.2.3.3
PINGRESP, PUBACK = b"\xd0\x00", b"\x40\x02\x00\x07"

PUBLISHES = st.builds(
    publish,
    topic=st.text(st.characters(codec="utf-8", exclude_characters="+#\0"), min_size=1, max_size=20),
    payload=st.binary(max_size=300) | st.integers(1000, 20_000).map(lambda size: b"x" * size),
    qos=st.sampled_from([0, 1, 1, 1]),
    packet_id=st.integers(1, 65535),
    retain=st.booleans(),
    dup=st.booleans(),
    properties=st.sampled_from([b"", b"", EXPIRY, USER_PROPERTY * 2 + EXPIRY, USER_PROPERTY * 40]),
)


def read(stream, cuts):
    """What the stream gives when ``stream`` arrives in pieces."""
    reader, parts, start = PublishStream(7), [], 0
    for cut in [*sorted(cuts), len(stream)]:
        for part in reader.feed(stream[start:cut], NOW):
            parts += [part] if isinstance(part, bytes) else part
        start = cut
    return parts


def read_by_paho(packets):
    """What paho makes of the same packets."""
    client, found = clients.create(config.Settings()), []
    client.on_message = lambda _client, _userdata, message: found.append(message)
    there: Any = True
    client.socket = lambda: there
    client._sock = there
    for packet in packets:
        client.give(packet)
    client._sock = None
    return [(m.topic, m.payload, m.mid, m.qos, bool(m.retain), bool(m.dup), len(m.payload)) for m in found]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(packets=st.lists(PUBLISHES, max_size=12), data=st.data())
def test_same_messages_as_paho_wherever_the_stream_is_cut(packets, data):
    stream = b"".join(packets)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    mine = read(stream, cuts)
    assert [(m.topic, m.payload, m.packet_id, m.qos, m.retained, m.redelivered, m.size) for m in mine] == read_by_paho(
        packets
    )
    assert {m.connection for m in mine} <= {7}


@given(cuts=st.lists(st.integers(0, 60), max_size=70))
def test_other_packets_come_out_whole_and_in_their_place(cuts):
    qos_2 = publish("t", b"two", qos=2)
    stream = publish("t", b"one") + PINGRESP + PUBACK + qos_2 + publish("t", b"three")
    parts = read(stream, [cut for cut in cuts if cut <= len(stream)])
    assert [part if isinstance(part, bytes) else part.payload for part in parts] == [
        b"one", PINGRESP, PUBACK, qos_2, b"three",
    ]  # fmt: skip


@pytest.mark.parametrize("piece", [1, 100, 262_144])
def test_a_huge_payload_is_kept_whole(piece):
    """Whatever its size, so that it can be replayed; it is held once while it comes, the next packet is behind it."""
    size = 4_000_000 if piece > 1 else 1_100_000
    stream = publish("big", b"y" * size) + publish("t", b"next")
    reader, found, most = PublishStream(1), [], 0
    for start in range(0, len(stream), piece):
        for part in reader.feed(stream[start : start + piece], NOW):
            found += part
        most = max(most, len(reader._rest) + (len(reader._large.payload) if reader._large else 0))
    assert [(m.topic, len(m.payload), m.size) for m in found] == [("big", size, size), ("t", 4, 4)]
    assert most <= size + max(piece, 20)


@pytest.mark.parametrize("stream", [b"\x32\x80\x80\x80\x80\x01", b"\x32\x03\x00\x09a", b"\x32\x05\x00\x01t\x00\x01"])
def test_what_is_not_mqtt_is_refused(stream):
    with pytest.raises(ValueError, match=r"variable byte|within its head"):
        read(stream, [])


@given(packet_ids=st.lists(st.integers(1, 65535), max_size=20))
def test_pubacks_are_what_paho_sends_one_by_one(packet_ids):
    client = clients.create(config.Settings())
    sent = []
    client._packet_queue = lambda _command, packet, *_: sent.append(bytes(packet))
    for packet_id in packet_ids:
        client.ack(packet_id, 1)
    assert pubacks(packet_ids) == b"".join(sent)
