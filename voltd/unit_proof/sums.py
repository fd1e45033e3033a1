"""Sums over time that can be compared: of registers, intervals, power or speed, and distances. Pure.

Each has bounds: a register has steps, power and speed change between two readings, and a road has curves.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

Point = tuple[float, float]  # seconds since 1970, value

LONGEST_S = 900.0  # between two readings of energy or power
LONGEST_ON_ROAD_S = 120.0  # between two of speed or position
_HOUR_S = 3600.0
_SIGMAS = 2.0
_SLOW_KMH, _FASTEST_KMH = 50.0, 300.0  # below the one roads wind, above the other a position is wrong
_SHARPEST = math.pi / 2  # turn between two legs
_POSITION_ERROR = 0.03  # share of a leg
_EARTH_KM = 6371.0
_MOST_DECIMALS = 6


class Range(NamedTuple):
    """A sum over a period: the best value, and what it is at least and at most."""

    value: float
    low: float
    high: float


class Total:
    """A sum that grows over a period without a gap.

    Args:
        times: seconds since 1970, growing.
        sums: at each of them, from 0 on.
        step: how far a difference of two may be off.
        more: at each of them, by how much the sum may be larger than it seems.
        variance: at each of them, of the sum up to there.
        per_hour: how far it may be off in an hour.
    """

    def __init__(
        self,
        times: Sequence[float],
        sums: Sequence[float],
        *,
        step: float = 0.0,
        more: Sequence[float] = (),
        variance: Sequence[float] = (),
        per_hour: float = 0.0,
    ) -> None:
        self.times, self._sums, self._step, self._per_hour = times, sums, step, per_hour
        self._more, self._variance = more, variance

    def range(self, begin: float, end: float) -> Range:
        """The sum from begin to end, both within its times."""
        value = self._between(self._sums, begin, end)
        error = self._step + self._per_hour * (end - begin) / _HOUR_S
        if self._variance:
            error += _SIGMAS * math.sqrt(max(0.0, self._between(self._variance, begin, end)))
        more = self._between(self._more, begin, end) if self._more else 0.0
        return Range(value, value - error, value + error + more)

    def ends(self, begin: float, end: float) -> tuple[float, float] | None:
        """The first and the last of its times within [begin, end]; None: they are not two."""
        first, last = bisect.bisect_left(self.times, begin), bisect.bisect_right(self.times, end) - 1
        return (self.times[first], self.times[last]) if first < last else None

    def count(self, begin: float, end: float) -> int:
        """How many of its times are within [begin, end]."""
        return bisect.bisect_right(self.times, end) - bisect.bisect_left(self.times, begin)

    def whole(self) -> float:
        """The sum over all of it."""
        return self._sums[-1]

    def _between(self, sums: Sequence[float], begin: float, end: float) -> float:
        return self._at(sums, end) - self._at(sums, begin)

    def _at(self, sums: Sequence[float], at: float) -> float:
        after = bisect.bisect_left(self.times, at)
        if after == len(self.times):
            return sums[-1]
        if self.times[after] == at or after == 0:
            return sums[after]
        before = after - 1
        share = (at - self.times[before]) / (self.times[after] - self.times[before])
        return sums[before] + share * (sums[after] - sums[before])


def registers(points: Sequence[Point], longest_s: float) -> list[Total]:
    """Growth of a register, from each reset or gap to the next; ``step`` is the smallest growth between readings."""
    found = []
    for run in _runs(points, longest_s, resets=True):
        first = run[0][1]
        sums = [value - first for _, value in run]
        found.append(_stepped([at for at, _ in run], sums))
    return found


def intervals(points: Sequence[Point]) -> list[Total]:
    """Energies since the reading before, added up; the first one of a run is of the time before it."""
    found = []
    for run in _runs(points, LONGEST_S):
        sums = [0.0, *itertools.accumulate(value for _, value in run[1:])]
        found.append(_stepped([at for at, _ in run], sums))
    return found


def _stepped(times: list[float], sums: list[float]) -> Total:
    steps = [other - one for one, other in itertools.pairwise(sums) if other > one]
    return Total(times, sums, step=min(steps, default=0.0))


def integrals(points: Sequence[Point], longest_s: float) -> list[Total]:
    """Power or speed, integrated over hours between gaps and negative values.

    What happens between two readings is not known: half of their difference is taken for the deviation, and half of the
    last digit is lost anyway.
    """
    found = []
    positive = [one if one[1] >= 0 else None for one in points]
    for here in _split(positive):
        for run in _runs(here, longest_s):
            sums, variance = [0.0], [0.0]
            for (begin, one), (end, other) in itertools.pairwise(run):
                hours = (end - begin) / _HOUR_S
                sums.append(sums[-1] + (one + other) / 2 * hours)
                variance.append(variance[-1] + (abs(other - one) / 2 * hours) ** 2)
            times = [at for at, _ in run]
            found.append(Total(times, sums, variance=variance, per_hour=_last_digit(run) / 2))
    return found


def _split(points: Sequence[Point | None]) -> Iterator[list[Point]]:
    for known, group in itertools.groupby(points, lambda one: one is not None):
        if known:
            yield [one for one in group if one is not None]


def _last_digit(run: Sequence[Point]) -> float:
    """The smallest decimal place in use."""
    values = {value for _, value in run}
    for decimals in range(_MOST_DECIMALS):
        if all(abs(value - round(value, decimals)) < 10.0**-_MOST_DECIMALS for value in values):
            return 10.0**-decimals
    return 0.0


def distances(latitudes: Sequence[Point], longitudes: Sequence[Point]) -> list[Total]:
    """Kilometres between positions, where a vehicle is fast and its road nearly straight.

    A parked receiver wanders, and a road between two positions is longer than the distance: both are left out, or a
    bound says so. A position that is repeated is an old one.
    """
    east = dict(longitudes)
    positions = [(at, latitude, east[at]) for at, latitude in latitudes if at in east]
    moved = [one for place, one in enumerate(positions) if not place or one[1:] != positions[place - 1][1:]]
    legs = [_Leg.between(one, other) for one, other in itertools.pairwise(moved)]
    found = []
    for fast, group in itertools.groupby(legs, lambda one: one.is_fast):
        if fast:
            found += list(_straight(list(group)))
    return found


class _Leg(NamedTuple):
    begin: float
    end: float
    km: float
    heading: float

    @classmethod
    def between(cls, one: tuple[float, float, float], other: tuple[float, float, float]) -> _Leg:
        (begin, south, west), (end, north, east) = one, other
        up = math.radians(north - south)
        right = math.radians((east - west + 180) % 360 - 180) * math.cos(math.radians((north + south) / 2))
        return cls(begin, end, _EARTH_KM * math.hypot(up, right), math.atan2(right, up))

    @property
    def is_fast(self) -> bool:
        seconds = self.end - self.begin
        kmh = self.km / seconds * _HOUR_S if seconds else math.inf
        return seconds <= LONGEST_ON_ROAD_S and _SLOW_KMH <= kmh <= _FASTEST_KMH


def _straight(legs: Sequence[_Leg]) -> Iterator[Total]:
    """Runs of legs without a sharp turn."""
    turns = [_turn(one, other) for one, other in itertools.pairwise(legs)]
    start = 0
    for place in range(1, len(legs) + 1):
        if place < len(legs) and turns[place - 1] <= _SHARPEST:
            continue
        run = legs[start:place]
        sums, more = [0.0], [0.0]
        for number, leg in enumerate(run, start):
            near = turns[max(start, number - 1) : min(place - 1, number + 1)]
            angle = max(near, default=0.0) / 2
            longer = angle / math.sin(angle) - 1 if angle else 0.0
            sums.append(sums[-1] + leg.km)
            more.append(more[-1] + leg.km * (2 * longer + _POSITION_ERROR))
        yield Total([run[0].begin, *(leg.end for leg in run)], sums, more=more)
        start = place


def _turn(one: _Leg, other: _Leg) -> float:
    return abs((other.heading - one.heading + math.pi) % (2 * math.pi) - math.pi)


def _runs(points: Sequence[Point], longest_s: float, *, resets: bool = False) -> Iterator[list[Point]]:
    """Stretches of at least two points without a gap, each time once; with ``resets`` none of them falls."""
    run: list[Point] = []
    for point in points:
        if run and point[0] == run[-1][0]:
            continue
        if run and (point[0] - run[-1][0] > longest_s or (resets and point[1] < run[-1][1])):
            if len(run) > 1:
                yield run
            run = []
        run.append(point)
    if len(run) > 1:
        yield run
