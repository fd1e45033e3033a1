"""Device clocks: how far one is off, told from readings that were only late on their way. Pure.

Used by ``check_read`` (live) and ``history``, with one sample a device and look: of what arrived since the last look
the newest by the device's own time.
"""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from voltd.rules import evaluate

_FORGOTTEN = dt.timedelta(minutes=15)
_JITTER_S = 2.0
_PACE = 0.25


class Sample(NamedTuple):
    """A reading's arrival, and how far its own time was behind it, s; negative: ahead."""

    arrived_at: dt.datetime
    behind_s: float


class Clocks:
    """The last sample of each device that seemed to be behind."""

    def __init__(self) -> None:
        self._last: dict[evaluate.Key, Sample] = {}

    def off_s(self, key: evaluate.Key, sample: Sample, limit_s: float) -> tuple[float, bool]:
        """How far the clock is off, and whether that is certain.

        A clock that is behind stays as far behind: it moves on with the time of arrival, to within a quarter and some
        seconds of the network. A backlog comes in faster than it was measured, or the newest first. Ahead is no
        reading for being late. One sample without another before it is believed: rules ask for several in a row.

        Args:
            key: the device.
            sample: not older than its last one.
            limit_s: what is not further off concerns no rule, s.

        Returns:
            seconds without sign; where it is not certain, at most ``limit_s``.
        """
        last = self._last.pop(key, None)
        if sample.behind_s <= limit_s:
            return abs(sample.behind_s), True
        self._last[key] = sample
        if last is None or sample.arrived_at - last.arrived_at > _FORGOTTEN or _keeps_pace(last, sample):
            return sample.behind_s, True
        return limit_s, False

    def forget(self, now: dt.datetime) -> None:
        """Drops what is too old to be compared with."""
        self._last = {key: one for key, one in self._last.items() if now - one.arrived_at <= _FORGOTTEN}


def _keeps_pace(last: Sample, sample: Sample) -> bool:
    passed_s = (sample.arrived_at - last.arrived_at).total_seconds()
    return abs(sample.behind_s - last.behind_s) <= _JITTER_S + _PACE * passed_s
