"""Whatever happens to two daemons and their database, in any order: alerts are as the readings say, notified once.

``EvaluationCycle`` on a real database, batches through the real store, no daemon.
"""

import contextlib
import random

import pytest

from support.rules.daemons import INGEST_LAG, OVERSPEED, SOC_LOW, STALE, WELL
from voltd import errors
from voltd.rules.cycle import interfaces

STEPS = 40
REPORTS = (
    WELL,
    interfaces.Report(40.0, spooling=False, healthy=False),
    interfaces.Report(40.0, spooling=True, healthy=False),
)
RULES = (
    (SOC_LOW, OVERSPEED, INGEST_LAG),
    (OVERSPEED, INGEST_LAG),
    (SOC_LOW, INGEST_LAG),
    (SOC_LOW, OVERSPEED),
    (STALE, OVERSPEED, INGEST_LAG),
)
READINGS = ({"soc": 12}, {"soc": 17}, {"soc": 25}, {"speed": 150}, {"speed": 80}, {"soc": 11, "speed": 160})
BY_HAND = (
    """UPDATE volt_internal.alert_state SET state = state || '{"phase": "snoozed"}'""",
    "DELETE FROM volt_internal.alert_state WHERE device_id <> 'V2'",
    "UPDATE volt.alert SET resolved_at = greatest(now(), opened_at) WHERE resolved_at IS NULL AND device_id <> 'V1'",
)
NO_COMMIT = """
CREATE OR REPLACE FUNCTION no_commit() RETURNS trigger LANGUAGE plpgsql
  AS $$ BEGIN RAISE 'no space left' USING ERRCODE = 'disk_full'; END $$;
CREATE CONSTRAINT TRIGGER no_commit AFTER UPDATE ON volt_internal.alert_progress DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION no_commit()
"""
COMMIT = "DROP TRIGGER no_commit ON volt_internal.alert_progress"


class Trouble:
    """Two daemons, and what can happen to them."""

    def __init__(self, world, seed):
        self.world = world
        self.rules: tuple[str, ...] = RULES[0]
        self.daemons = {name: world.daemon(*self.rules, instance=name) for name in "ab"}
        self._chance = random.Random(seed)

    def step(self):
        name = self._chance.choice("aab")
        happens = (self._reads, self._reads, self._reads, self._checks, self._checks, self._reports, self._is_alone,
                   self._restarts, self._reloads, self._by_hand, self._commit_fails, self._during_cycle,
                   self._before_commit)  # fmt: skip
        self._chance.choice(happens)(name)

    def _reads(self, name):
        self.daemons[name].receive(self._chance.choice(("V1", "V2")), **self._chance.choice(READINGS))

    def _checks(self, name):
        with contextlib.suppress(errors.StoreUnavailable):  # the other one was quicker; never StoreRejected
            self.daemons[name].cycle.run()

    def _reports(self, name):
        self.daemons[name].report = self._chance.choice(REPORTS)

    def _is_alone(self, name):
        self.daemons[name].cycle.run_offline()

    def _restarts(self, name):
        report = self.daemons[name].report
        self.daemons[name] = self.world.daemon(*self.rules, instance=name)
        self.daemons[name].report = report

    def _reloads(self, _name):
        self.rules = self._chance.choice(RULES)
        for one in self.daemons.values():
            one.use(*self.rules)

    def _by_hand(self, _name):
        self.world.sql(self._chance.choice(BY_HAND))
        for one in self.daemons.values():
            one.cycle.invalidate()

    def _commit_fails(self, name):
        self.world.sql(NO_COMMIT)
        self._checks(name)
        self.daemons[name].cycle.run_offline()
        self.world.sql(COMMIT)

    def _during_cycle(self, name):
        daemon, other = self.daemons[name], "b" if name == "a" else "a"
        happens = (daemon.cycle.invalidate, lambda: self._checks(other), lambda: daemon.receive("V1", soc=12))
        daemon.during_cycle = [self._chance.choice(happens)]
        self._checks(name)

    def _before_commit(self, name):
        self.daemons[name].before_commit = [lambda: self._checks(name)]
        self._reads(name)

    def settle(self, **values):
        """All is well, both vehicles say so, and both daemons get their turn."""
        for vehicle in ("V1", "V2"):
            self.daemons["b"].receive(vehicle, **values)
        for name in "ababab":
            self.daemons[name].report = WELL
            self._checks(name)
        return {(rule, device) for rule, device, is_open in self.world.episodes() if is_open}


@pytest.mark.parametrize("seed", range(6))
def test_anything_in_any_order(world, seed):
    """Then exactly what is beyond a limit is open, all excursions were evaluated, nothing was notified twice."""
    trouble = Trouble(world, seed)
    for _ in range(STEPS):
        trouble.step()
    beyond = {rule for rule, text in (("soc_low", SOC_LOW), ("overspeed", OVERSPEED)) if text in trouble.rules}
    assert trouble.settle(soc=12, speed=150) == {(rule, vehicle) for rule in beyond for vehicle in ("V1", "V2")}
    assert trouble.settle(soc=50, speed=50) == set()
    assert world.count("excursion") == 0
    notified = world.sql("SELECT alert_id, transition FROM volt.alert_delivery")
    assert len(notified) == len(set(notified))
    assert {one for one, transition in notified if transition == "fired"} == {
        one for (one,) in world.sql("SELECT alert_id FROM volt.alert WHERE NOT past")
    }
