"""Many readings of a device into its newest known state, field by field: the pure half of ``write_current``.

A value is the one measured last, whatever came first and however often it came; at equal times the reading that
arrived first wins, as in the table. No I/O, no clock.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

from voltd import models

# Positions in the reading of each value that has a time of its own; latitude and longitude share one.
VEHICLE_FIELDS: tuple[tuple[int, ...], ...] = ((2,), (3,), (4,), (5,), (6,), (7, 8), (9,), (10,), (11,))
METER_FIELDS: tuple[tuple[int, ...], ...] = ((2,), (3,), (4,), (5,), (6,))


def fold(rows: Iterable[tuple[models.Reading, bool]], fields: Sequence[tuple[int, ...]]) -> list[tuple[Any, ...]]:
    """One state per device.

    Args:
        rows: readings of one device type with whether each is live (not retained by the broker), as received.
        fields: ``VEHICLE_FIELDS`` or ``METER_FIELDS``.

    Returns:
        per device: id, newest ``recorded_at``, each value (or pair) followed by its own time, and the newest
        ``received_at`` of a live reading or None: the columns of the current tables.
    """
    devices: dict[str, list[tuple[models.Reading, bool]]] = {}
    for row in rows:
        devices.setdefault(row[0][0], []).append(row)
    return [_newest(device_rows, fields) for device_rows in devices.values()]


def _newest(rows: list[tuple[models.Reading, bool]], fields: Sequence[tuple[int, ...]]) -> tuple[Any, ...]:
    seen: list[dt.datetime] = [reading[-1] for reading, live in rows if live]
    if len(rows) > 1:
        rows.sort(key=_recorded_at, reverse=True)  # stable, so the first received stays first among equals
    newest = rows[0][0]
    state: list[Any] = [newest[0], newest[1]]
    for positions in fields:
        for reading, _ in rows:
            values = [reading[position] for position in positions]
            if None not in values:
                state += [*values, reading[1]]
                break
        else:
            state += [*(None for _ in positions), None]
    state.append(max(seen) if seen else None)
    return tuple(state)


def _recorded_at(row: tuple[models.Reading, bool]) -> dt.datetime:
    return row[0][1]
