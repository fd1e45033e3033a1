"""Fold: what a batch says of one device and one time into one row; the pure half of ``write.merge``.

Two messages of one device and one time belong together: a later one fills in what the earlier ones lack. The same value
again is a duplicate; another value for a field that is there is a conflict, and the first one stands. No I/O, no clock.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from voltd import models

_KEY = operator.itemgetter(0, 1)  # device and time
_ALWAYS = 3  # device, time and time of receipt are in every reading


class Folded(NamedTuple):
    """Rows of which each has a key of its own, and how they came about.

    Attributes:
        rows: one a key, in the order in which the keys came; ``received_at`` is that of the first reading.
        members: for each row the readings in it, as indexes in what was folded, in order.
        added: indexes of readings that filled in what the ones before them lacked.
        conflicts: by the index of a reading, the columns in which an earlier one has another value.
    """

    rows: list[models.Reading]
    members: list[list[int]]
    added: set[int]
    conflicts: dict[int, dict[str, Any]]


def needed(readings: Sequence[models.Reading]) -> bool:
    """Whether any device and time comes more than once."""
    devices = {one[0] for one in readings}  # hashing a time takes as long as all the rest
    return len(devices) < len(readings) and len(set(map(_KEY, readings))) < len(readings)


def fold(readings: Sequence[models.Reading]) -> Folded:
    """One row for each device and time.

    Args:
        readings: of one device type, in the order received.

    Returns:
        ``conflicts`` gives for each column the value that stands.
    """
    if not needed(readings):
        return Folded(list(readings), [[index] for index in range(len(readings))], set(), {})
    folded = Folded([], [], set(), {})
    rows, members = folded.rows, folded.members
    places: dict[tuple[Any, ...], int] = {}
    for index, (key, reading) in enumerate(zip(map(_KEY, readings), readings, strict=True)):
        place = places.setdefault(key, len(rows))
        if place == len(rows):
            rows.append(reading)
            members.append([index])
        else:
            members[place].append(index)
            _add(folded, place, index, reading)
    return folded


def changed(reading: models.Reading, values: Mapping[str, Any]) -> models.Reading:
    """The reading with other values in these columns."""
    return type(reading)._make(values.get(name, value) for name, value in zip(reading._fields, reading, strict=True))


def _add(folded: Folded, place: int, index: int, reading: models.Reading) -> None:
    row = folded.rows[place]
    both = [value if there is None else there for there, value in zip(row, reading)]  # noqa: B905 of one type
    lacking = row.count(None)
    in_both = len(row) - lacking - reading.count(None) + both.count(None)
    if in_both > _ALWAYS:
        both = _resolve(folded, index, row, reading)
    if both.count(None) < lacking:
        folded.rows[place] = type(row)._make(both)
        folded.added.add(index)


def _resolve(folded: Folded, index: int, row: models.Reading, reading: models.Reading) -> list[Any]:
    """The row's values with what it lacks from the reading; where both have one and they differ, that is a conflict."""
    both: list[Any] = []
    for name, there, value in zip(row._fields, row, reading, strict=True):
        both.append(value if there is None else there)
        if value is None or there is None or value == there or name == "received_at":
            continue
        if name != "diagnostics" or not _same_json(json.loads(str(value)), json.loads(str(there))):
            folded.conflicts.setdefault(index, {})[name] = there
    return both


def _same_json(one: Any, other: Any) -> bool:
    """Whether PostgreSQL takes two JSON values for the same: 1 and 1.0 are, 1 and true are not."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same_json(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same_json, one, other))
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)
