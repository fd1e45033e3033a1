"""Clocks of devices that are ahead or behind neither mute nor make an alert."""

import pytest

from support.rules import moved_clock

HOT = {"batteryTemp": 95.0}
FAST, SLOW = {"speed": 150.0}, {"speed": 50.0}
OVERSPEED = '[rules.overspeed]\nmetric="speed_kmh"\napplies_to=["vehicle"]\nfire_above=120.0\nclear_below=115.0\n'


@pytest.fixture
def rig(module_database, monkeypatch):
    made = moved_clock.Rig(module_database, monkeypatch)
    yield made
    made.close()


def test_a_reading_dated_ahead_mutes_nothing_that_follows(rig):
    """One date of the future, then right ones: people are notified at once, of its end as well."""
    rig.send((0, SLOW))
    rig.send((280, {"soc": 64.0}))
    rig.check(1)
    for second in (2, 4, 6):
        rig.now = second
        rig.send((second, HOT))
        rig.check()
    assert rig.alerts() == [("battery_overheat", "critical", "open")]
    rig.now = 8
    rig.send((8, {"batteryTemp": 40.0}))
    rig.check()
    assert rig.alerts() == [("battery_overheat", "critical", "over")]


def test_an_excursion_dated_ahead_is_over_with_the_next_reading(rig):
    """The clock that was ahead is set right: the alert ends with the first reading after that, minutes 'before' it."""
    rig.send((280, FAST))
    rig.check(1)
    rig.now = 5
    rig.send((5, SLOW))
    rig.check()
    assert rig.episodes() == [("warning", 0.0, 5.0, 150.0)]


def test_a_pack_of_a_clock_that_is_ahead_keeps_its_order(rig):
    """What is dated after its arrival is as old as that, and still one after the other."""
    rig.now = 100
    rig.send((150, SLOW), (250, FAST), (350, {"speed": 160.0}))
    rig.check()
    assert rig.alerts() == [("overspeed", "warning", "open")]
    rig.now = 102
    rig.send((352, FAST), (354, SLOW))
    rig.check()
    assert rig.alerts() == [("overspeed", "warning", "over")]


def _minutes(rig, behind_s, minutes, values=SLOW, every_s=20):
    """So many minutes of readings of a clock that is behind, with a check at each."""
    end = rig.now + 60 * minutes
    while rig.now < end:
        rig.now += every_s
        rig.send((rig.now - behind_s, values))
        rig.check()


@pytest.mark.parametrize("behind_s", [1200, 3600, 9 * 3600])
def test_a_clock_that_is_constantly_behind(rig, behind_s):
    """Certain after some minutes: said as a warning, and limits are evaluated, over a restart as well."""
    _minutes(rig, behind_s, 4)
    assert rig.alerts() == [("clock_skew", "warning", "open")]
    _minutes(rig, behind_s, 1, FAST)
    assert rig.alerts("overspeed") == [("overspeed", "warning", "open")]
    rig.start()
    _minutes(rig, behind_s, 1, FAST)
    assert rig.alerts("overspeed") == [("overspeed", "warning", "open")]
    _minutes(rig, behind_s, 1)
    assert rig.alerts() == [("clock_skew", "warning", "open"), ("overspeed", "warning", "over")]
    assert rig.episodes("rule = 'overspeed'") == [("warning", 260.0, 380.0, 150.0)]
    assert rig.sql("SELECT device_type, device_id, behind_s FROM volt.device_clock") == [("vehicle", "V1", behind_s)]


def test_limits_are_corrected_whether_or_not_clocks_have_a_rule(rig):
    rig.start(OVERSPEED)
    _minutes(rig, 3600, 4)
    _minutes(rig, 3600, 1, FAST)
    assert rig.alerts() == [("overspeed", "warning", "open")]


def test_rules_test_says_the_same_of_a_clock_that_is_behind(rig):
    rig.start(OVERSPEED)
    _minutes(rig, 3600, 5)
    _minutes(rig, 3600, 1, FAST)
    _minutes(rig, 3600, 1)
    assert rig.alerts() == [("overspeed", "warning", "over")]
    assert rig.tested(600, "overspeed") == rig.episodes()


def test_before_it_is_certain_it_is_history(rig):
    """Two readings an hour late may be a backlog: nobody is notified."""
    _minutes(rig, 3600, 1, FAST)
    assert [one[2] for one in rig.alerts()] == ["past"]


def test_the_clock_is_set_right(rig):
    """The first right reading is evaluated at once, and the correction is gone with the next look."""
    _minutes(rig, 3600, 4)
    rig.now += 5
    rig.send((rig.now, FAST))
    rig.check()
    assert rig.alerts("overspeed") == [("overspeed", "warning", "open")]
    rig.now += 5
    rig.send((rig.now, SLOW))
    rig.check()
    assert rig.alerts("overspeed") == [("overspeed", "warning", "over")]
    _minutes(rig, 0, 2)
    assert rig.sql("SELECT count(*) FROM volt.device_clock") == [(0,)]
    assert rig.alerts("clock_skew") == [("clock_skew", "warning", "over")]


def test_the_backlog_of_a_clock_that_is_behind_is_late(rig):
    """Offline for two hours: what it measured then is recorded at the corrected time, and pages nobody."""
    _minutes(rig, 3600, 4)
    rig.now += 7200
    rig.send((rig.now - 7190 - 3600, FAST), (rig.now - 7140 - 3600, SLOW))
    rig.check()
    (episode,) = rig.episodes("rule = 'overspeed' AND past")
    assert episode == ("warning", rig.now - 7190, rig.now - 7140, 150.0)


@pytest.mark.parametrize("pace", [1.5, 10])
def test_a_backlog_at_a_steady_pace_is_no_clock(rig, pace):
    """However slowly it catches up: what is in it pages nobody."""
    measured = -7200.0
    for _ in range(30):
        rig.now += 20
        measured += 20 * pace
        rig.send((measured, FAST if measured > -7000 else SLOW))
        rig.check()
    assert {one[2] for one in rig.alerts()} == {"past"}
