"""The batch that grows while another one is written."""

import datetime as dt
import time

import pytest

from support import harness
from voltd import config, models
from voltd.pipeline.consume import window as consume_window
from voltd.pipeline.decode import decoder as decode
from voltd.pipeline.decode import fast
from voltd.pipeline.decode.devices import families
from voltd.pipeline.flush import ahead as decode_ahead
from voltd.pipeline.flush import policy

NOW = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)


def message(packet_id, size=0):
    body = f'{{"timestamp":"{NOW.isoformat()}","soc":5,"chargingStatus":"{"x" * size}"}}'.encode()
    return models.Message("volt/vehicle/V1/telemetry", body, packet_id, NOW)


@pytest.fixture
def made():
    """A function: settings of the batch -> window and the started thread's object."""
    started = []

    def make(**batch):
        settings = config.Settings(batch={"linger_ms": 0, **batch})
        window = consume_window.Window(1 << 30)
        decoder = decode.Decoder(settings.mqtt.topics, settings.limits, 90)
        ahead = decode_ahead.DecodeAhead(window, decoder, policy.of(settings))
        ahead.start()
        started.append(ahead)
        return window, ahead

    yield make
    for ahead in started:
        ahead.stop()


def settled(window, waiting):
    """Waits until the thread has left so many messages in the window."""
    ends = time.monotonic() + 5
    while len(window._waiting) != waiting:
        assert time.monotonic() < ends
        time.sleep(0.001)
    time.sleep(0.02)


def test_grows_until_it_is_taken_and_no_further_than_the_limit(made):
    """Invariants 2 and 6: what arrives meanwhile is one batch, in order; the rest waits in the window."""
    window, ahead = made(max_messages=3)
    for packet_id in range(1, 6):
        window.put(message(packet_id))
    settled(window, 2)
    first = ahead.next()
    assert [one.packet_id for one in first.messages] == [1, 2, 3]
    assert [index for index, _element in first.vehicle_sources] == [0, 1, 2]
    settled(window, 0)
    assert [one.packet_id for one in ahead.next().messages] == [4, 5]


def test_bounded_by_bytes(made):
    """Invariant 2: a batch holds no more bytes than the limit, one message more at most."""
    window, ahead = made(max_bytes=65536)
    for packet_id in range(1, 11):
        window.put(message(packet_id, size=20_000))
    settled(window, 6)
    assert len(ahead.next().messages) == 4


def test_hands_over_what_is_left_when_stopped(made):
    """Stopping empties the window first."""
    window, ahead = made()
    window.put(message(1))
    ahead.stop()
    batch = ahead.next()
    assert [one.packet_id for one in batch.messages] == [1]
    assert ahead.next() is None
    assert ahead.finished


def test_decoding_fails_half_way_behind_an_earlier_piece(made, monkeypatch):
    """Invariant 1: messages without a fate are never handed over: whoever takes a batch acks all of it."""
    add = fast.add

    def failing(batch, source, *rest):
        if batch.messages[source[0]].packet_id == 3:
            raise MemoryError
        return add(batch, source, *rest)

    monkeypatch.setattr(fast, "add", failing)
    window, ahead = made()
    window.put(message(1))
    settled(window, 0)
    window.put_many([message(2), message(3), message(4)])
    harness.wait_for(lambda: ahead.finished)
    for _ in range(2):
        with pytest.raises(MemoryError):
            ahead.next()


def test_a_failure_is_the_flushers(made, monkeypatch):
    """A defect in the thread ends the daemon through the flusher instead of leaving it waiting for ever."""
    monkeypatch.setattr(decode.Decoder, "decode", lambda *_: 1 / 0)
    window, ahead = made()
    window.put(message(1))
    settled(window, 0)
    with pytest.raises(ZeroDivisionError):
        ahead.next()


def test_half_a_window_behind_a_held_message_ends_its_wait():
    """Whatever else is complete meanwhile: the broker sends no more while the acks behind it wait."""
    devices = {"ovms": config.DeviceFamily(gather_s=60.0), "teslamate": config.DeviceFamily(gather_s=0.05)}
    settings = config.Settings(devices=devices, batch={"linger_ms": 0})
    window = consume_window.Window(1 << 30, 200)
    others = families.of(settings)
    decoder = decode.Decoder(settings.mqtt.topics, settings.limits, 90, settings.timestamps, others)
    ahead = decode_ahead.DecodeAhead(window, decoder, policy.of(settings))
    ahead.start()
    stored = set()
    try:
        window.put(models.Message("ovms/u/EV1/metric/v/b/soc", b"50", 1, dt.datetime.now(dt.UTC)))
        for number in range(2, 201):
            now = dt.datetime.now(dt.UTC)
            window.put(models.Message(f"teslamate/cars/{number}/battery_level", b"50", number, now))
            time.sleep(0.002)
        ends = time.monotonic() + 10
        while 1 not in stored and time.monotonic() < ends:
            batch = ahead.next()
            stored |= {one.packet_id for one in batch.messages} if batch else set()
    finally:
        ahead.stop()
    assert 1 in stored
