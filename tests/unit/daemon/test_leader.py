"""The election of the daemon that evaluates the rules, without a database: who takes the lock after an outage."""

import time
from typing import Any, cast

import psycopg
import pytest

from voltd import config
from voltd.daemon import leader
from voltd.database import locks

Role = leader.Role


class Database:
    """Stands for the locks: free ones can be had while the database answers."""

    def __init__(self):
        self.away, self.taken = False, False
        self.held, self.tried = frozenset(), []

    def holds(self, key):
        return key in self.held

    def take(self, leave=()):
        if self.away:
            self.held = frozenset()
            raise psycopg.OperationalError("away")
        self.tried.append(locks.RULES not in leave)
        new = frozenset() if self.taken or locks.RULES in leave else frozenset({locks.RULES}) - self.held
        self.held |= new
        return new


class Alerting:
    """Records what the election has it do."""

    def __init__(self):
        self.done = []
        self.cycle = self

    def __getattr__(self, name):
        return lambda: self.done.append(name)


class Rig:
    def __init__(self, monkeypatch, **mqtt):
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        self.database = cast("Any", Database())
        self.alerting = cast("Any", Alerting())
        self.leader = leader.Leader(config.Settings(mqtt=mqtt), self.alerting)
        self.leader._locks = self.database

    def look(self, *, away=False, taken=False, after_s=3.0):
        """One look; what the alerting did at it."""
        self.now += after_s
        self.database.away, self.database.taken = away, taken
        self.alerting.done.clear()
        if away:
            with pytest.raises(psycopg.OperationalError):
                self.leader.look()
        else:
            self.leader.look()
        return self.leader.role, list(self.alerting.done)


@pytest.fixture
def rig(monkeypatch):
    return Rig(monkeypatch)


def test_the_leader_sees_an_outage(rig):
    """It goes offline, and takes the lock at once when the database is back."""
    assert rig.look() == (Role.LEADS, ["lead"])
    assert rig.look(away=True) == (Role.OFFLINE, ["follow", "abandon"])
    assert rig.look(away=True) == (Role.OFFLINE, ["abandon"])
    assert rig.look() == (Role.LEADS, ["lead"])


def test_a_follower_sees_an_outage(rig):
    """It yields for 15 s, and then takes the lock if nobody else has it."""
    rig.look(taken=True)
    assert rig.look(away=True) == (Role.WAITS, ["abandon"])
    assert rig.look() == (Role.YIELDS, [])
    assert rig.look(after_s=14.0) == (Role.YIELDS, [])
    assert rig.look(after_s=2.0) == (Role.LEADS, ["lead"])
    assert rig.database.tried == [True, False, False, True]


def test_a_second_outage_while_it_yields(rig):
    """It still is not the one that led."""
    rig.look(taken=True)
    rig.look(away=True)
    rig.look()
    assert rig.look(away=True) == (Role.WAITS, ["abandon"])


def test_the_server_still_takes_the_old_leader_for_alive(rig):
    """Its own old connection holds the lock: it tries again at each look instead of yielding."""
    rig.look()
    rig.look(away=True)
    assert rig.look(taken=True) == (Role.FOLLOWS, [])
    assert rig.look() == (Role.LEADS, ["lead"])
    assert all(rig.database.tried)


def test_another_daemon_leads_after_an_outage(rig):
    """What this one found alone is given over once the other had time to write its own."""
    rig.look()
    rig.look(away=True)
    assert rig.look(taken=True)[1] == []
    assert rig.look(taken=True, after_s=61.0)[1] == ["give_over"]


@pytest.mark.parametrize(("mqtt", "role"), [({}, Role.OFFLINE), ({"share_group": "g"}, Role.WAITS)])
def test_the_database_is_away_at_the_start(monkeypatch, mqtt, role):
    """A daemon evaluates itself, unless it is one of a group that would all notify the same."""
    rig = Rig(monkeypatch, **mqtt)
    assert rig.look(away=True)[0] is role


def test_closed(rig):
    """It takes no lock any more."""
    rig.leader._closed = True
    rig.leader.look()
    assert rig.database.tried == []
