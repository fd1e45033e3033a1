"""A model of the whole way: whatever happens in whatever order, the invariants hold.

A fake broker with a session and a fake store that fails on request; window, decoder, flusher, spool and drain are real,
but stepped by the test instead of their threads.
"""

import collections
import contextlib
import datetime as dt
import pathlib
import shutil
import tempfile

import hypothesis
import pytest
from hypothesis import stateful
from hypothesis import strategies as st

from support.fakes import FakeBroker, FakeStore, body
from voltd import config, errors, metrics, models
from voltd.pipeline.consume import window
from voltd.pipeline.decode import decoder
from voltd.pipeline.flush import flusher, outage, policy
from voltd.pipeline.spool import drain
from voltd.pipeline.spool import file as spool

RECEIVE_MAXIMUM = 6
SETTINGS = config.Settings(
    mqtt={"receive_maximum": RECEIVE_MAXIMUM},
    database={"retry_max_s": 0.001},
    spool={"after_s": 0, "min_free_bytes": 0},
    dead_letters={"max_ratio": 1.0, "max_run": 0},
)
FAILURES = st.lists(st.sampled_from(["unavailable", "unanswered"]), max_size=3)


class Pipeline(stateful.RuleBasedStateMachine):
    """Published numbers, what was acked, and what the store and the spool hold."""

    def __init__(self):
        super().__init__()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="voltd-test-model-"))
        self.broker = FakeBroker(RECEIVE_MAXIMUM)
        self.store = FakeStore()
        self.good, self.bad = [], []
        self.made = {}  # payload by key of the row it becomes
        self.unknown = set()  # malformed ones in the spool that the broker sends again: redeliveries go behind them
        self.was_full = False  # then it cannot
        self.start()

    def start(self):
        """A daemon's start: nothing is left but the store's tables, broker and the spool's file."""
        self.store = FakeStore(self.store)
        self.at_start = self.in_tables()
        self.window = window.Window(1 << 20, RECEIVE_MAXIMUM)
        self.counters = metrics.Metrics()
        self.spool = spool.SpoolFile(self.folder / "spool.sqlite3", 64 << 20, 0)
        self.spool.open()
        self.decoder = decoder.Decoder(SETTINGS.mqtt.topics, SETTINGS.limits, 90)
        self.outage = outage.Outage(self.counters)
        self.flusher = flusher.Flusher(
            self.window,
            self.decoder,
            self.store,
            policy.of(SETTINGS),
            self.counters,
            outage=self.outage,
            ack=self.ack,
            spool=self.spool,
        )
        self.drain_store = FakeStore(self.store)
        self.drain = drain.Drain(
            self.spool, self.decoder, self.drain_store, policy.of(SETTINGS), self.counters, outage=self.outage
        )
        self.broker.connect(self.window)

    def in_tables(self):
        return len(self.store.vehicles), len(self.store.dead_letters)

    def ack(self, messages):
        """Invariants 1, 4 and 5: what is acked is durable, in order, on the connection that delivered it."""
        durable = {letter.message.payload for letter in self.store.dead_letters}
        durable.update(self.made[key] for key in self.store.vehicles)
        spooled = set(self.in_spool())
        durable |= spooled
        self.unknown |= {one.payload for one in messages if one.connection != self.broker._connection} & spooled
        for message in messages:
            assert message.payload in durable, "acked, but neither in the store nor in the spool"
        acked = [message.packet_id for message in messages if message.connection == self.broker._connection]
        waiting = list(self.broker._in_flight)
        assert acked == waiting[: len(acked)], "in the order received (MQTT 5, 4.6.0-2)"
        self.broker.ack(messages)

    def in_spool(self):
        payloads, through = [], 0
        while (found := self.spool.oldest(10_000, 1 << 30, through)) is not None:  # an earlier run's come apart
            payloads += [message.payload for message in found.messages]
            through = found.through
        return payloads

    @stateful.rule(kind=st.sampled_from(["good", "malformed", "again"]))
    def publish(self, kind):
        number = len(self.good) + len(self.bad)
        if kind == "malformed":
            self.bad.append(f"malformed {number}".encode())
            self.broker.publish("volt/vehicle/V1/telemetry", self.bad[-1])
            return
        if kind == "good" or not self.good:
            payload = body(number)
            batch = self.decoder.decode(
                [models.Message("volt/vehicle/V1/telemetry", payload, 1, dt.datetime.now(dt.UTC))]
            )
            self.made[(batch.vehicles[0][0], batch.vehicles[0][1])] = payload
            self.good.append(payload)
        self.broker.publish("volt/vehicle/V1/telemetry", self.good[-1])

    @stateful.rule(most=st.integers(1, RECEIVE_MAXIMUM), failures=FAILURES, reconnect=st.booleans())
    def flush(self, most, failures, reconnect):
        """One batch, with what the store does meanwhile; the connection may break while it is written."""
        messages = self.window.take(most, 1 << 20, 0.0, 0.0)
        if not messages:
            return
        self.store.fail(*failures)
        batch = self.decoder.decode(messages)
        if reconnect:
            self.broker.connect(self.window)
        assert self.flusher._flush(batch)
        self.store.failures.clear()

    @stateful.rule(failures=FAILURES)
    def drain_some(self, failures):
        self.drain_store.fail(*failures)
        with contextlib.suppress(errors.StoreUnavailable):
            self.drain.step()
        self.drain_store.failures.clear()

    @stateful.rule(full=st.booleans())
    def fill_spool(self, full):
        self.spool._max_bytes = 0 if full else 64 << 20
        self.was_full |= full

    @stateful.rule()
    def reconnect(self):
        self.broker.connect(self.window)

    @stateful.rule()
    def overdue(self):
        """The broker has sent again what it is going to send again."""
        self.window._stale_until = 0.0
        self.window.tick()

    @stateful.rule(after_commit=st.booleans())
    def kill(self, after_commit):
        """Kill -9, perhaps between COMMIT and ack, or between the drain's COMMIT and its removal."""
        if after_commit:
            messages = self.window.take(RECEIVE_MAXIMUM, 1 << 20, 0.0, 0.0)
            if messages:
                batch = self.decoder.decode(messages)
                if not self.flusher._belongs_behind(batch):
                    self.store.write(batch)
            spooled = self.spool.oldest(100, 1 << 20)
            if spooled:
                self.store.write(self.decoder.decode(spooled.messages))
        self.spool._close()
        self.start()

    @stateful.invariant()
    def bounded(self):
        """Invariant 2: the window holds no more than the broker may send, redeliveries of a batch under way aside."""
        assert self.window.in_flight <= 2 * RECEIVE_MAXIMUM

    def teardown(self):
        """Everything is healthy again: each message has exactly one fate (invariant 3), once (invariant 4)."""
        try:
            self.spool._max_bytes = 64 << 20
            self.outage.spooling = False
            self.broker.connect(self.window)
            self.overdue()
            while self.window.in_flight:
                self.flush(RECEIVE_MAXIMUM, [], reconnect=False)
            while self.drain.step():
                pass
            self.flusher._count_late()
            assert not self.broker._queue
            assert not self.broker._in_flight
            stored = sorted(self.made[key] for key in self.store.vehicles)
            assert stored == sorted(self.good)
            left = collections.Counter(letter.payload for letter in self.store.dead_letters)
            assert sorted(left) == sorted(self.bad)
            twice = {payload for payload, count in left.items() if count > 1}
            assert twice <= (self.unknown if self.was_full else set())
            gained = tuple(now - then for now, then in zip(self.in_tables(), self.at_start, strict=True))
            letters = sum(self.counters.messages_dead_lettered_total.values())
            assert (self.counters.readings_written_total, letters) == gained
        finally:
            self.spool.close()
            shutil.rmtree(self.folder)


Pipeline.TestCase.settings = hypothesis.settings(max_examples=200, stateful_step_count=30, deadline=None)
test_pipeline = pytest.mark.slow(Pipeline.TestCase)


def test_the_last_commit_had_no_reply_and_its_batch_is_spooled():
    """The drain finds everything there: what the stream has committed is counted all the same."""
    model = Pipeline()
    model.publish("malformed")
    model.flush(RECEIVE_MAXIMUM, ["unanswered"], reconnect=False)
    assert model.spool.messages == 1
    model.teardown()


def test_the_broker_sends_again_what_the_spool_holds():
    """Broker and database were away: a malformed message is spooled, its ack is void, and the stream is first."""
    model = Pipeline()
    model.publish("malformed")
    model.flush(RECEIVE_MAXIMUM, ["unavailable"], reconnect=True)
    assert model.spool.messages == model.window.in_flight == 1
    model.teardown()
