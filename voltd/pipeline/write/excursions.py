"""Excursions: vehicles whose readings are beyond some rule's limit, recorded in the transaction that stores them.

Called by ``write``. So a single reading over a limit between two evaluation cycles is found, whatever happens to the
daemon, and a cycle reads the vehicles that may matter instead of everything that arrived. What the hypertable does not
have of a reading's arrival is recorded too: late and live ones apart, retained ones by name. Knows bounds, not
rules: what is within them cannot fire any rule for any vehicle. Thresholds in the units of the readings' columns.
"""

from __future__ import annotations

import datetime as dt
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import psycopg

from voltd import models
from voltd.database import queries

_FORGET_EVERY_S = 60.0  # a scan; a replay of dead letters is retained batch after batch
_NO_TIME = dt.timedelta()
_TYPES = ["text", "timestamptz", "timestamptz", "timestamptz", "bool"]
_RETAINED_TYPES = ["text", "timestamptz", "timestamptz"]


class ColumnRange(NamedTuple):
    """A value of this column within [below, above] cannot fire any rule."""

    column: str
    below: float
    above: float


class Excursion(NamedTuple):
    """Readings of one vehicle in one batch that are beyond a bound, the late or the live ones; a row of the table.

    Attributes:
        since, until: ``recorded_at`` of the earliest and the latest.
        received_at: of the one that arrived first.
        late: too old to notify anybody.
    """

    vehicle_id: str
    since: dt.datetime
    until: dt.datetime
    received_at: dt.datetime
    late: bool


Watched = tuple[tuple[ColumnRange, ...], float]  # and late_after_s


class Excursions:
    """What to look for; set by the evaluation cycle, read by the writer, each value replaced as a whole."""

    def __init__(self) -> None:
        self._below: list[tuple[int, float]] = []
        self._above: list[tuple[int, float]] = []
        self._late_after = dt.timedelta(minutes=15)
        self._firing: dict[int, frozenset[str]] = {}
        self._behind: Mapping[str, dt.timedelta] = {}
        self._past: Mapping[str, tuple[dt.datetime, dt.datetime]] = {}
        self._forgot_at = -math.inf
        self.own: Watched = ((), 0.0)
        self._others: Watched = ((), 0.0)

    def look_for(self, bounds: Sequence[ColumnRange], late_after_s: float) -> None:
        """From the next batch on. A reading older than ``late_after_s`` when it is written is late."""
        self.own = (tuple(bounds), late_after_s)
        self._look_for_both()

    def also_look_for(self, bounds: Sequence[ColumnRange], late_after_s: float) -> None:
        """What the leader's rules need, beside this daemon's own."""
        if self._others != (others := (tuple(bounds), late_after_s)):
            self._others = others
            self._look_for_both()

    def _look_for_both(self) -> None:
        """One bound a column, as each is compared with every reading."""
        below: dict[int, float] = {}
        above: dict[int, float] = {}
        for one in (*self.own[0], *self._others[0]):
            column = models.VehicleReading._fields.index(one.column)
            below[column] = max(one.below, below.get(column, -math.inf))
            above[column] = min(one.above, above.get(column, math.inf))
        self._late_after = dt.timedelta(seconds=max(self.own[1], self._others[1]) or 900.0)
        self._below = [(column, limit) for column, limit in below.items() if limit > -math.inf]
        self._above = [(column, limit) for column, limit in above.items() if limit < math.inf]

    def leave_out(self, firing: frozenset[str], column: str | None = None) -> None:
        """Vehicles whose live readings are evaluated anyway, since an alert of theirs is open.

        Args:
            firing: their ids.
            column: what the alert watches, as their other values still count; None: all columns.
        """
        every = range(len(models.VehicleReading._fields))
        columns = every if column is None else (models.VehicleReading._fields.index(column),)
        self._firing = {**self._firing, **dict.fromkeys(columns, firing)}

    def correct(self, behind_s: Mapping[str, float]) -> None:
        """Vehicles whose clocks are certainly behind, by so many seconds: lateness follows corrected time."""
        self._behind = {name: dt.timedelta(seconds=one) for name, one in behind_s.items()}

    def look_around(self, past: Mapping[str, tuple[dt.datetime, dt.datetime]]) -> None:
        """Late readings of these vehicles within these times are recorded whatever their values.

        They may end or contradict a past episode. Times are the devices' own.
        """
        self._past = past

    def find(self, batch: models.Batch, now: dt.datetime) -> list[Excursion]:
        """The excursions in a batch that is written ``now``: of a vehicle at most a live and a late one."""
        readings, late_before = batch.vehicles, now - self._late_after
        beyond: list[tuple[int, models.VehicleReading]] = []
        for column, limit in self._below:
            beyond += [(column, one) for one in readings if (value := one[column]) is not None and value < limit]  # type: ignore[operator]
        for column, limit in self._above:
            beyond += [(column, one) for one in readings if (value := one[column]) is not None and value > limit]  # type: ignore[operator]
        if self._past:
            beyond += [
                (-1, one) for one in readings if one.vehicle_id in self._past and self._concerns_past(one, late_before)
            ]
        retained = {id(one) for one in _retained(batch)} if beyond and batch.retained else frozenset()
        found: tuple[dict[str, list[dt.datetime]], ...] = ({}, {})  # live ones, late ones
        for column, reading in beyond:
            name, at, arrived = reading.vehicle_id, reading.recorded_at, reading.received_at
            late = at < late_before and not (name in self._behind and at + self._behind[name] >= late_before)
            if id(reading) in retained or (not late and name in self._firing.get(column, ())):
                continue
            known = found[late].setdefault(name, [at, at, arrived])
            if at < known[0]:
                known[0] = at
            elif at > known[1]:
                known[1] = at
            if arrived < known[2]:  # noqa: PLR1730 - min() costs three times as much
                known[2] = arrived
        return [
            Excursion(name, one[0], one[1], one[2], late) for late in (False, True) for name, one in found[late].items()
        ]

    def _concerns_past(self, one: models.VehicleReading, late_before: dt.datetime) -> bool:
        since, until = self._past[one.vehicle_id]
        return (
            since <= one.recorded_at <= until
            and one.recorded_at + self._behind.get(one.vehicle_id, _NO_TIME) < late_before
        )

    def insert(self, cursor: psycopg.Cursor[Any], batch: models.Batch) -> None:
        """Records them in the batch's transaction, and which of its readings are retained.

        Raises:
            psycopg.Error: as it comes; the caller wraps it, and nothing of the batch is stored.
        """
        if not batch.vehicles:
            return
        found = self.find(batch, dt.datetime.now(dt.UTC))
        if found:
            queries.copy(cursor, "copy_excursions", _TYPES, found)
        if batch.retained:
            if (clock_s := time.monotonic()) - self._forgot_at > _FORGET_EVERY_S:
                self._forgot_at = clock_s
                cursor.execute(queries.text("forget_retained_readings"))
            named = [(one.vehicle_id, one.recorded_at, one.received_at) for one in _retained(batch)]
            queries.copy(cursor, "copy_retained_readings", _RETAINED_TYPES, named)


def _retained(batch: models.Batch) -> list[models.VehicleReading]:
    """Readings in messages that the broker had retained: these fire nothing."""
    pairs = zip(batch.vehicles, batch.vehicle_sources, strict=True)
    return [reading for reading, (index, _) in pairs if batch.messages[index].retained]
