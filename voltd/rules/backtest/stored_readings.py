"""Stored readings at the corrected time and in its order, as the daemon saw them. Pure.

Part of ``history``. What the daemon knew of a clock when a reading arrived follows from the samples it looked at.
"""

from __future__ import annotations

import bisect
import datetime as dt
import heapq
from collections.abc import Iterable, Iterator
from typing import Any

from voltd.rules import device_clocks, observation

_AHEAD = dt.timedelta(days=1)  # the longest that a reading may be dated ahead
_INSTANT = dt.timedelta(microseconds=1)
_ANY: observation.DeviceKey = ("vehicle", "")


class ClockHistory:
    """How far one device's clock was certainly behind, as known at any time.

    Args:
        samples: (arrival, seconds behind) of it, one a look, in order.
    """

    def __init__(self, samples: Iterable[tuple[dt.datetime, float]]) -> None:
        self._since: list[dt.datetime] = []
        self._behind_s: list[float] = []
        seen = device_clocks.DeviceClocks()
        for at, behind_s in samples:
            seen.off_s(_ANY, device_clocks.Sample(at, behind_s), device_clocks.WORTH_S)
            known_s = seen.behind_s.get(_ANY, 0.0)
            if known_s != (self._behind_s[-1] if self._behind_s else 0.0):
                self._since.append(at)
                self._behind_s.append(known_s)

    def behind_s(self, at: dt.datetime) -> float:
        """How far it was known to be behind at this time, s; 0: not behind, or not known."""
        place = bisect.bisect_right(self._since, at)
        return self._behind_s[place - 1] if place else 0.0


def ordered(rows: Iterable[tuple[Any, ...]], clock: ClockHistory | None) -> Iterator[tuple[Any, ...]]:
    """Rows of one vehicle by corrected time; a row that was filled in has the arrival of the last message.

    Args:
        rows: vehicle, recorded_at, received_at, values, filled_at, by ``recorded_at``.
        clock: None: never behind.

    Yields:
        vehicle, corrected time, arrival, values.
    """
    waiting: list[tuple[dt.datetime, dt.datetime, tuple[Any, ...]]] = []
    last: dt.datetime | None = None
    for vehicle, recorded_at, received_at, *values, filled_at in rows:
        behind_s = clock.behind_s(received_at) if clock else 0.0
        at = device_clocks.corrected(recorded_at, received_at, behind_s)
        heapq.heappush(waiting, (at, recorded_at, (vehicle, at, filled_at or received_at, *values)))
        while waiting[0][0] < recorded_at - _AHEAD:  # none of the remaining rows can be older
            last, row = _next(waiting, last)
            yield row
    while waiting:
        last, row = _next(waiting, last)
        yield row


def _next(
    waiting: list[tuple[dt.datetime, dt.datetime, tuple[Any, ...]]], last: dt.datetime | None
) -> tuple[dt.datetime, tuple[Any, ...]]:
    at, _, row = heapq.heappop(waiting)
    if last is not None and at <= last:
        at = last + _INSTANT
    return at, (row[0], at, *row[2:])
