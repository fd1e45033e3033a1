"""In which turns the roll-up computes what is closed, what came late, and the efficiency that follows."""

import itertools
import types
from typing import Any

import pytest

from voltd.database import queries, rollup


class Database:
    """Hours of history to catch up with, late readings, and the efficiency that either has computed again."""

    def __init__(self, hours, late=0):
        self.hours, self.late, self.marked = hours, late, 0
        self.asked = []

    def execute(self, name, _values=None):
        self.asked.append(name)
        return types.SimpleNamespace(fetchone=lambda: (getattr(self, name, lambda: 0)(),))

    def rollup_try_lock(self):
        return True

    def keep_energy(self):
        self.hours -= 1
        self.marked += 1
        return self.hours > 0

    def keep_marked_vehicles(self):
        self.late -= 1
        self.marked += self.late >= 0
        return int(self.late >= 0)

    def keep_efficiency(self):
        self.marked, computed = 0, self.marked
        return computed


@pytest.fixture(autouse=True)
def _by_name(monkeypatch):
    monkeypatch.setattr(queries, "text", lambda name: name)


def test_history_has_its_efficiency_computed_a_day_at_a_time():
    """Each hour of it would have the whole day computed."""
    database: Any = Database(hours=100)
    assert rollup.run_once(database) == rollup.RollupResult(99, 100)
    assert (database.hours, database.marked) == (0, 0)
    assert database.asked.count("keep_efficiency") < 10


def test_late_readings_without_end_hold_no_efficiency_back():
    """Neither amid history nor at its end."""
    for hours in (1, 100):
        database: Any = Database(hours, late=10_000)
        rollup.run_once(database)
        turns = [turn for turn, name in enumerate(database.asked) if name == "keep_efficiency"]
        assert max(b - a for a, b in itertools.pairwise(turns)) < 300
        assert database.marked == 0
