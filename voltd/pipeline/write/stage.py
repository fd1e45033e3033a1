"""Stage: readings of which some are stored already, in a table of the session, where the database can look at them.

``write.merge`` asks here what a staged row is to the stored one, and has rows written. Days are asked one by one: each
is a chunk of the hypertable, and a statement that names its bounds reads no other.
"""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import psycopg

from voltd import models, readings
from voltd.database import queries

_DAY = dt.timedelta(days=1)
_RECENT = dt.timedelta(days=1)  # the shortest time after which chunks are compressed
_SEVERAL = 4
_DEVICE, _TIME = operator.itemgetter(0), operator.itemgetter(1)


def stage(cursor: psycopg.Cursor[Any], device_type: models.DeviceType, rows: Sequence[models.Reading]) -> Staged:
    """Sends rows into the staging table, where each gets its place."""
    staged = Staged(cursor, device_type, rows)
    staged.prepare()
    queries.copy(cursor, f"copy_{device_type}_staging", readings.types(device_type), rows)
    return staged


class Comparison(NamedTuple):
    """What staged rows are to the stored ones.

    Attributes:
        new: places of rows that are not stored.
        fills: of rows that have a value which the stored row lacks.
        differs: of rows that have another value than the stored row.
        positions: stored latitude and longitude, by place, for rows that have one of the two, or others.
    """

    new: list[int]
    fills: list[int]
    differs: list[int]
    positions: dict[int, tuple[float | None, float | None]]


class Staged:
    """Rows in the staging table.

    Args:
        cursor: within the batch's transaction.
        device_type: whose readings they are.
        rows: as they were staged; a place is an index in them.
    """

    def __init__(
        self, cursor: psycopg.Cursor[Any], device_type: models.DeviceType, rows: Sequence[models.Reading]
    ) -> None:
        self._cursor, self._device_type, self._rows = cursor, device_type, rows
        self._days = {day: _Day.of(day, mine) for day, mine in sorted(_by_day(rows).items())}
        self._prefers = ""

    def prepare(self) -> None:
        """Empties the staging table, and sets what the first look needs, all in one request.

        Each answer that the writer waits for may cost it the interpreter for a while.
        """
        self._prefers = next(iter(self._days.values())).preference
        names = ("unpack_as_needed", f"clear_{self._device_type}_staging", self._prefers)
        self._cursor.execute("".join(queries.text(name) for name in names), prepare=False)

    def compare(self) -> Comparison:
        """Compares all of them with what is stored now."""
        found = Comparison([], [], [], {})
        for day, how in self._days.items():
            self._prefer(how.preference)
            query = f"look_at_{self._device_type}_staging" if how.each else f"look_through_{self._device_type}_staging"
            new, fills, differs, *positions = self._ask(query, day).fetchone() or (None, None, None)
            for places, more in ((found.new, new), (found.fills, fills), (found.differs, differs)):
                places.extend(more or ())
            halves, latitudes, longitudes = positions or (None, None, None)
            found.positions.update(zip(halves or (), zip(latitudes or (), longitudes or (), strict=True), strict=True))
        return found

    def fill(self, places: Sequence[int]) -> int:
        """Fills in what the stored rows lack, where nothing contradicts; the number of rows."""
        if any(how.loose for how in self._days.values()):
            self._prefer("prefer_look_ups")
        filled = 0
        for day, mine in self._on_days(places):
            if self._days[day].loose:
                filled += self._ask(f"fill_there_{self._device_type}_staging", day, places=_array(mine)).rowcount
            else:
                filled += self.change(f"fill_{self._device_type}_staging", mine, beside=False)
        return filled

    def stored(self, query: str, places: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        """What a query says of stored rows, for the rows at these places."""
        self._prefer("prefer_ranges")
        for day in self._days:
            yield from self._ask(query, day, places=_array(places)).fetchall()

    def change(self, query: str, places: Sequence[int], **more: object) -> int:
        """Has a statement write the rows at these places; how many it wrote."""
        return self._cursor.execute(queries.text(query), {"places": _array(places), **more}, prepare=False).rowcount

    def _prefer(self, name: str) -> None:
        if name != self._prefers:
            self._cursor.execute(queries.text(name))
            self._prefers = name

    def _ask(self, query: str, day: dt.datetime, **more: object) -> psycopg.Cursor[Any]:
        asked = {"since": day, "until": day + _DAY, **more}
        return self._cursor.execute(queries.text(query), asked, prepare=False)

    def _on_days(self, places: Sequence[int]) -> Iterator[tuple[dt.datetime, Sequence[int]]]:
        """Groups places by day."""
        if len(self._days) == 1:
            yield next(iter(self._days)), places
            return
        found: dict[dt.datetime, list[int]] = {}
        for place in places:
            found.setdefault(_midnight(self._rows[place][1]), []).append(place)
        yield from sorted(found.items())


class _Day(NamedTuple):
    """How to ask for the rows of a day.

    Attributes:
        loose: its chunk is not compressed yet.
        each: a look-up a row is best; it is not where a device has several rows or the chunk may be compressed.
    """

    loose: bool
    each: bool

    @property
    def preference(self) -> str:
        """The query that has the planner ask so."""
        return "prefer_look_ups" if self.each else "prefer_ranges"

    @classmethod
    def of(cls, day: dt.datetime, rows: Sequence[models.Reading]) -> _Day:
        loose = day >= _midnight(dt.datetime.now(dt.UTC)) - _RECENT
        return cls(loose, loose and len(rows) < _SEVERAL * len(set(map(_DEVICE, rows))))


def _by_day(rows: Sequence[models.Reading]) -> dict[dt.datetime, Sequence[models.Reading]]:
    """The rows of each day, by the UTC midnight at which it begins."""
    times = list(map(_TIME, rows))
    first = _midnight(min(times))
    if max(times) < first + _DAY:
        return {first: rows}
    found: dict[dt.datetime, list[models.Reading]] = {}
    for row in rows:
        found.setdefault(_midnight(row[1]), []).append(row)
    return dict(found)


def _array(places: Sequence[int]) -> str:
    """As PostgreSQL writes int[]; psycopg takes ten times as long to."""
    return f"{{{','.join(map(str, places))}}}"


def _midnight(at: dt.datetime) -> dt.datetime:
    return at.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
