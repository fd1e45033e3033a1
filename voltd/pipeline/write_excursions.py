"""Excursions: vehicles whose readings are beyond some rule's limit, put down in the transaction that stores them.

Called by ``write``. So a single reading over a limit between two checks of the rules is found, whatever happens to the
daemon, and a check reads the vehicles that may matter instead of everything that arrived. Knows bounds, not rules: what
is within them cannot fire any rule for any vehicle. Thresholds in the units of the readings' columns.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg

from voltd import models
from voltd.database import queries

_TYPES = ["text", "timestamptz", "timestamptz", "bool"]


class Bound(NamedTuple):
    """A value of this column within [below, above] cannot fire any rule."""

    column: str
    below: float
    above: float


Watched = tuple[tuple[Bound, ...], float]  # and late_after_s


class Excursions:
    """What to look for; set by the checks' side, read by the writer, each value replaced as a whole."""

    def __init__(self) -> None:
        self._below: list[tuple[int, float]] = []
        self._above: list[tuple[int, float]] = []
        self._late_after = dt.timedelta(minutes=15)
        self._firing: frozenset[str] = frozenset()
        self.own: Watched = ((), 0.0)
        self._others: Watched = ((), 0.0)

    def look_for(self, bounds: Sequence[Bound], late_after_s: float) -> None:
        """From the next batch on. A reading older than ``late_after_s`` when it is written is marked as late."""
        self.own = (tuple(bounds), late_after_s)
        self._look_for_both()

    def also_look_for(self, bounds: Sequence[Bound], late_after_s: float) -> None:
        """What the daemon that checks the rules has to see, beside what this one's rules concern."""
        if self._others != (others := (tuple(bounds), late_after_s)):
            self._others = others
            self._look_for_both()

    def _look_for_both(self) -> None:
        """One bound a column: each costs a look at every reading."""
        below: dict[int, float] = {}
        above: dict[int, float] = {}
        for one in (*self.own[0], *self._others[0]):
            column = models.VehicleReading._fields.index(one.column)
            below[column] = max(one.below, below.get(column, -math.inf))
            above[column] = min(one.above, above.get(column, math.inf))
        self._late_after = dt.timedelta(seconds=max(self.own[1], self._others[1]) or 900.0)
        self._below = [(column, limit) for column, limit in below.items() if limit > -math.inf]
        self._above = [(column, limit) for column, limit in above.items() if limit < math.inf]

    def leave_out(self, firing: frozenset[str]) -> None:
        """Vehicles that are looked at anyway, for an alert of theirs is open."""
        self._firing = firing

    def find(self, batch: models.Batch, now: dt.datetime) -> list[tuple[str, dt.datetime, dt.datetime, bool]]:
        """Of each vehicle the earliest reading beyond a bound: id, ``recorded_at``, ``received_at``, late."""
        readings = batch.vehicles
        beyond: list[models.VehicleReading] = []
        for column, limit in self._below:
            beyond += [one for one in readings if (value := one[column]) is not None and value < limit]  # type: ignore[operator]
        for column, limit in self._above:
            beyond += [one for one in readings if (value := one[column]) is not None and value > limit]  # type: ignore[operator]
        retained = _retained(batch) if beyond and batch.retained else frozenset()
        found: dict[str, models.VehicleReading] = {}
        late: dict[str, bool] = {}
        for reading in beyond:
            name = reading.vehicle_id
            if name in self._firing or id(reading) in retained:
                continue
            earliest = found.get(name)
            if earliest is None or reading.recorded_at < earliest.recorded_at:
                found[name] = reading
            late[name] = late.get(name, True) and now - reading.recorded_at > self._late_after
        return [(name, one.recorded_at, one.received_at, late[name]) for name, one in found.items()]

    def insert(self, cursor: psycopg.Cursor[Any], batch: models.Batch) -> None:
        """Puts them down in the batch's transaction.

        Raises:
            psycopg.Error: as it comes; the caller wraps it, and nothing of the batch is stored.
        """
        if not batch.vehicles:
            return
        found = self.find(batch, dt.datetime.now(dt.UTC))
        if not found:
            return
        with cursor.copy(queries.text("copy_excursions")) as copy:
            copy.set_types(_TYPES)
            for row in found:
                copy.write_row(row)


def _retained(batch: models.Batch) -> frozenset[int]:
    """Identities of the readings in messages that the broker had retained: history, which fires nothing."""
    pairs = zip(batch.vehicles, batch.vehicle_sources, strict=True)
    return frozenset(id(reading) for reading, (index, _) in pairs if batch.messages[index].retained)
