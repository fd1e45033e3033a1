"""Device clocks: how far one is off, as distinguished from readings that were delayed on their way. Pure.

Used by ``cycle.inputs`` (live) and ``backtest``, with one sample a device and look: of the readings since the last look
the newest by the device's own time. A clock that is certainly behind corrects the time of the device's readings
(``corrected``), so that a wrong clock neither hides nor causes an alert.
"""

from __future__ import annotations

import datetime as dt
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from voltd.rules import observation

WORTH_S = 60.0  # a clock that is less behind needs no correction

_COMPARABLE = dt.timedelta(minutes=15)
_RUN_EXPIRES = dt.timedelta(days=1)
_JITTER_S = 2.0
_PACE = 0.25
_SPREAD_S = 17.0  # of the samples that make it certain
_LOOKS = 3
_NEAR_S = 60.0


class Sample(NamedTuple):
    """A reading's arrival, and how far its ``recorded_at`` was behind it, s; negative: ahead."""

    arrived_at: dt.datetime
    behind_s: float


class _Run(NamedTuple):
    """Samples in a row that keep pace."""

    first: Sample
    last: Sample
    looks: int
    least_s: float


class DeviceClocks:
    """The last samples of each device that seemed to be behind, and how far behind it certainly is.

    Attributes:
        behind_s: of each device whose clock is certainly behind: by how many seconds. Never more than any of its last
            readings took to arrive.
    """

    def __init__(self) -> None:
        self._last: dict[observation.DeviceKey, Sample] = {}
        self._runs: dict[observation.DeviceKey, _Run] = {}
        self.behind_s: dict[observation.DeviceKey, float] = {}

    def off_s(self, key: observation.DeviceKey, sample: Sample, limit_s: float) -> tuple[float, bool]:
        """How far the clock is off, and whether that is certain.

        A clock that is behind stays as far behind: its time advances with the time of arrival, to within a quarter and
        some seconds of the network. A backlog arrives faster than it was measured, or the newest first. A late reading
        never looks ahead. A first sample is believed: rules ask for several in a row.

        Args:
            key: the device.
            sample: not older than its last one.
            limit_s: no rule concerns a clock that is less off, s.

        Returns:
            seconds without sign; if it is not certain, at most ``limit_s``.
        """
        self._learn(key, sample)
        last = self._last.pop(key, None)
        if sample.behind_s <= limit_s:
            return abs(sample.behind_s), True
        self._last[key] = sample
        if last is None or sample.arrived_at - last.arrived_at > _COMPARABLE or _keeps_pace(last, sample):
            return sample.behind_s, True
        return limit_s, False

    def _learn(self, key: observation.DeviceKey, sample: Sample) -> None:
        """Certain after three looks in a row, as with the shipped rule on clocks, until a sample contradicts it.

        A reading cannot arrive before it is measured: one that took less than the clock is behind contradicts it. One
        that took longer was delayed and says nothing.
        """
        known = self.behind_s.get(key)
        if known is not None and sample.behind_s < known:
            if known - sample.behind_s <= _SPREAD_S and sample.behind_s > WORTH_S:
                self.behind_s[key] = sample.behind_s
            else:
                del self.behind_s[key]
        if sample.behind_s <= WORTH_S:
            self._runs.pop(key, None)
            return
        run = self._runs.get(key)
        if run is None or not (
            _keeps_pace(run.last, sample) and abs(run.first.behind_s - sample.behind_s) <= _SPREAD_S
        ):
            self._runs[key] = _Run(sample, sample, 1, sample.behind_s)
            return
        if sample.arrived_at == run.last.arrived_at:  # nothing has arrived since the last look
            return
        run = _Run(run.first, sample, run.looks + 1, min(run.least_s, sample.behind_s))
        self._runs[key] = run
        if run.looks >= _LOOKS:
            known = self.behind_s.get(key)
            if known is None or run.least_s > known + _SPREAD_S:
                self.behind_s[key] = run.least_s

    def forget(self, now: dt.datetime) -> None:
        """Drops samples that are too old to be compared with."""
        self._last = {key: one for key, one in self._last.items() if now - one.arrived_at <= _COMPARABLE}
        self._runs = {key: one for key, one in self._runs.items() if now - one.last.arrived_at <= _RUN_EXPIRES}


def _keeps_pace(last: Sample, sample: Sample) -> bool:
    passed_s = (sample.arrived_at - last.arrived_at).total_seconds()
    return abs(sample.behind_s - last.behind_s) <= _JITTER_S + _PACE * passed_s


def shared(behind_s: Sequence[float]) -> tuple[float, int] | None:
    """By how much most of these clocks are behind, and how many agree, to within a minute and half of it.

    Args:
        behind_s: of each clock that is off: by how much; negative: ahead.

    Returns:
        None if no majority agrees.
    """
    if not behind_s:
        return None
    middle = statistics.median_low(behind_s)
    near_s = min(_NEAR_S, abs(middle) / 2)
    agree = sum(abs(one - middle) <= near_s for one in behind_s)
    return (middle, agree) if 2 * agree > len(behind_s) else None


def corrected(recorded_at: dt.datetime, received_at: dt.datetime, behind_s: float) -> dt.datetime:
    """When a reading was measured, as far as is known: never after its own arrival.

    The time of a clock that is behind is corrected, unless the reading took less than that to arrive: then its clock
    has been set.

    Args:
        recorded_at: by the device's clock.
        received_at: first arrival.
        behind_s: how far that clock is certainly behind; 0: it is not.
    """
    if behind_s and (received_at - recorded_at).total_seconds() >= behind_s - _SPREAD_S:
        recorded_at += dt.timedelta(seconds=behind_s)
    return min(recorded_at, received_at)
