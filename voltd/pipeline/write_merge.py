"""Merge: readings of which some are stored already, whole or in part, into a hypertable.

Called by ``write`` inside the batch's transaction, where a plain COPY has met a key that is there. The rows go into a
staging table of the session, and the database says of each whether it is new, fills in what the stored row lacks, says
the same, or contradicts it. Values that contradict become a dead letter ``conflict``: the first one stands. Or, for the
owner who asks for it, the new value is put in and the old one recorded (``volt.correction``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Container, Iterator, Sequence
from typing import Any, NamedTuple

import psycopg

from voltd import models
from voltd.database import queries
from voltd.pipeline import write_dead_letters, write_fold

_DETAIL_LENGTH = 500
_VALUE_LENGTH = 60
_DAY = dt.timedelta(days=1)
_RECENT = dt.timedelta(days=1)  # the shortest time after which chunks are compressed
_SEVERAL = 4


class Table:
    """The statements and binary types of one hypertable.

    Args:
        noun: ``vehicle`` or ``meter``; part of the names of its statements.
        types: PostgreSQL types of a reading's columns.
    """

    def __init__(self, noun: str, types: Sequence[str]) -> None:
        self.noun, self.types = noun, types

    def copy(self, cursor: psycopg.Cursor[Any], rows: Sequence[models.Reading]) -> int:
        """COPY straight into the hypertable; the number of rows.

        Raises:
            psycopg.errors.UniqueViolation: one of them is there already; the transaction is lost.
        """
        with cursor.copy(queries.text(f"copy_{self.noun}_readings")) as copy:
            copy.set_types(self.types)
            for row in rows:
                copy.write_row(row)
        return len(rows)

    def stage(self, cursor: psycopg.Cursor[Any], rows: Sequence[models.Reading]) -> _Staged:
        """COPY into the staging table, each row with its place."""
        cursor.execute(queries.text("unpack_as_needed"))
        cursor.execute(queries.text(f"clear_{self.noun}_staging"))
        with cursor.copy(queries.text(f"copy_{self.noun}_staging")) as copy:
            copy.set_types([*self.types, "int4"])
            for place, row in enumerate(rows):
                copy.write_row((*row, place))
        return _Staged(cursor, self.noun, _days(rows))


def _days(rows: Sequence[models.Reading]) -> dict[dt.datetime, bool]:
    """The UTC midnights at which the days of these rows begin, and whether a look-up each is best there.

    It is not where a device has several rows, nor where the chunk may be compressed.
    """
    found: dict[dt.date, list[str]] = {}
    for row in rows:
        found.setdefault(row[1].astimezone(dt.UTC).date(), []).append(row[0])
    recent = dt.datetime.now(dt.UTC).date() - _RECENT
    return {
        dt.datetime.combine(day, dt.time(), dt.UTC): day >= recent and len(ids) < _SEVERAL * len(set(ids))
        for day, ids in sorted(found.items())
    }


VEHICLE = Table("vehicle", ["text", "timestamptz", *["float8"] * 7, "text", *["float8"] * 3, "jsonb", "timestamptz"])
METER = Table("meter", ["text", "timestamptz", *["float8"] * 7, "timestamptz"])


class _Staged(NamedTuple):
    """Rows in the staging table, and the days they are of: each is a chunk, and is asked by itself."""

    cursor: psycopg.Cursor[Any]
    noun: str
    days: dict[dt.datetime, bool]

    def look(self) -> tuple[list[int], list[int], list[int]]:
        """The places of rows that are new, that fill in something, and that contradict something."""
        found: tuple[list[int], list[int], list[int]] = ([], [], [])
        for day, each in self.days.items():
            self.cursor.execute(queries.text("prefer_look_ups" if each else "prefer_ranges"))
            query = f"look_at_{self.noun}_staging" if each else f"look_through_{self.noun}_staging"
            row = self._ask(query, day).fetchone() or ()
            for places, more in zip(found, row, strict=False):
                places.extend(more or ())
        return found

    def stored(self, query: str, places: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        """What a query says of stored rows, for the rows at these places."""
        self.cursor.execute(queries.text("prefer_ranges"))
        for day in self.days:
            yield from self._ask(query, day, places=list(places)).fetchall()

    def change(self, query: str, places: Sequence[int], **more: object) -> int:
        """Has a statement write the rows at these places; how many it wrote."""
        return self.cursor.execute(queries.text(query), {"places": list(places), **more}, prepare=False).rowcount

    def _ask(self, query: str, day: dt.datetime, **more: object) -> psycopg.Cursor[Any]:
        asked = {"since": day, "until": day + _DAY, **more}
        return self.cursor.execute(queries.text(query), asked, prepare=False)


class Merge:
    """What a batch's readings of one device type come to in the table; counted and noted in ``result``.

    Args:
        table: where they go.
        batch: whose readings they are.
        result: gets filled, conflicting and effective readings, and the dead letters.
        overwrite: put contradicting values in instead; only for the schema's owner.
    """

    def __init__(
        self, table: Table, batch: models.Batch, result: models.WriteResult, *, overwrite: bool = False
    ) -> None:
        self.table, self.batch, self.result, self._overwrite = table, batch, result, overwrite
        vehicles = table is VEHICLE
        self.readings: Sequence[models.Reading] = batch.vehicles if vehicles else batch.meters
        self.sources = batch.vehicle_sources if vehicles else batch.meter_sources
        self.there = False  # whether any row was stored already
        self.folded = False  # whether any two readings were of one row

    def copy(self, cursor: psycopg.Cursor[Any]) -> int:
        """Folds and COPYs straight in; the number of rows.

        Raises:
            psycopg.errors.UniqueViolation: one of them is there already; the transaction is lost.
        """
        folded = self._fold()
        self.table.copy(cursor, folded.rows)
        self._account(folded, range(len(folded.rows)), (), {}, {})
        return len(folded.rows)

    def stage(self, cursor: psycopg.Cursor[Any]) -> int:
        """Folds, and merges with what is stored; the number of new rows."""
        folded = self._fold()
        staged = self.table.stage(cursor, folded.rows)
        new, fills, differs = staged.look()
        inserted = 0
        if new:
            inserted = staged.change(f"insert_{self.table.noun}_staging", new)
            if inserted < len(new):  # another daemon has stored some meanwhile
                _, fills, differs = staged.look()
                new = [place for place in new if place not in {*fills, *differs}]
        self.there = inserted < len(folded.rows)
        before: dict[int, dict[str, Any]] = {}
        contradicting: Sequence[int] = differs
        if fills:
            shared = [place for place in fills if len(folded.members[place]) > 1]
            if shared:
                before = dict(staged.stored(f"stored_of_{self.table.noun}_staging", shared))
            contradicting = self._fill(staged, fills, differs)
        if self._overwrite:  # what is put right is counted as that
            fills = [place for place in fills if place not in set(contradicting)]
        self._account(folded, new, fills, before, self._contradicted(staged, contradicting))
        self._whole_positions(staged, folded)
        return inserted

    def compare(self, cursor: psycopg.Cursor[Any], there: Sequence[tuple[int, bool]]) -> None:
        """Of readings that met a stored row, one by one: what contradicts it becomes a dead letter.

        Args:
            cursor: within the batch's transaction.
            there: index of each, and whether it filled in something.
        """
        indexes = [index for index, _ in there]
        readings = [self.readings[index] for index in indexes]
        staged = self.table.stage(cursor, readings)
        differs = staged.look()[2]
        stored = self._contradicted(staged, differs)
        put_right = {indexes[place] for place in differs} if self._overwrite else set()
        filled = {index for index, filled in there if filled} - put_right
        self.result.filled += len(filled)
        self._refuse({indexes[place]: standing for place, standing in stored.items()}, counted=filled)
        self._whole_positions(staged, write_fold.Folded(readings, [[index] for index in indexes], set(), {}))

    def _fill(self, staged: _Staged, fills: Sequence[int], differs: Sequence[int]) -> Sequence[int]:
        """Fills in; the places of all rows that contradict what is stored by now."""
        query = f"fill_{self.table.noun}_staging"
        beside = set(fills).intersection(differs)
        alone = [place for place in fills if place not in beside] if beside else fills
        if beside:
            staged.change(query, list(beside), beside=True)
        if staged.change(query, alone, beside=False) == len(alone):
            return differs
        staged.change(query, alone, beside=True)  # another daemon has filled in something else meanwhile
        return staged.look()[2]

    def _fold(self) -> write_fold.Folded:
        folded = write_fold.fold(self.readings)
        self.folded = len(folded.rows) < len(self.readings)
        return folded

    def _contradicted(self, staged: _Staged, places: Sequence[int]) -> dict[int, dict[str, Any]]:
        """By place, the stored values that another one came for; none where the new ones were put in."""
        if not places:
            return {}
        if self._overwrite:
            self.result.corrected += staged.change(f"correct_{self.table.noun}_staging", places)
            return {}
        rows = staged.stored(f"contradicted_{self.table.noun}_staging", places)
        return {place: {name: values[name] for name in names} for place, names, values in rows}

    def _account(
        self,
        folded: write_fold.Folded,
        new: Sequence[int],
        fills: Sequence[int],
        before: dict[int, dict[str, Any]],
        contradicted: dict[int, dict[str, Any]],
    ) -> None:
        """Finds the fate of each reading, and refuses what contradicts.

        Args:
            folded: the rows.
            new: places of rows that are new; the first reading of each is counted by the caller.
            fills: places of rows that filled in something.
            before: what was stored before, by place, for those of ``fills`` that are made of several readings.
            contradicted: by place, the stored values that the row contradicts.
        """
        filled: set[int] = set()
        if self.folded:
            filled.update(index for place in new for index in folded.members[place] if index in folded.added)
        for place in fills:
            members = folded.members[place]
            filled.update(self._filling(members, before[place]) if place in before else members)
        self.result.filled += len(filled)
        conflicts = dict(folded.conflicts)
        for place, standing in contradicted.items():
            for index in folded.members[place]:
                mine = {
                    name: value for name, value in standing.items() if getattr(self.readings[index], name) is not None
                }
                if mine:
                    conflicts[index] = {**conflicts.get(index, {}), **mine}
        if conflicts:
            self._refuse(conflicts, counted=filled.union(folded.members[place][0] for place in new))

    def _filling(self, members: Sequence[int], stored: dict[str, Any]) -> Iterator[int]:
        """Of readings of one row those that add a value which neither the row had nor one before them."""
        known = {name for name, value in stored.items() if value is not None}
        for index in members:
            values = self.readings[index]._asdict()
            fresh = {name for name, value in values.items() if value is not None} - known
            if fresh:
                known |= fresh
                yield index

    def _refuse(self, conflicts: dict[int, dict[str, Any]], counted: Container[int] = ()) -> None:
        """A dead letter for each reading that contradicts; one that added something, too, is counted by that."""
        for index, standing in sorted(conflicts.items()):
            reading, source = self.readings[index], self.sources[index]
            self.result.dead_letters.append(self._letter(reading, source, standing))
            self.result.effective[id(reading)] = write_fold.changed(reading, dict.fromkeys(standing))
            self.result.conflicting += index not in counted

    def _letter(self, reading: models.Reading, source: models.Source, standing: dict[str, Any]) -> models.DeadLetter:
        index, element = source
        message = self.batch.messages[index]
        payload = write_dead_letters.payload_of(message, element)
        said = "; ".join(
            f"{models.WIRE_NAMES[name]}: {_shown(value)} is stored, {_shown(getattr(reading, name))} came"
            for name, value in standing.items()
        )
        names = [models.WIRE_NAMES[name] for name in standing]
        detail = said if len(names) == 1 else f"{', '.join(names)}: {said}"
        kind = models.DeviceType.VEHICLE if self.table is VEHICLE else models.DeviceType.METER
        return models.DeadLetter(
            message, payload, models.Reason.CONFLICT, detail[:_DETAIL_LENGTH], element, None, kind, reading[0]
        )

    def _whole_positions(self, staged: _Staged, folded: write_fold.Folded) -> None:
        """Latitude and longitude in two messages: the current state takes them as a pair, as they are stored now."""
        if self.table is not VEHICLE:
            return
        firsts = [self.readings[members[0]] for members in folded.members]
        taken = [self.result.effective.get(id(first), row) for first, row in zip(firsts, folded.rows, strict=True)]
        halves = [place for place, row in enumerate(taken) if (row[_LATITUDE] is None) != (row[_LONGITUDE] is None)]
        for place, latitude, longitude in staged.stored("positions_of_vehicle_staging", halves) if halves else ():
            first = firsts[place]
            last = self.result.effective.get(id(first), first)
            self.result.effective[id(first)] = write_fold.changed(last, {"latitude": latitude, "longitude": longitude})


def _shown(value: Any) -> str:
    """A value for people: a number as the device wrote it, text in quotes, no more than fits a line."""
    return f"{value:.15g}" if isinstance(value, int | float) else f"{value!r:.{_VALUE_LENGTH}}"


_LATITUDE = models.VehicleReading._fields.index("latitude")
_LONGITUDE = models.VehicleReading._fields.index("longitude")
