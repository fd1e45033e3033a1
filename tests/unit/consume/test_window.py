"""The window between network thread and flusher."""

import datetime as dt

import pytest

from voltd import models
from voltd.pipeline.consume.window import Window

NOW = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)


def message(packet_id, payload=b"x", *, connection=1, redelivered=False, qos=1):
    return models.Message(
        "t", payload, packet_id, NOW, qos, redelivered=redelivered, connection=connection, size=len(payload)
    )


def take(window, count=100, size=1000):
    return window.take(count, size, 0.0, 0.0)


def test_messages_leave_in_the_order_received_and_within_the_bounds():
    window = Window(1000)
    for packet_id in range(1, 8):
        window.put(message(packet_id, b"12345"))
    assert [m.packet_id for m in take(window, count=3)] == [1, 2, 3]
    assert [m.packet_id for m in take(window, size=12)] == [4, 5]
    assert [m.packet_id for m in take(window)] == [6, 7]
    assert take(window) == []


def test_a_message_over_the_batch_limit_comes_alone():
    window = Window(1000)
    window.put(message(1, b"x" * 50))
    window.put(message(2))
    assert [m.packet_id for m in take(window, size=10)] == [1]


def test_full_by_bytes_until_released():
    """Invariant 2: held bytes are bounded; what is in a batch still counts."""
    window = Window(1000)
    window.put(message(1, b"x" * 500))
    assert window.full
    taken = take(window)
    assert window.full
    window.release(taken)
    assert not window.full
    assert window.in_flight == 0


def test_redelivery_replaces_what_waits():
    """Invariant 2: reconnecting again and again during an outage does not pile up copies."""
    window = Window(1000)
    for packet_id in (1, 2, 3):
        window.put(message(packet_id))
    for connection in (2, 3, 4):
        window.reconnected()
        for packet_id in (1, 2, 3):
            window.put(message(packet_id, connection=connection, redelivered=True))
    assert window.in_flight == 3
    assert [(m.packet_id, m.connection) for m in take(window)] == [(1, 4), (2, 4), (3, 4)]


def test_what_the_broker_forgot_is_kept():
    """Invariant 3: a broker that lost unacked messages in a crash has not lost those that wait here."""
    window = Window(1000)
    window.put(message(1, b"a"))
    window.put(message(2, b"b"))
    window.reconnected()
    window.put(message(1, b"new", connection=2))
    assert sorted(m.payload for m in take(window)) == [b"a", b"b", b"new"]


def test_another_message_under_the_same_packet_id_replaces_nothing():
    window = Window(1000)
    window.put(message(1, b"a"))
    window.reconnected()
    window.put(message(1, b"other", connection=2, redelivered=True))
    window.reconnected()
    assert sorted(m.payload for m in [*take(window), *_after_redelivery(window)]) == [b"a", b"other"]


def _after_redelivery(window):
    window.put(message(99, b"fresh", connection=9))
    return [m for m in take(window) if m.payload != b"fresh"]


def test_qos_0_stays_in_line_over_a_reconnect():
    window = Window(1000)
    window.put(message(0, qos=0))
    window.reconnected()
    assert [m.qos for m in take(window)] == [0]


def test_many_small_messages_fill_it_too():
    """Invariant 2: Receive Maximum does not bound QoS 0, so each message counts with what it costs."""
    window = Window(10_000)
    count = 0
    while not window.full:
        window.put(message(0, b"", qos=0))
        count += 1
    assert count < 25


def test_malformed_arrays_do_not_make_a_boundless_batch():
    """Invariant 2: a batch is bounded in elements, not only in bytes and messages."""
    window = Window(1 << 30)
    for packet_id in range(1, 101):
        window.put(message(packet_id, b"[" + b"0," * 9999 + b"0]"))
    assert len(window.take(1000, 1 << 30, 0.0, 0.0)) == 40


def test_white_space_before_an_array_does_not_hide_its_elements():
    """Invariant 2: the bound on elements holds for arrays that do not begin at the first byte."""
    window = Window(1 << 30)
    array = b"\n[" + b"{}," * 9_999 + b"{}]"
    for packet_id in range(1, 101):
        window.put(message(packet_id, array))
    assert len(window.take(1000, 1 << 30, 0.0, 0.0)) < 50


@pytest.mark.parametrize("payload", [b"", b"x" * 5000])
def test_a_payload_that_a_decoder_has_changed_costs_what_it_did(payload):
    window = Window(1 << 30)
    message = models.Message("t", b"x" * 1000, 1, NOW, size=1000)
    window.put(message)
    (taken,) = window.take(10, 1 << 30, 0.0, 0.0)
    window.release([taken._replace(payload=payload)])
    assert (window.in_flight, window.in_flight_bytes) == (0, 0)
