"""Rules that are taken away and daemons that take turns: no excursion is lost, nothing is notified twice.

``EvaluationCycle`` on a real database, batches through the real store, no daemon.
"""

import contextlib

import pytest

from support.rules.daemons import OVERSPEED, SOC_LOW, STALE
from voltd import errors


@pytest.mark.parametrize(
    "changed",
    [SOC_LOW + "enabled = false\n", "", STALE],
    ids=["switched off", "taken away", "watches something else"],
)
def test_reload_takes_a_firing_rule_away_from_a_vehicle(world, changed):
    """Readings stored just before and just after the reload are evaluated by the other rules."""
    daemon = world.daemon(SOC_LOW, OVERSPEED)
    daemon.receive("V1", soc=12)
    daemon.receive("V2", soc=12)
    daemon.cycle.run()
    daemon.receive("V1", speed=150)  # of a vehicle that is looked at anyway
    daemon.use(changed, OVERSPEED)
    daemon.during_cycle = [lambda: daemon.receive("V2", speed=150)]
    daemon.cycle.run()
    daemon.cycle.run()
    assert [one[:2] for one in world.episodes() if one[2]] == [("overspeed", "V1"), ("overspeed", "V2")]


def test_reload_while_a_batch_is_written(world):
    """It began when its vehicle was looked at anyway, and is committed when the rule has been gone for a while."""
    daemon = world.daemon(SOC_LOW, OVERSPEED)
    daemon.receive("V1", soc=12)
    daemon.cycle.run()
    daemon.use(OVERSPEED)
    daemon.before_commit = [daemon.cycle.run] * 3
    daemon.receive("V1", speed=150)
    daemon.cycle.run()
    assert world.episodes() == [("soc_low", "V1", False), ("overspeed", "V1", True)]


def test_restart_with_a_firing_rule_taken_away(world):
    """What the writer left to the cycle before the restart is evaluated by the rules after it."""
    daemon = world.daemon(SOC_LOW, OVERSPEED)
    daemon.receive("V1", soc=12)
    daemon.cycle.run()
    daemon.receive("V1", speed=150)
    world.daemon(OVERSPEED).cycle.run()
    assert world.episodes() == [("soc_low", "V1", False), ("overspeed", "V1", True)]


def test_lead_lost_while_a_check_runs(world):
    """A daemon that follows leaves no vehicle out: what it stores from then on is recorded for the leader."""
    daemon = world.daemon(SOC_LOW, OVERSPEED)
    daemon.receive("V1", soc=12)
    daemon.cycle.run()
    daemon.during_cycle = [daemon.cycle.invalidate]
    daemon.cycle.run()
    daemon.receive("V1", speed=150)
    assert world.sql("SELECT vehicle_id FROM volt_internal.excursion") == [("V1",)]


def test_two_daemons_check_in_turn(world):
    """One that no longer leads writes nothing over the other, notifies nothing again, and leaves no vehicle out."""
    first, second = (world.daemon(SOC_LOW, instance=name) for name in ("a", "b"))
    for one in (first, second):
        one.cycle.run()
    first.receive("V1", soc=12)
    first.cycle.run()
    second.receive("V2", soc=12)
    second.cycle.run()  # overtaken
    assert world.episodes() == [("soc_low", "V1", True)]
    second.cycle.run()
    first.receive("V1", soc=25)  # left out by the first one's writer: V1 is open
    second.cycle.run()
    first.cycle.run()  # overtaken
    first.cycle.run()
    assert world.episodes() == [("soc_low", "V1", False), ("soc_low", "V2", True)]
    assert [one[1:3] for one in world.notified()] == [("V1", "fired"), ("V2", "fired"), ("V1", "resolved")]


def test_overtaken_daemon_leaves_no_vehicle_out(world):
    """It finds that another one leads: what it stores from then on is recorded for that one."""
    first, second = (world.daemon(SOC_LOW, OVERSPEED, instance=name) for name in ("a", "b"))
    first.receive("V1", soc=12)
    first.cycle.run()
    second.receive("V2", soc=12)
    second.cycle.run()
    first.receive("V1", soc=11)
    first.cycle.run()  # overtaken
    first.receive("V1", speed=150)
    assert world.sql("SELECT vehicle_id FROM volt_internal.excursion") == [("V1",)]


def test_two_daemons_check_at_the_same_time(world):
    """Both have read the same; one of them writes, the other one sees what is left."""
    first, second = (world.daemon(SOC_LOW, instance=name) for name in ("a", "b"))
    for one in (first, second):
        one.cycle.run()
    first.receive("V1", soc=12)
    first.during_cycle = [second.cycle.run]
    with contextlib.suppress(errors.StoreUnavailable):
        first.cycle.run()
    first.cycle.run()
    assert world.episodes() == [("soc_low", "V1", True)]
    assert [one[1:3] for one in world.notified()] == [("V1", "fired")]
