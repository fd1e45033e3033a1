"""The two internals of paho that the hot path relies on: an upgrade that changes them fails here, loudly."""

import inspect
import socket

import pytest
from paho.mqtt import client as paho

from voltd import config
from voltd.pipeline.consume import clients, stream

CONNACK = b"\x20\x03\x01\x00\x00"  # session present, success, no properties (MQTT 5, 3.2)


@pytest.fixture
def pair():
    """A client on one end of a socket pair, as after ``connect``, and the other end."""
    client = clients.create(config.Settings())
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    client._sock = ours
    client.on_socket_register_write = lambda *_: None
    yield client, theirs
    client._sock = None
    ours.close()
    theirs.close()


def test_signatures():
    assert list(inspect.signature(paho.Client._sock_recv).parameters) == ["self", "bufsize"]
    names = list(inspect.signature(paho.Client._packet_queue).parameters)
    assert names == ["self", "command", "packet", "mid", "qos", "info"]


def test_a_packet_given_by_hand_runs_its_callback(pair):
    client, _ = pair
    seen = []
    client.on_connect = lambda _client, _userdata, flags, reason, _properties: seen.append((flags, reason))
    client.give(CONNACK)
    assert [(flags.session_present, reason.is_failure) for flags, reason in seen] == [(True, False)]


def test_packets_sent_whole_arrive_whole_and_in_order(pair):
    """Also when the socket takes them in parts."""
    client, theirs = pair
    packets = stream.pubacks(list(range(1, 60_000)))
    client.send_whole(packets)
    client.send_whole(stream.DISCONNECT)
    arrived = b""
    while len(arrived) < len(packets) + 2:
        if client.want_write():
            client.loop_write()
        arrived += theirs.recv(1 << 20)
    assert arrived == packets + stream.DISCONNECT


def test_end_of_stream_is_noticed(pair):
    client, _ = pair
    gone = []
    client.on_disconnect = lambda *_: gone.append(True)
    client.end()
    assert gone == [True]
    assert client.socket() is None
