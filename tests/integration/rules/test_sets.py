"""What a cycle reads as sets, in a real database under a clock that is moved by hand: clocks, hours, inactivity."""

import datetime as dt

import pytest

from support import alerts
from support.rules.rig import HOUR, MINUTE, T0, Rig
from voltd.rules.cycle import interfaces


@pytest.fixture
def rig(migrated_database, monkeypatch):
    made = Rig(migrated_database, monkeypatch)
    yield made
    made.close()


def _minutes(rig, sends, count=6, restart_after=None):
    """So many minutes with a look at the end of each; ``sends(minute, at)`` gives (recorded_at, received_at) pairs."""
    notified = []
    for minute in range(count):
        at = T0 + minute * MINUTE
        for kind in ("vehicle", "meter"):
            for recorded_at, received_at in sends(minute, at):
                rig.reading("D", recorded_at, received_at, kind=kind)
        if minute == restart_after:
            rig.restart()
        rig.check(at + dt.timedelta(seconds=59))
        notified.append(len(rig.episodes("clock_skew")))
    return notified


def _seconds(number):
    return dt.timedelta(seconds=number)


SENDS = {
    "oldest first, ten times as fast as measured": lambda n, at: [
        (T0 - HOUR * 6 + n * 10 * MINUTE + k * 5 * MINUTE, at + k * _seconds(30)) for k in range(2)
    ],
    "oldest first, hardly faster than measured": lambda n, at: [(T0 - HOUR + n * 1.5 * MINUTE, at + _seconds(20))],
    "newest first": lambda n, at: [
        (T0 - HOUR - n * 4 * MINUTE - k * 2 * MINUTE, at + k * _seconds(30)) for k in range(2)
    ],
    "newest first, after a live one": lambda n, at: (
        [(T0, T0)] * (n == 0) + [(T0 - HOUR - n * 4 * MINUTE - k * MINUTE, at + _seconds(1 + 5 * k)) for k in range(4)]
    ),
    "live ones between those of the backlog": lambda n, at: (
        [(at + _seconds(5), at + _seconds(5))]
        + [(T0 - HOUR * 6 + n * 10 * MINUTE + k * MINUTE, at + _seconds(10 + 5 * k)) for k in range(9)]
    ),
    "five minutes at a time": lambda n, at: [(at - k * MINUTE, at + _seconds(1)) for k in range(5)] * (n % 5 == 0),
    "one of the future, then right ones": lambda n, at: (
        [(T0 + 4 * MINUTE, T0)] * (n == 0) + [(at + _seconds(30), at + _seconds(30))]
    ),
}


@pytest.mark.parametrize("sends", SENDS.values(), ids=SENDS.keys())
def test_a_right_clock_and_readings_that_come_late(rig, sends):
    """A backlog, in whatever order it arrives, is no wrong clock; neither is a pack of readings."""
    assert _minutes(rig, sends) == [0] * 6


@pytest.mark.parametrize("behind_s", [40, 120, 7200, 200_000, -45])
def test_a_wrong_clock(rig, behind_s):
    """Notified at the third look in a row, also over a restart; resolved when it is right."""
    notified = _minutes(rig, lambda n, at: [(at - _seconds(behind_s + n % 2), at)], count=4, restart_after=1)
    assert notified == [0, 0, 2, 2]
    at = T0 + 10 * MINUTE
    for kind in ("vehicle", "meter"):
        rig.reading("D", at, at + _seconds(1), kind=kind)
    rig.check(at + _seconds(30))
    assert rig.episodes("clock_skew") == [("D", False, True)] * 2


def test_a_wrong_clock_of_a_device_that_sends_packs(rig):
    """Five minutes of readings every five minutes: notified at the third pack."""
    sends = lambda n, at: [(at - k * MINUTE - _seconds(120), at) for k in range(5)] * (n % 5 == 0)  # noqa: E731
    assert _minutes(rig, sends, count=11) == [0] * 10 + [2]


def test_a_wrong_clock_and_a_backlog(rig):
    """What is uncertain ends no alert."""
    _minutes(rig, lambda _n, at: [(at - _seconds(120), at)], count=3)
    for minute in range(5, 8):
        at = T0 + minute * MINUTE
        rig.reading("D", at - HOUR + minute * 5 * MINUTE, at)
        rig.check(at + _seconds(30))
    assert rig.episodes("clock_skew") == [("D", False, False)] * 2


def test_a_clock_is_set_back(rig):
    """Its readings are older than what is there: notified of how far, not of how long ago that was."""
    rig.reading("D", T0, T0)
    notified = _minutes(rig, lambda _n, at: [(at + MINUTE - 2 * HOUR, at + MINUTE)], count=5)
    assert notified[-1] == 2
    assert {round(one["peak_value"]) for one in alerts.episodes(rig.dsn)} == {7200}


@pytest.fixture
def charging(rig):
    """A function: an hour of a vehicle at 70 %, or as given, and of its meter, as received at once or later."""
    rig.execute("INSERT INTO volt.vehicle_meter (vehicle_id, meter_id) VALUES ('E1', 'M1')")

    def hour(begins, percent=70, only=("vehicle", "meter")):
        for kind, column, kwh in (("vehicle", "kwh_delivered_dc", percent / 100), ("meter", "kwh_consumed_ac", 1.0)):
            if kind in only:
                rig.execute(
                    f"INSERT INTO volt.{kind}_reading ({kind}_id, recorded_at, {column}, received_at)"
                    " SELECT %s, t, %s, %s FROM generate_series(%s, %s::timestamptz + '59 min', '1 min'::interval) t",
                    "E1" if kind == "vehicle" else "M1", kwh, rig.now, begins, begins,
                )  # fmt: skip
        rig.keep()

    rig.check(T0 + 15 * MINUTE)
    return hour


def test_hours_before_the_first_start(rig, charging):
    """Nobody is notified of what was long before the rules were used."""
    charging(T0 - HOUR)
    for minutes in range(20, 90, 5):
        rig.check(T0 + minutes * MINUTE)
    assert rig.episodes("efficiency_low") == []


def test_an_hour_is_evaluated_ten_minutes_after_its_end(rig, charging):
    """Once, however often it is looked at; over with the next good one."""
    charging(T0)
    rig.check(T0 + 69 * MINUTE)
    assert rig.episodes("efficiency_low") == []
    rig.check(T0 + 70 * MINUTE)
    assert rig.episodes("efficiency_low") == [("E1", False, False)]
    charging(T0 + HOUR, percent=95)
    for minutes in range(75, 500, 5):
        rig.check(T0 + minutes * MINUTE)
        if minutes == 200:
            rig.restart()
    assert rig.episodes("efficiency_low") == [("E1", False, True)]


def test_the_backlog_of_an_outage_arrives(rig, charging):
    """The first cycles after two hours and a half see nothing of them; what they were is notified."""
    rig.report = interfaces.Report(0.0, spooling=True, healthy=False)
    rig.restart()
    for minutes in range(150, 170, 5):
        rig.check(T0 + minutes * MINUTE)
    charging(T0)
    charging(T0 + HOUR)
    rig.report = interfaces.Report(0.0, spooling=False, healthy=True)
    for minutes in range(170, 190, 5):
        rig.check(T0 + minutes * MINUTE)
    assert rig.episodes("efficiency_low") == [("E1", False, False)]


def test_the_backlog_of_a_long_outage_arrives(rig, charging):
    """What is too old to notify anybody by then is a past episode, however long the spool takes to be read."""
    rig.report = interfaces.Report(0.0, spooling=True, healthy=False)
    for minutes in range(360, 480, 10):
        rig.check(T0 + minutes * MINUTE)
    charging(T0)
    charging(T0 + HOUR, percent=95)
    rig.report = interfaces.Report(0.0, spooling=False, healthy=True)
    for minutes in range(480, 510, 5):
        rig.check(T0 + minutes * MINUTE)
    assert rig.episodes("efficiency_low") == [("E1", True, True)]


def test_a_meter_that_sends_later_than_the_vehicle(rig, charging):
    """Notified an hour after the first look; and not twice."""
    charging(T0, only=("vehicle",))
    rig.check(T0 + 75 * MINUTE)
    charging(T0, only=("meter",))
    for minutes in range(95, 200, 5):
        rig.check(T0 + minutes * MINUTE)
    assert rig.episodes("efficiency_low") == [("E1", False, False)]


def test_checks_every_fifteen_seconds(rig):
    """A device that has been inactive for five minutes is notified then, not never."""
    rig.well_since(None)
    rig.restart()
    for seconds in range(0, 600, 15):
        at = T0 + _seconds(seconds)
        if seconds <= 60:
            rig.reading("D", at, at)
        rig.check(at)
        assert rig.episodes("stale") == [("D", False, False)] * (seconds > 360), seconds


@pytest.mark.parametrize(("died", "notified"), [("50 min", 0), ("2 h", 3)])
def test_a_daemon_died_and_never_came_back(rig, died, notified):
    """For a while no device counts as inactive; afterwards they do again."""
    rig.execute(
        "INSERT INTO volt.daemon (instance, reported_at, lag_s, spooling, healthy)"
        " VALUES ('gone', now() - %s::interval, 0, false, true)",
        died,
    )
    for number in range(3):
        rig.reading(f"S{number}", T0, T0)
    for minutes in range(10, 20):
        rig.check(T0 + minutes * MINUTE)
    assert len(rig.episodes("stale")) == notified
    assert rig.episodes("ingest_lag") == [("gone", False, False)]


def test_a_meter_is_retired(rig):
    """Its open alert ends without a message, and it raises none any more until it is active again."""
    for name in ("M1", "M2"):
        rig.reading(name, T0, T0, kind="meter")
    rig.check(T0)
    rig.check(T0 + 6 * MINUTE)
    assert sorted(rig.episodes("stale")) == [("M1", False, False), ("M2", False, False)]
    rig.execute("INSERT INTO volt.meter (meter_id, status) VALUES ('M1', 'retired'), ('M3', 'maintenance')")
    rig.reading("M3", T0, T0, kind="meter")
    rig.check(T0 + 7 * MINUTE)
    assert sorted(rig.episodes("stale")) == [("M1", False, True), ("M2", False, False)]
    rig.check(T0 + 8 * MINUTE)
    rig.execute("UPDATE volt.meter SET status = 'active'")
    rig.check(T0 + 9 * MINUTE)
    assert sorted(rig.episodes("stale")) == [
        ("M1", False, False), ("M1", False, True), ("M2", False, False), ("M3", False, False),
    ]  # fmt: skip
