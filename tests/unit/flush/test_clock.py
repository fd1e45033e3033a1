"""A flusher and a drain on a host whose clock is wrong: nothing becomes a dead letter for it, nothing is lost."""

import json
import threading
import time

import pytest

from support.fakes import FakeBroker, FakeStore
from support.host import HOUR, SURE, World, at
from voltd import config, errors, metrics, models
from voltd.host import witnesses
from voltd.pipeline.consume import window
from voltd.pipeline.decode import clock
from voltd.pipeline.decode import decoder as decode
from voltd.pipeline.flush import flusher, outage, policy
from voltd.pipeline.spool import drain
from voltd.pipeline.spool import file as spool

SETTINGS = config.Settings(batch={"linger_ms": 0}, database={"retry_max_s": 0.01})


class Rig:
    """A flusher behind a host clock that is off; the database's clock is right."""

    def __init__(self, off_s):
        self.world = World(SURE, off_s)
        self.world.clock.note_database(witnesses.DatabaseClock(-off_s, 0.01))
        self.window = window.Window(SETTINGS.limits.max_held_bytes)
        self.broker = FakeBroker(SETTINGS.mqtt.receive_maximum)
        self.store, self.counters, self.acked = FakeStore(), metrics.Metrics(), []
        self.outage = outage.Outage(self.counters)
        self.flusher = flusher.Flusher(
            self.window,
            self.decoder(),
            self.store,
            policy.of(SETTINGS),
            self.counters,
            outage=self.outage,
            ack=self.acked.extend,
            clock_guard=self.guard(),
        )
        self._thread = threading.Thread(target=self.flusher.run)

    def decoder(self):
        return decode.Decoder(SETTINGS.mqtt.topics, SETTINGS.limits, 90)

    def guard(self):
        return clock.ClockGuard(SETTINGS.mqtt.topics, SETTINGS.limits, 90, self.world.clock)

    def receive(self, *devices):
        """A reading of each, of now, by the right time; received by this host's."""
        now = self.world.clock.now()
        stamp = at(self.world.passed_s).isoformat()
        return [
            models.Message(
                f"volt/vehicle/{device}/telemetry", json.dumps({"timestamp": stamp, "soc": 1}).encode(), number, now
            )
            for number, device in enumerate(devices, 1)
        ]

    def start(self, *devices):
        self.window.put_many(self.receive(*devices))
        self._thread.start()

    def until(self, fact):
        ends = time.monotonic() + 5
        while not fact():
            assert time.monotonic() < ends
            time.sleep(0.002)

    def stop(self):
        self.flusher.stop(5.0)
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.mark.parametrize("off_s", [-HOUR, -86400.0 * 365 * 56, 86400.0 * 365])
def test_held_until_the_clock_is_right(off_s):
    """Unacked and undecided meanwhile, and making progress as far as the watchdog is concerned; then stored, once."""
    rig = Rig(off_s)
    rig.start("V1", "V2", "V3")
    rig.until(lambda: rig.counters.clock_hold)
    assert "this host's clock is" in rig.counters.clock_hold
    assert not rig.acked
    assert not rig.store.dead_letters
    before = rig.flusher.beat
    rig.until(lambda: rig.flusher.beat > before)
    rig.world.passed_s += 30
    rig.world.step(-off_s)
    rig.until(lambda: len(rig.acked) == 3)
    assert not rig.counters.clock_hold
    rig.stop()
    assert {(one.vehicle_id, one.received_at) for one in rig.store.vehicles.values()} == {
        (name, at(0)) for name in ("V1", "V2", "V3")
    }
    assert not rig.store.dead_letters


def test_stopped_while_it_holds():
    """Leaves at once; the broker keeps what was not acked."""
    rig = Rig(-HOUR)
    rig.start("V1", "V2")
    rig.until(lambda: rig.counters.clock_hold)
    began = time.monotonic()
    rig.stop()
    assert time.monotonic() - began < 2
    assert not rig.acked
    assert not rig.store.dead_letters


def test_an_admin_goes_on():
    """A reload takes the clock as it is: from then on nothing is held for it."""
    rig = Rig(-HOUR)
    rig.start("V1", "V2")
    rig.until(lambda: rig.counters.clock_hold)
    rig.flusher.resume()
    rig.until(lambda: len(rig.acked) == 2)
    rig.window.put_many(rig.receive("V3"))
    rig.until(lambda: len(rig.acked) == 3)
    rig.stop()
    assert len(rig.store.dead_letters) == 3


def test_set_right_without_a_step_that_was_seen():
    """The database's clock agrees again: received is then what a reading says itself."""
    rig = Rig(-HOUR)
    rig.start("V1")
    rig.until(lambda: rig.counters.clock_hold)
    rig.world.clock.note_database(witnesses.DatabaseClock(0.0, 0.01))
    rig.world.clock._wall = lambda: at(5)
    rig.world.clock._seen = (at(5), rig.world.passed_s)
    rig.until(lambda: rig.acked)
    rig.stop()
    assert [one.received_at for one in rig.store.vehicles.values()] == [at(0)]


class _Drain(Rig):
    def __init__(self, off_s, folder):
        super().__init__(off_s)
        self.spool = spool.SpoolFile(folder / "spool", 1 << 30, 0)
        self.drain = drain.Drain(
            self.spool,
            self.decoder(),
            self.store,
            policy.of(SETTINGS),
            self.counters,
            outage=self.outage,
            clock_guard=self.guard(),
        )


def test_spooled_by_a_wrong_clock_and_drained_after_it_was_set(tmp_path):
    """Stored as received at the true time."""
    rig = _Drain(-HOUR, tmp_path)
    rig.spool.put(rig.receive("V1", "V2"), 2)
    rig.world.passes(60)
    rig.world.step(HOUR)
    assert rig.drain.step()
    assert {one.received_at for one in rig.store.vehicles.values()} == {at(0)}
    assert not rig.store.dead_letters


def test_drained_by_a_wrong_clock(tmp_path):
    """Stays in the spool until the clock is right."""
    rig = _Drain(-HOUR, tmp_path)
    rig.spool.put(rig.receive("V1", "V2"), 2)
    with pytest.raises(errors.StoreUnavailable, match="60 min behind"):
        rig.drain.step()
    assert rig.spool.messages == 2
    rig.world.passes(1)
    rig.world.step(HOUR)
    assert rig.drain.step()
    assert len(rig.store.vehicles) == 2
    assert not rig.spool.messages


def test_a_step_while_all_is_well():
    """There and back: nothing is refused, nothing held."""
    rig = Rig(0.0)
    rig.start("V1")
    for number, by_s in enumerate([HOUR, -HOUR, -HOUR, HOUR], 2):
        rig.until(lambda number=number: len(rig.acked) == number - 1)
        waiting = rig.receive(f"V{number}")
        rig.world.passed_s += 1
        rig.world.step(by_s)
        rig.window.put_many(waiting)
        rig.until(lambda number=number: len(rig.acked) == number)
        rig.world.step(-by_s)
    rig.stop()
    assert len(rig.store.vehicles) == 5
    assert not rig.store.dead_letters
