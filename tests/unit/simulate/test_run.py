"""A run's clock: where fleet life begins, how fast it passes, that it never runs ahead of the wall clock."""

import datetime as dt
import threading

import pytest

from support import sparkplug
from voltd import errors
from voltd.simulate.fleet.fleet import Fleet
from voltd.simulate.fleet.run import Run, SimulateOptions, fleet_options, fleet_start
from voltd.simulate.publish.publication import Tally
from voltd.simulate.publish.target import MqttTarget

NOW = dt.datetime(2026, 5, 1, 8, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


class _World:
    """A broker and both clocks; waiting moves the clocks, publishing takes ``cost_s``."""

    def __init__(self, cost_s=0.0, stop_after_s=None):
        self.passed_s = 0.0
        self.sent = []
        self.stop = _Stop(self)
        self._cost_s = cost_s
        self._stop_after_s = stop_after_s

    def wall(self):
        return NOW + dt.timedelta(seconds=self.passed_s)

    def monotonic(self):
        return self.passed_s

    def passes(self, seconds):
        self.passed_s += seconds
        if self._stop_after_s is not None and self.passed_s >= self._stop_after_s:
            self.stop.set()

    def publish(self, publication, *, stop=None, timeout_s=None):  # noqa: ARG002
        self.sent.append((self.passed_s, publication))
        self.passes(self._cost_s)
        return True

    def drain(self, timeout_s):  # noqa: ARG002
        return True

    def tally(self):
        return Tally(sum(p.vehicle for _, p in self.sent), sum(p.meter for _, p in self.sent), messages=len(self.sent))


class _Stop(threading.Event):
    def __init__(self, world):
        super().__init__()
        self._world = world

    def wait(self, timeout=None):
        self._world.passes(timeout)
        return self.is_set()


def _options(**changes):
    quiet = {"bad_share": 0.0, "duplicate_share": 0.0, "offline_share": 0.0}
    return SimulateOptions(MqttTarget(), **{"vehicles": 20, "meters": 20, **quiet, **changes})


def _run(world, options, on_progress=None):
    made_of = fleet_options(options, NOW)
    run = Run(
        options, Fleet(made_of), made_of.start, world,
        stop=world.stop, on_progress=on_progress, clock=world.wall, monotonic=world.monotonic,
    )  # fmt: skip
    return run.run()


@pytest.mark.parametrize(
    ("options", "before_now"),
    [
        ({}, 0 * HOUR),
        ({"duration_s": 60.0}, 0 * HOUR),
        ({"duration_s": 60.0, "speed": 61.0}, HOUR),
        ({"speed": 60.0}, 24 * HOUR),
        ({"speed": 60.0, "past_h": 3.0}, 3 * HOUR),
        ({"start": NOW - 5 * HOUR, "speed": 60.0, "duration_s": 9.0}, 5 * HOUR),
    ],
)
def test_where_fleet_life_begins(options, before_now):
    """In real time now; faster so early that it ends now, or a day ago when it has no end; or where the options say."""
    assert fleet_start(_options(**options), NOW) == NOW - before_now


def test_start_in_the_future():
    """A fleet cannot begin in the future: its readings would be there too."""
    with pytest.raises(errors.UsageError, match="future"):
        fleet_start(_options(start=NOW + HOUR), NOW)


def test_an_hour_in_a_minute():
    """At speed 60 a minute brings each device's 60 readings, evenly over the minute."""
    world = _World()
    tally = _run(world, _options(speed=60.0, duration_s=60.0))
    assert (tally.vehicle, tally.meter) == (20 * 60, 20 * 60)
    assert sum(at_s < 30.0 for at_s, _ in world.sent) == pytest.approx(20 * 60, rel=0.05)
    assert world.passed_s == pytest.approx(60.0, abs=0.2)


def test_catching_up():
    """An open-ended fast run goes on in real time once it has caught up: no reading is ahead of the wall clock."""
    world = _World(stop_after_s=600.0)
    tally = _run(world, _options(speed=120.0, past_h=2.0))
    # Two hours and what passed while catching up within about a minute, then one reading a device and minute.
    assert tally.vehicle == pytest.approx(20 * (120 + 10), rel=0.02)
    assert sum(at_s > 100.0 for at_s, _ in world.sent) == pytest.approx(40 * 500 / 60, rel=0.1)


def test_same_start_again():
    """The same seed and start publish the same, whenever it runs and however long publishing takes."""
    first, again = _World(), _World(cost_s=0.001)
    options = _options(speed=60.0, duration_s=20.0, start=NOW - HOUR, bad_share=0.1, duplicate_share=0.1)
    _run(first, options)
    _run(again, options)
    assert [p for _, p in again.sent] == [p for _, p in first.sent]


def test_devices_answer():
    """What a device is asked for is published within the next step, whatever it reports by itself."""
    world = _World()
    options = _options(vehicles=0, meters=1, duration_s=90.0, families=("sparkplug",))
    asked = iter([[], [("spBv1.0/voltd/NCMD/edge-METER-00001", sparkplug.REBIRTH)]])
    made_of = fleet_options(options, NOW)
    Run(
        options, Fleet(made_of), made_of.start, world, commands=lambda: next(asked, []) if world.passed_s > 70 else [],
        stop=world.stop, on_progress=None, clock=world.wall, monotonic=world.monotonic,
    ).run()  # fmt: skip
    births = [at_s for at_s, one in world.sent if one.topic == "spBv1.0/voltd/NBIRTH/edge-METER-00001"]
    assert births[1:] == [pytest.approx(70.2, abs=0.2)]


def test_rate_limit():
    """At most so many messages a second, also over a burst; the run still ends on time."""
    world = _World()
    _run(world, _options(speed=600.0, duration_s=10.0, rate=50.0))
    times = [at_s for at_s, _ in world.sent]
    assert max(sum(1 for at_s in times if second <= at_s < second + 1) for second in range(10)) <= 56
    assert len(times) > 480
    assert world.passed_s < 13.0


def test_slow_broker():
    """A fleet that cannot keep up is cut off shortly after its duration."""
    world = _World(cost_s=0.1)
    _run(world, _options(speed=600.0, duration_s=5.0))
    assert world.passed_s < 8.0


def test_stopped():
    """After a stop devices send what they hold back, and nothing else."""
    world = _World(stop_after_s=30.0)
    options = _options(speed=60.0, offline_share=0.3, past_h=3.0)
    tally = _run(world, options)
    reference = Fleet(fleet_options(options, NOW))
    steps = list(reference.step(NOW - dt.timedelta(hours=3) + dt.timedelta(minutes=30)))
    assert tally.vehicle + tally.meter >= sum(p.vehicle + p.meter for p in steps)
    assert world.passed_s < 31.0


def test_progress():
    """The tally is shown about once a second, also while messages go out."""
    shown = []
    world = _World(cost_s=0.01)
    _run(world, _options(speed=60.0, duration_s=20.0), shown.append)
    assert 15 <= len(shown) <= 22
    assert shown[-1].vehicle > shown[1].vehicle > 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"speed": 0.0},
        {"duration_s": 0.0},
        {"rate": -1.0},
        {"start": NOW, "past_h": 1.0},
        {"connections": 0},
        {"speed": float("nan")},
        {"speed": float("inf")},
        {"duration_s": float("nan")},
        {"rate": float("nan")},
        {"past_h": float("nan")},
        {"past_h": float("inf")},
    ],
)
def test_impossible_options(wrong):
    """Options that cannot run are refused with a hint."""
    with pytest.raises(errors.UsageError) as refused:
        _options(**wrong)
    assert refused.value.hint
