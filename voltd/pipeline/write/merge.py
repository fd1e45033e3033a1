"""Merge: readings of which some are stored already, whole or in part, into a hypertable.

Called by ``write`` inside the batch's transaction, where a plain COPY has met a key that is there. The rows go into a
staging table of the session, and the database says of each whether it is new, fills in what the stored row lacks, says
the same, or contradicts it. Values that contradict become a dead letter ``conflict``: the first one stands. Or, for the
owner who asks for it, the new value is put in and the old one recorded (``volt.correction``).
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import Any

import psycopg

from voltd import models, readings
from voltd.database import queries
from voltd.pipeline.write import dead_letters, fold
from voltd.pipeline.write.stage import Comparison, Staged, stage

_DETAIL_LENGTH = 500
_VALUE_LENGTH = 60
_LATITUDE = models.VehicleReading._fields.index("latitude")
_LONGITUDE = models.VehicleReading._fields.index("longitude")


class Merge:
    """What a batch's readings of one device type come to in the table; counted and noted in ``result``.

    Args:
        device_type: of the readings.
        batch: whose readings they are.
        result: gets filled, conflicting and effective readings, and the dead letters.
        overwrite: put contradicting values in instead; only for the schema's owner.
    """

    def __init__(
        self, device_type: models.DeviceType, batch: models.Batch, result: models.WriteResult, *, overwrite: bool
    ) -> None:
        self.device_type, self.batch, self.result, self._overwrite = device_type, batch, result, overwrite
        vehicles = device_type is models.DeviceType.VEHICLE
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
        queries.copy(cursor, f"copy_{self.device_type}_readings", readings.types(self.device_type), folded.rows)
        self._account(folded, range(len(folded.rows)), (), {}, {})
        return len(folded.rows)

    def stage(self, cursor: psycopg.Cursor[Any]) -> int:
        """Folds, and merges with what is stored; the number of new rows."""
        folded = self._fold()
        staged = stage(cursor, self.device_type, folded.rows)
        found = staged.compare()
        inserted = 0
        if found.new:
            inserted = staged.change(f"insert_{self.device_type}_staging", found.new)
            if inserted < len(found.new):  # another daemon has stored some meanwhile
                again = staged.compare()
                met = {*again.fills, *again.differs}
                found = again._replace(new=[place for place in found.new if place not in met])
        self.there = inserted < len(folded.rows)
        before: dict[int, dict[str, Any]] = {}
        if found.fills:
            shared = [place for place in found.fills if len(folded.members[place]) > 1]
            if shared:
                before = dict(staged.stored(f"stored_of_{self.device_type}_staging", shared))
            found = self._fill(staged, found)
        fills = found.fills
        if self._overwrite:  # what is put right is counted as that
            fills = [place for place in fills if place not in set(found.differs)]
        self._account(folded, found.new, fills, before, self._contradicted(staged, found.differs))
        self._whole_positions(staged, found, folded)
        return inserted

    def compare(self, cursor: psycopg.Cursor[Any], there: Sequence[tuple[int, bool]]) -> None:
        """Of readings that met a stored row, one by one: what contradicts it becomes a dead letter.

        Args:
            cursor: within the batch's transaction.
            there: index of each, and whether it filled in something.
        """
        indexes = [index for index, _ in there]
        rows = [self.readings[index] for index in indexes]
        staged = stage(cursor, self.device_type, rows)
        found = staged.compare()
        stored = self._contradicted(staged, found.differs)
        put_right = {indexes[place] for place in found.differs} if self._overwrite else set()
        filled = {index for index, filled in there if filled} - put_right
        self.result.filled += len(filled)
        self._refuse({indexes[place]: standing for place, standing in stored.items()}, counted=filled)
        self._whole_positions(staged, found, fold.Folded(rows, [[index] for index in indexes], set(), {}))

    def _fill(self, staged: Staged, found: Comparison) -> Comparison:
        """Fills in; returned with all rows that contradict what is stored by now."""
        query = f"fill_{self.device_type}_staging"
        beside = set(found.fills).intersection(found.differs)
        alone = [place for place in found.fills if place not in beside] if beside else found.fills
        if beside:
            staged.change(query, list(beside), beside=True)
        if not alone or staged.fill(alone) == len(alone):
            return found
        staged.change(query, alone, beside=True)  # another daemon has filled in something else meanwhile
        again = staged.compare()
        return found._replace(differs=again.differs, positions=again.positions)

    def _fold(self) -> fold.Folded:
        folded = fold.fold(self.readings)
        self.folded = len(folded.rows) < len(self.readings)
        return folded

    def _contradicted(self, staged: Staged, places: Sequence[int]) -> dict[int, dict[str, Any]]:
        """By place, the stored values that another one came for; none where the new ones were put in."""
        if not places:
            return {}
        if self._overwrite:
            self.result.corrected += staged.change(f"correct_{self.device_type}_staging", places)
            return {}
        rows = staged.stored(f"contradicted_{self.device_type}_staging", places)
        return {place: {name: values[name] for name in names} for place, names, values in rows}

    def _account(
        self,
        folded: fold.Folded,
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
            self.result.effective[id(reading)] = fold.changed(reading, dict.fromkeys(standing))
            self.result.conflicting += index not in counted

    def _letter(self, reading: models.Reading, source: models.Source, standing: dict[str, Any]) -> models.DeadLetter:
        index, element = source
        message, kind = self.batch.messages[index], self.device_type
        payload = dead_letters.payload_of(message, element)
        wire_names = readings.wire_names(kind)
        said = "; ".join(
            f"{wire_names[name]}: {_shown(value)} is stored, {_shown(getattr(reading, name))} came"
            for name, value in standing.items()
        )
        names = [wire_names[name] for name in standing]
        detail = said if len(names) == 1 else f"{', '.join(names)}: {said}"
        return models.DeadLetter(
            message, payload, models.Reason.CONFLICT, detail[:_DETAIL_LENGTH], element, None, kind, reading[0]
        )

    def _whole_positions(self, staged: Staged, found: Comparison, folded: fold.Folded) -> None:
        """Latitude and longitude in two messages: the current state takes them as a pair, as they are stored now."""
        filled = set(found.fills)
        alone = [
            place
            for place, stored in found.positions.items()
            if not self._paired(folded, place, stored) and place in filled
        ]
        if alone:  # another daemon may have filled in the other half since the look
            for place, row in staged.stored("stored_of_vehicle_staging", alone):
                self._paired(folded, place, (row["latitude"], row["longitude"]))

    def _paired(self, folded: fold.Folded, place: int, stored: tuple[float | None, float | None]) -> bool:
        """Completes latitude or longitude where one of them came and the other is stored; False: it is not."""
        effective = self.result.effective
        first = self.readings[folded.members[place][0]]
        came = effective.get(id(first), folded.rows[place])
        both = (came[_LATITUDE], came[_LONGITUDE])
        if both.count(None) != 1:  # what came was refused
            return True
        one, other = (both, stored) if self._overwrite else (stored, both)
        pair = [second if value is None else value for value, second in zip(one, other, strict=True)]
        if None in pair:
            return False
        last = effective.get(id(first), first)
        effective[id(first)] = type(last)._make((*last[:_LATITUDE], *pair, *last[_LONGITUDE + 1 :]))
        return True


def _shown(value: Any) -> str:
    """A value for people: a number as the device wrote it, text in quotes, no more than fits a line."""
    return f"{value:.15g}" if isinstance(value, int | float) else f"{value!r:.{_VALUE_LENGTH}}"
