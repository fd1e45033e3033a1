"""Many readings of a device into its newest known state, field by field: the pure half of ``current.state``.

A value is the one measured last, whatever came first and however often it came. What was measured at one time is one
reading, in however many messages it came; the first value of a field stands, as in the table. No I/O, no clock.
"""

from __future__ import annotations

import datetime as dt
import itertools
import operator
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from voltd import models, readings
from voltd.pipeline.write import fold


class Segment(NamedTuple):
    """Readings of one device type and one batch, and whether they are live: not retained by the broker."""

    readings: Sequence[models.Reading]
    live: bool


def places(device_type: models.DeviceType) -> list[tuple[int, int]]:
    """First and last place in a reading of each value that has a time of its own; latitude and longitude share one."""
    index = readings.CLASSES[device_type]._fields.index
    return [(index(columns[0]), index(columns[-1])) for columns, _at in readings.state(device_type)]


_recorded_at = operator.itemgetter(1)
_NOTHING = (None, None, None)


def states(segments: Iterable[Segment], fields: Sequence[tuple[int, int]]) -> list[tuple[Any, ...]]:
    """One state per device.

    Args:
        segments: readings of one device type, as received.
        fields: what ``places`` says of it.

    Returns:
        per device: id, newest ``recorded_at``, each value (or pair) followed by its own time, and the newest
        ``received_at`` of a live reading or None: the columns of the current tables.
    """
    devices: dict[str, list[models.Reading]] = {}
    seen: dict[str, dt.datetime] = {}
    for segment, live in segments:
        for reading in segment:
            device_id = reading[0]
            if device_id in devices:
                devices[device_id].append(reading)
            else:
                devices[device_id] = [reading]
            if live:
                seen[device_id] = reading[-1]
    return [(*_newest(readings, fields), seen.get(device_id)) for device_id, readings in devices.items()]


def _newest(readings: list[models.Reading], fields: Sequence[tuple[int, int]]) -> list[Any]:
    if len(readings) > 1:
        readings.sort(key=_recorded_at, reverse=True)  # stable, so the first received stays first among equals
        times = list(map(_recorded_at, readings))
        if any(map(operator.eq, times, itertools.islice(times, 1, None))):
            readings = fold.fold(readings).rows
    newest = readings[0]
    state: list[Any] = [newest[0], newest[1]]
    add = state.append
    for first, last in fields:
        for reading in readings:
            value = reading[first]
            if value is None:
                continue
            if first != last:
                second = reading[last]
                if second is None:
                    continue
                add(value)
                value = second
            add(value)
            add(reading[1])
            break
        else:
            state += _NOTHING[: last - first + 2]
    return state
