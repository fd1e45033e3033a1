"""Late readings in whatever order: the past episodes are those of the whole, as ``voltd rules test`` says."""

import random
from typing import Any

import pytest

from support.rules import moved_clock

LATE = 7200.0
OVERSPEED = '[rules.overspeed]\nmetric="speed_kmh"\napplies_to=["vehicle"]\nfire_above=120.0\nclear_below=115.0\n'


@pytest.fixture
def rig(module_database, monkeypatch):
    made = moved_clock.Rig(module_database, monkeypatch)
    made.now = LATE
    yield made
    made.close()


def _send(rig, *readings):
    """A message, and a check some seconds later."""
    rig.send(*((second, {"soc": soc}) for second, soc in readings))
    rig.check(rig.now + 2)


def test_a_worse_reading_and_the_end_arrive_after_the_rest(rig):
    """One episode becomes two: the first ends with the reading that clears it, as bad as its peak."""
    _send(rig, (0, 12), (60, 12))
    assert rig.episodes("past") == [("warning", 0.0, 60.0, 12.0)]
    _send(rig, (30, 3), (40, 30))
    assert rig.episodes("past") == [("critical", 0.0, 40.0, 3.0), ("warning", 60.0, 60.0, 12.0)]
    assert rig.episodes() == rig.tested(LATE + 60)


def test_only_the_end_arrives_after_the_rest(rig):
    """A reading that is beyond no limit changes the past as well."""
    _send(rig, (0, 12), (20, 12), (60, 12))
    _send(rig, (40, 30))
    assert rig.episodes("past") == [("warning", 0.0, 40.0, 12.0), ("warning", 60.0, 60.0, 12.0)]
    assert rig.episodes() == rig.tested(LATE + 60)


def test_later_arrivals_deny_a_past_episode(rig):
    """Two readings in a row that were none: nothing is left of it, whether or not somebody has acknowledged it."""
    _send(rig, (0, 12), (60, 12))
    rig.sql("UPDATE volt.alert SET acknowledged_at = now(), acknowledged_by = 'x'")
    _send(rig, (30, 64), (61, 64))
    assert rig.episodes() == rig.tested(LATE + 60) == []


def test_a_past_episode_ends_at_the_reading_that_clears_it(rig):
    """However much later than late_after_s that was measured."""
    _send(rig, (0, 12), (1200, 12), (2400, 64))
    assert rig.episodes() == [("warning", 0.0, 2400.0, 12.0)]
    assert rig.episodes() == rig.tested(LATE + 60)


def test_what_was_notified_is_not_touched(rig):
    """Late readings around an episode that people were notified of add nothing to it and take nothing from it."""
    rig.start(OVERSPEED)
    for second, speed in ((7200, 150.0), (7210, 50.0)):
        rig.now = second
        rig.send((second, {"speed": speed}))
        rig.check()
    rig.now = 7210 + 3600
    rig.send((7195, {"speed": 160.0}), (7205, {"speed": 170.0}))
    rig.check()
    assert rig.alerts() == [("overspeed", "warning", "over")]
    assert rig.episodes() == [("warning", 7200.0, 7210.0, 150.0)]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rules", [None, OVERSPEED], ids=["confirmed", "at once"])
def test_any_order_of_arrival(rig, seed, rules):
    """Messages of one reading to several, in any order, with a check after some of them, and restarts."""
    rig.start(rules)
    dice = random.Random(seed)
    values: list[Any] = [(n * 60, dice.choice((3.0, 12.0, 12.0, 17.0, 30.0))) for n in range(20)]
    if rules is not None:
        values = [(second, {"speed": 150 - soc if soc < 17 else soc + 90}) for second, soc in values]
    else:
        values = [(second, {"soc": soc}) for second, soc in values]
    dice.shuffle(values)
    while values:
        size = dice.choice((1, 1, 2, 4))
        rig.send(*values[:size])
        values = values[size:]
        rig.now += 2
        dice.choice((rig.check, rig.check, lambda: None, rig.start))()
    rig.check(rig.now + 2)
    assert rig.episodes() == rig.tested(rig.now, "soc_low" if rules is None else "overspeed")
    assert rig.episodes()
    assert {one[2] for one in rig.alerts()} == {"past"}
