"""How long a device may be inactive, by its own rhythm: one outage teaches nothing, a habit does, and habits fade."""

import datetime as dt

from voltd.rules import model, rhythm

T0 = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
DAY_S = 86400.0


def _rule(**values):
    return model.Rule(
        name="r",
        metric="silence",
        applies_to=("vehicle",),
        **{"fire_above": 300.0, "fire_above_at_most": 93600.0} | values,
    )


def _known(*intervals, after_s=0.0):
    """What is usual once these intervals and ``after_s`` have passed."""
    known, at = rhythm.Rhythm(), T0
    for one in intervals:
        at += dt.timedelta(seconds=one)
        known.note(at, one)
    return known.usual_s(at + dt.timedelta(seconds=after_s))


def test_the_limit_lies_between_the_rules_own_and_the_most():
    """Two and a half intervals, so that one report may be lost; a dead device is found whatever it did before."""
    rule = _rule(fire_above_parked=21600.0)
    assert rhythm.limit_s(rule, 10.0, parked=True) == 300
    assert rhythm.limit_s(rule, 1800.0, parked=False) == 4500
    assert rhythm.limit_s(rule, 10 * DAY_S, parked=True) == 93600
    assert rhythm.limit_s(rule, None, parked=True) == 21600
    assert rhythm.limit_s(rule, None, parked=False) == 300
    assert rhythm.limit_s(rule, 10.0, parked=True, newly_known=True) == 21600
    assert rhythm.limit_s(rule, DAY_S / 4, parked=True, newly_known=True) == 54000
    assert rhythm.limit_s(rule, 1800.0, parked=False, newly_known=True) == 4500
    assert rhythm.limit_s(_rule(), None, parked=True) == 300
    assert rhythm.limit_s(_rule(fire_above_at_most=None), 1800.0, parked=False) == 300


def test_one_outage_teaches_nothing_and_a_habit_does():
    """The second longest interval counts."""
    assert _known(600) is None
    assert _known(600, 600) > 590
    assert _known(*[60.0] * 100, 7200.0, *[60.0] * 100) < 70
    assert _known(*[60.0] * 100, 1800.0, 60.0, 1800.0) > 1700


def test_habits_fade():
    """Half of it in a week: a device that was set to report more often is known by that after a while."""
    assert _known(3600, 3600, after_s=7 * DAY_S) < 1801
    assert _known(3600, 3600, after_s=28 * DAY_S) < 230


def test_a_rhythm_is_known_lately_for_a_day():
    """From the first interval on; longer ones that come later do not begin it anew."""
    known = rhythm.Rhythm()
    assert not known.newly_known(T0)
    known.note(T0, 60.0)
    known.note(T0 + dt.timedelta(hours=23), 1800.0)
    assert known.newly_known(T0 + dt.timedelta(hours=23, minutes=59))
    assert not known.newly_known(T0 + dt.timedelta(hours=24))
