"""The flusher against the fakes: batches, acks, retries, stopping."""

import threading
import time

import pytest

from support import harness
from support.fakes import FakeBroker, FakeStore, body
from voltd import config, metrics
from voltd.pipeline.consume import window
from voltd.pipeline.decode import decoder
from voltd.pipeline.flush import flusher, outage, policy
from voltd.pipeline.spool import drain
from voltd.pipeline.spool import file as spool

TOPIC = "volt/vehicle/V1/telemetry"


class Rig:
    """A flusher with fakes on both sides."""

    def __init__(self, *, kept=None, **settings):
        self.settings = config.Settings(**settings)
        self.window = window.Window(self.settings.limits.max_held_bytes)
        self.broker = FakeBroker(self.settings.mqtt.receive_maximum)
        self.store = FakeStore()
        self.counters = metrics.Metrics()
        self.acked = []
        self.decoder = decoder.Decoder(self.settings.mqtt.topics, self.settings.limits, 90)
        self.outage = outage.Outage(self.counters)
        self.flusher = flusher.Flusher(
            self.window,
            self.decoder,
            self.store,
            policy.of(self.settings),
            self.counters,
            outage=self.outage,
            ack=self._ack,
            spool=kept,
        )
        self.broker.connect(self.window)

    def _ack(self, messages):
        self.acked.append([message.packet_id for message in messages])
        self.broker.ack(messages)

    def drain(self, within_s=5.0):
        """Runs the flusher until the window is empty, at most so long, and stops it."""
        thread = threading.Thread(target=self.flusher.run)
        thread.start()
        ends = time.monotonic() + within_s
        while self.window.in_flight and time.monotonic() < ends:
            time.sleep(0.002)
        self.flusher.stop(0.2)
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def quick():
    return {"batch": {"linger_ms": 0}, "database": {"retry_max_s": 0.01}}


def test_acks_follow_the_commit_in_the_order_received(quick):
    """Invariant 1: one batch, one ack, in order, and nothing is acked that is not stored."""
    rig = Rig(**quick)
    for number in range(5):
        rig.broker.publish(TOPIC, body(number))
    rig.drain()
    assert rig.acked == [[1, 2, 3, 4, 5]]
    assert len(rig.store.vehicles) == 5


def test_what_is_malformed_is_acked_with_its_batch(quick):
    """Invariants 1 and 3: dead letters commit and are acked together with the readings around them."""
    rig = Rig(**quick)
    for payload in (body(1), b"malformed", body(2)):
        rig.broker.publish(TOPIC, payload)
    rig.drain()
    assert rig.acked == [[1, 2, 3]]
    assert (len(rig.store.vehicles), len(rig.store.dead_letters)) == (2, 1)
    assert rig.counters.messages_dead_lettered_total == {"not_json": 1}


def test_window_closes_behind_a_batch_limit(quick):
    """Invariant 2: no more than Receive Maximum is ever held, and everything gets through in the end."""
    rig = Rig(**quick | {"mqtt": {"receive_maximum": 4}, "batch": {"linger_ms": 0, "max_messages": 2}})
    for number in range(10):
        rig.broker.publish(TOPIC, body(number))
    assert rig.window.in_flight == 4
    rig.drain()
    assert len(rig.store.vehicles) == 10
    assert max(map(len, rig.acked)) == 2


def test_transient_failure_keeps_the_whole_batch(quick):
    """Invariant 3: nothing is acked while the store is away; the batch goes in when it is back."""
    rig = Rig(**quick)
    rig.store.fail("unavailable", "unavailable", "unavailable")
    rig.broker.publish(TOPIC, body(1))
    rig.drain()
    assert (rig.acked, len(rig.store.vehicles)) == ([[1]], 1)
    assert rig.counters.flush_retries_total == 3
    assert rig.counters.store_available


def test_lost_reply_of_a_commit_stores_and_counts_once(quick):
    """Invariant 4: a COMMIT without reply is neither lost nor doubled, not even in the counters."""
    rig = Rig(**quick)
    rig.store.fail("unanswered")
    for payload in (body(1), b"malformed"):
        rig.broker.publish(TOPIC, payload)
    rig.drain()
    assert (rig.counters.readings_written_total, rig.counters.readings_duplicate_total) == (1, 0)
    assert len(rig.store.dead_letters) == 1


def test_lost_reply_of_the_last_commit_is_counted_though_the_batch_is_spooled(quick, tmp_path):
    """The server crashes at COMMIT and is back later than spool.after_s; then nothing more arrives."""
    kept = spool.SpoolFile(tmp_path / "spool.sqlite3", 1 << 20, 0)
    rig = Rig(**quick | {"spool": {"after_s": 0, "min_free_bytes": 0}}, kept=kept)
    rig.store.fail("unanswered")
    for payload in (body(1), b"malformed"):
        rig.broker.publish(TOPIC, payload)
    thread = threading.Thread(target=rig.flusher.run)
    thread.start()
    try:
        harness.wait_for(lambda: kept.messages == 2, 5, "the spool")
        later = FakeStore(rig.store)
        drain.Drain(kept, rig.decoder, later, policy.of(rig.settings), rig.counters, outage=rig.outage).step()
        counted = rig.counters.messages_dead_lettered_total
        harness.wait_for(lambda: counted == {"not_json": 1}, 5, "its being counted")
    finally:
        rig.flusher.stop(1)
        thread.join(5)
    assert (rig.counters.readings_written_total, len(rig.store.dead_letters)) == (1, 1)


def test_store_that_stays_away_leaves_the_batch_with_the_broker(quick):
    """Stopping gives up after its time; the broker sends the unacked message again later."""
    rig = Rig(**quick)
    rig.store.fail(*["unavailable"] * 10_000)
    rig.broker.publish(TOPIC, body(1))
    rig.drain(within_s=0.2)
    assert (rig.acked, rig.store.vehicles) == ([], {})
    fresh = Rig(**quick)
    rig.broker.connect(fresh.window)
    assert fresh.window.in_flight == 1


def test_reconnect_in_the_middle_of_a_batch(quick):
    """Invariant 5: what is being written when the connection breaks is acked by its redelivery, and stored once."""
    rig = Rig(**quick)
    rig.broker.publish(TOPIC, body(1))
    write, again = rig.store.write, []

    def reconnecting(batch):
        if not again:
            again.append(batch)
            rig.broker.connect(rig.window)
        return write(batch)

    rig.store.write = reconnecting
    rig.drain()
    assert rig.acked == [[1], [1]]
    assert (len(rig.store.vehicles), rig.counters.readings_duplicate_total) == (1, 1)


def test_a_low_rate_is_not_held_up(quick):
    """Invariant 6: group commit; lone messages are stored as they come, without waiting for a timer."""
    rig = Rig(**quick)
    thread = threading.Thread(target=rig.flusher.run)
    thread.start()
    began = time.monotonic()
    for number in range(10):
        rig.broker.publish(TOPIC, body(number))
        while len(rig.acked) <= number:
            assert time.monotonic() < began + 5
            time.sleep(0.001)
    took_s = time.monotonic() - began
    rig.flusher.stop(1)
    thread.join(5)
    assert took_s < harness.contention(), "ten messages one after the other, each far faster than a tenth of a second"


def test_messages_that_wait_are_one_batch(quick):
    """Invariant 6: batches grow by themselves: what arrives while one is written is the next."""
    rig = Rig(**quick)
    write, sizes = rig.store.write, []

    def slow(batch):
        if not sizes:
            for number in range(1, 8):
                rig.broker.publish(TOPIC, body(number))
        sizes.append(len(batch.messages))
        return write(batch)

    rig.store.write = slow
    rig.broker.publish(TOPIC, body(0))
    rig.drain()
    assert sizes == [1, 7]
