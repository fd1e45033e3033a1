"""Since when a daemon hears its devices, and all daemons of a database do: what silence is counted from."""

import datetime as dt
import threading

import pytest

from voltd import metrics
from voltd.daemon import health
from voltd.rules.cycle import daemon_health, interfaces

T0 = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def _at(seconds):
    return T0 + dt.timedelta(seconds=seconds)


@pytest.mark.parametrize("interval_s", [1, 15, 60])
def test_checks_that_are_far_apart(interval_s):
    """A pause between two checks is none of the devices': silence counts from the first of them on."""
    steady = daemon_health.HealthyStreak()
    for number in range(100):
        steady.note(healthy=True, now=_at(interval_s * number))
    assert steady.since == T0


@pytest.mark.parametrize("interval_s", [1, 15, 60])
def test_an_outage_between_two_checks(interval_s):
    """Seen by no cycle, reported by the daemon that had it: silence counts from its end."""
    steady = daemon_health.HealthyStreak()
    steady.note(healthy=True, now=T0)
    steady.note(healthy=True, now=_at(interval_s), unwell_s=interval_s / 2)
    steady.note(healthy=True, now=_at(2 * interval_s), unwell_s=1.5 * interval_s)
    assert steady.since == _at(interval_s / 2)


def test_an_outage_that_goes_on():
    """Nothing counts any more, until all are well again."""
    steady = daemon_health.HealthyStreak()
    steady.note(healthy=True, now=T0)
    steady.note(healthy=False, now=_at(10))
    assert steady.since is None
    steady.note(healthy=True, now=_at(12), unwell_s=1)
    assert steady.since == _at(12)


def test_a_restarted_daemon_looks_for_the_broker():
    """It is given a few seconds."""
    steady = daemon_health.HealthyStreak()
    steady.resume(T0, _at(100), _at(101))
    steady.note(healthy=False, now=_at(102))
    steady.note(healthy=False, now=_at(111))
    assert steady.since == T0
    steady.note(healthy=False, now=_at(112))
    assert steady.since is None


def test_the_daemon_is_restarted():
    """Silence goes on counting over a short restart, not over a long one, and not against what this daemon knows."""
    for gap_s, since in ((60, T0), (61, None)):
        steady = daemon_health.HealthyStreak()
        steady.resume(T0, _at(100), _at(100 + gap_s))
        assert steady.since == since
    steady.resume(T0, _at(200), _at(201))
    steady.note(healthy=True, now=_at(205))
    steady.resume(_at(190), _at(205), _at(206))
    assert steady.since == T0


class _Daemon:
    """A daemon's health under a clock that is moved by hand; healthy at first."""

    def __init__(self):
        self.counters, self.subscribed, self.now_s = metrics.Metrics(), threading.Event(), 0.0
        self.counters.store_available = True
        self.subscribed.set()
        self._health = health.Health(
            self.counters, self.subscribed, lambda: False, receive_maximum=100, clock=lambda: _at(self.now_s)
        )
        self.look()

    def well_since(self):
        found = self._health.well_since()
        return None if found is None else (found - T0).total_seconds()

    def look(self, after_s=0.0):
        self.now_s += after_s
        found = self._health.look()
        return found.healthy, found.unwell_s


def test_a_hiccup_of_the_database():
    """A window that is full for a moment is no outage."""
    daemon = _Daemon()
    for _ in range(5):
        daemon.counters.in_flight = 100
        assert daemon.look(2) == (True, None)
    daemon.counters.in_flight = 0
    assert daemon.look(2) == (True, None)


def test_an_outage_of_the_database():
    """Known until it was, also when nobody asked while it lasted but the daemon itself."""
    daemon = _Daemon()
    daemon.counters.store_available = False
    seen = [daemon.look(2) for _ in range(10)]
    assert seen == [(True, None)] * 5 + [(False, 0)] * 5
    daemon.counters.store_available = True
    assert daemon.look(2) == (True, 2)
    assert daemon.look(2) == (True, 4)


def test_the_process_was_stopped():
    """Nobody was heard meanwhile, though all is well before and after."""
    daemon = _Daemon()
    assert daemon.look(9) == (True, None)
    assert daemon.look(600) == (True, 0)
    assert daemon.look(2) == (True, 2)


def test_a_daemon_that_starts():
    """Not healthy before the broker is there, and no outage of its own."""
    daemon = _Daemon()
    starting = health.Health(daemon.counters, threading.Event(), lambda: False, 100)
    assert starting.look()[2:] == (False, None)


def test_since_when_a_daemon_has_been_well():
    """From its first good look, or the last bad one; not while it is unwell, nor before it looked after a stop."""
    daemon = _Daemon()
    daemon.look(2)
    assert daemon.well_since() == 0
    daemon.counters.store_available = False
    for _ in range(10):
        daemon.look(2)
    assert daemon.well_since() is None
    daemon.counters.store_available = True
    daemon.look(2)
    daemon.look(2)
    assert daemon.well_since() == 22
    daemon.now_s += 600
    assert daemon.well_since() is None
    daemon.look()
    assert daemon.well_since() == 626


@pytest.mark.parametrize("by_s", [3600, -3600])
def test_the_clock_steps(by_s):
    """Nothing is known of the time before it: silence counts from the step on, whichever way it went."""
    daemon = _Daemon()
    steady = daemon_health.HealthyStreak()
    steady.note(healthy=True, now=_at(daemon.now_s))
    healthy, unwell_s = daemon.look(by_s)
    assert (healthy, unwell_s) == (True, 0)
    steady.note(healthy=healthy, now=_at(daemon.now_s), unwell_s=unwell_s)
    assert steady.since == _at(by_s)
    assert daemon.look(2) == (True, 2)


def test_the_clock_steps_back_in_an_outage():
    """An outage stays one."""
    daemon = _Daemon()
    daemon.counters.store_available = False
    assert daemon.look(20)[0] is False
    assert daemon.look(-3600)[0] is False


def test_messages_held_for_the_clock():
    """Nobody is called silent whose messages wait for this host's clock to be set."""
    daemon = _Daemon()
    daemon.counters.clock_hold = "this host's clock is 60 min behind"
    assert daemon.look(2) == (True, None)
    assert daemon.look(20)[0] is False


def test_the_clock_of_the_host_is_off():
    """A case like messages that wait; devices are heard all the same."""
    daemon = _Daemon()
    off = health.Health(
        daemon.counters, daemon.subscribed, lambda: False, 100, clock=lambda: T0, clock_trouble=lambda: (1200.0, "")
    )
    assert off.look() == interfaces.Report(1200.0, spooling=False, healthy=True)
