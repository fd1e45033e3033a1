"""This host's clock: its steps, and who says that it is wrong."""

import datetime as dt
import time
from typing import Any

import pytest

from support.host import HOUR, LOST, NEVER, SURE, T0, World, at
from voltd.daemon import scheduler
from voltd.host import host_clock, witnesses


def test_a_clock_that_only_goes_on():
    """Time that passes is no step, nor is what the kernel slews."""
    world = World()
    assert world.passes(0.5) == 0
    assert world.passes(86400) == 0
    for _ in range(100):
        world.off_s += 0.05
        assert world.passes(100) == 0
    assert world.clock.corrected(at(3)) == at(3)


@pytest.mark.parametrize("by_s", [HOUR, -HOUR, 86400 * 365 * 50, -2.0])
def test_a_time_taken_before_a_step(by_s):
    """It is brought into the frame of the present clock; one that was taken since stays."""
    world = World()
    world.passes(10)
    taken = world.clock.now()
    world.passes(5)
    assert world.step(by_s) == 1
    assert world.clock.corrected(taken) == taken + dt.timedelta(seconds=by_s)
    world.passes(5)
    assert world.clock.corrected(world.clock.now()) == world.clock.now()


def test_a_clock_that_steps_there_and_back():
    """Each step counts: a time taken between the two belongs to neither side."""
    world = World()
    first = world.clock.now()
    world.passes(10)
    world.step(HOUR)
    between = world.clock.now()
    world.passes(10)
    world.step(-HOUR)
    assert world.clock.corrected(first) == first
    assert world.clock.corrected(between) == between - dt.timedelta(seconds=HOUR)


@pytest.mark.parametrize(
    ("ahead_s", "devices", "kernel", "database", "wrong"),
    [
        (4000, 20, SURE, None, False),  # one witness: a firmware
        (4000, 20, NEVER, None, False),  # a host that nobody synchronises, as many containers
        (4000, 20, LOST, None, True),
        (4000, 1, LOST, None, True),
        (HOUR, 20, LOST, None, True),
        (HOUR, 2, LOST, None, False),  # of a small fleet a time zone is as likely
        (HOUR, 1, SURE, (HOUR + 20, 0.1), True),  # the database is another clock, and agrees
        (400, 20, SURE, (HOUR, 0.1), True),  # readings may be late
        (HOUR, 20, SURE, (60, 0.1), False),  # another clock, which says something else
        (HOUR, 20, LOST, (60, 0.1), False),
        (HOUR, 20, LOST, (0.01, 0.1), True),  # the same clock, or one that agrees: no witness
        (HOUR, 20, SURE, (0.01, 0.1), False),
        (HOUR, 20, SURE, (HOUR, 4000), False),  # after a round trip of more than an hour nobody knows
        (-86400 * 365, 20, SURE, (-86400 * 365, 0.1), True),
        (-HOUR, 20, SURE, (HOUR, 0.1), False),
    ],
)
def test_two_witnesses(ahead_s, devices, kernel, database, wrong):
    """The host is wrong where the kernel, or a database with another clock, says so beside most devices."""
    world = World(kernel)
    world.clock.note_database(None if database is None else witnesses.DatabaseClock(*database))
    assert bool(world.clock.wrong(ahead_s, devices)) is wrong


def test_a_clock_from_before_the_installation():
    """It needs no other witness, however small the fleet; devices that are behind it contradict."""
    world = World(witnesses.Kernel(synchronised=None, impossible=True))
    assert "installed" in world.clock.wrong(HOUR, 1)
    assert not world.clock.wrong(-HOUR, 20)
    assert "installed" in world.clock.describe()


def test_who_was_believed_before():
    """Devices that agreed with it outweigh the kernel, an admin everybody; both until it steps."""
    world = World(LOST)
    world.clock.confirmed = True
    assert not world.clock.wrong(HOUR, 20)
    world.clock.note_database(witnesses.DatabaseClock(HOUR, 0.1))
    assert world.clock.wrong(HOUR, 20)
    world.clock.accepted = True
    assert not world.clock.wrong(HOUR, 20)
    world.passes(1)
    world.step(-100)
    assert world.clock.wrong(HOUR, 20)


def test_the_database_after_a_step():
    """What it said goes on counting: whoever sets the clock right is believed at once."""
    world = World()
    world.clock.note_database(witnesses.DatabaseClock(HOUR, 0.1))
    assert world.clock.describe() == "60 min behind the database's"
    world.step(HOUR)
    assert world.clock.describe() == ""
    world.step(2 * HOUR)
    assert world.clock.describe() == "120 min ahead of the database's"


@pytest.mark.parametrize(
    ("seconds", "text"), [(95, "95 s"), (3600, "60 min"), (93600, "26.0 h"), (400 * 86400, "400 days")]
)
def test_a_span_for_people(seconds, text):
    assert host_clock.spell(seconds) == text


def test_what_this_host_says_of_itself(tmp_path):
    """Asked for real. Only where a service would synchronise the clock does a lack of that count."""
    assert witnesses.kernel(tmp_path).kept is False
    (tmp_path / "chrony").mkdir()
    found = witnesses.kernel(tmp_path)
    assert found.kept is True
    assert found.synchronised in {None, True, False}
    assert not found.impossible


def test_what_the_database_says():
    """The quickest of a few answers counts, half its round trip is uncertain."""
    times = iter([0.0, 4.0, 10.0, 10.2, 20.0, 21.0])

    class Connection:
        """Each answer was given in the middle of its round trip, by a clock 100 s ahead."""

        answers = iter([102.0, 110.1, 120.5])

        def execute(self, _text):
            return self

        def fetchone(self):
            return (at(next(self.answers)),)

    connection: Any = Connection()
    found = witnesses.database(connection, lambda: at(next(times)))
    assert (round(found.ahead_s, 3), round(found.within_s, 3)) == (100.0, 0.1)


@pytest.mark.parametrize("years", [1, 56])
def test_periodic_jobs_after_a_step(years):
    """The next run is found at once, however many were skipped, and the rhythm stays."""
    every, now = scheduler.Every(1.0), at(86400 * 365 * years + 0.25)
    started = time.monotonic()
    assert every.get_next_fire_time(T0, now) == now + dt.timedelta(seconds=0.75)
    assert time.monotonic() - started < 0.1
    assert every.get_next_fire_time(None, now) == now
    assert every.get_next_fire_time(T0, T0) == at(1)


def test_the_process_is_stopped_between_two_clocks():
    """A pause between reading the one and the other is no step: an admin's word stays."""
    world = World()
    pauses = []

    def wall():
        now = at(world.passed_s)
        world.passed_s += pauses.pop() if pauses else 0.0
        return now

    clock = host_clock.HostClock(wall, lambda: world.passed_s, lambda: SURE)
    clock.accepted = True
    pauses.append(5.0)
    assert clock.look() == 0
    world.passed_s += 1
    assert clock.look() == 0
    assert clock.accepted


@pytest.mark.parametrize("by_s", [1200.0, -90.0])
def test_a_clock_that_the_database_says_is_off(by_s):
    """People learn how far, and what to do; no more once it is set, an admin goes on, or devices deny it."""
    world = World()
    world.clock.note_database(witnesses.DatabaseClock(by_s, 0.1))
    off_s, text = world.clock.trouble()
    assert off_s == abs(by_s)
    assert "this host's clock is" in text
    assert host_clock.ADVICE in text
    world.clock.accepted = True
    assert world.clock.trouble() == (0.0, "")
    world.step(by_s)
    assert world.clock.trouble() == (0.0, "")
    world.clock.note_database(witnesses.DatabaseClock(50.0, 0.1))
    assert world.clock.trouble() == (0.0, "")


def test_a_database_whose_clock_is_wrong():
    """Devices agree with this host: nobody is sent to set the clock that is right."""
    world = World()
    world.clock.confirmed = True
    world.clock.note_database(witnesses.DatabaseClock(-1200, 0.1))
    assert world.clock.trouble() == (0.0, "")
    assert world.clock.mistrusts_database()


def test_a_clock_that_the_rules_suspect():
    """It is said for as long as they go on finding it, and until it steps."""
    world = World(LOST)
    suspicion = host_clock.Suspicion(40.0, 9, 10, "the kernel says that it is not synchronised")
    world.clock.suspect(suspicion)
    off_s, text = world.clock.trouble()
    assert off_s == 40.0
    assert text.startswith("this host's clock is 40 s behind, as 9 of 10 devices show; the kernel")
    world.passes(200)
    assert world.clock.trouble() == (0.0, "")
    world.clock.suspect(suspicion)
    world.step(40)
    assert world.clock.trouble() == (0.0, "")


@pytest.mark.parametrize(("ahead_s", "wrong"), [(200, True), (400, False)])
def test_a_clock_that_drifts(ahead_s, wrong):
    """Devices that agreed with it once say nothing of a small difference now: it came little by little."""
    world = World(LOST)
    world.clock.confirmed = True
    assert bool(world.clock.wrong(ahead_s, 20)) is wrong
