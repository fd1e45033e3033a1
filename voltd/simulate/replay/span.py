"""The time span of a recording, without rows whose clock was wrong.

A row dated 2032, or 1970 from a clock that was never set, must not decide the shift or how long a replay waits.
``plan`` adds each row's time; only counts per day are stored. Pure.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import NamedTuple

DAY_S = 86_400.0
YEAR_2000_S = 946_684_800.0  # clocks that were never set begin in 1970, 1980 or 2000
FAR_S = (30 * DAY_S, 365 * DAY_S)  # least and greatest distance that separates a few rows from the others
FAR_SPANS = 10  # between the two: this multiple of the span of all others
FEW = 0.01
ENOUGH_ROWS = 10  # fewer rows have no reliable span


@dataclasses.dataclass(slots=True)
class _Group:
    """Rows without a gap of more than a day between them."""

    rows: int
    line: int
    first_s: float
    last_s: float


class Outlier(NamedTuple):
    """Rows that lie far from all others: how many, the line of the first, its time in seconds since the epoch."""

    rows: int
    line: int
    at_s: float


class Span(NamedTuple):
    """Recorded times in seconds since the epoch, without the outliers, which lie outside."""

    first_s: float
    last_s: float
    outliers: tuple[Outlier, ...] = ()


class RecordedTimes:
    """The recorded times of a file, counted by day."""

    def __init__(self) -> None:
        self._days: dict[int, _Group] = {}

    def add(self, line: int, at_s: float) -> None:
        """Counts the time of a row."""
        day = int(at_s // DAY_S)
        group = self._days.get(day)
        if group is None:
            self._days[day] = _Group(1, line, at_s, at_s)
            return
        group.rows += 1
        group.first_s = min(group.first_s, at_s)
        group.last_s = max(group.last_s, at_s)

    def span(self, now_s: float) -> Span | None:
        """The span without outliers; None if there is no time at all.

        Outliers are, more than a day from all others:

        - at most half of the rows, where they are dated after ``now_s`` and a day (a recording holds no future) or
          before 2000 (a clock that was never set);
        - at most one row in a hundred (or one), where that is 365 days away, or, from at least ten others, 30 days and
          ten times as far as they reach.
        """
        groups = self._groups()
        if not groups:
            return None
        total = sum(group.rows for group in groups)
        outliers: list[_Group] = []
        while len(groups) > 1:
            odd = next((at for at in (-1, 0) if _odd(groups, at, now_s, total)), None)
            if odd is None:
                break
            outliers.append(groups.pop(odd))
        return Span(
            groups[0].first_s, groups[-1].last_s, tuple(Outlier(out.rows, out.line, out.first_s) for out in outliers)
        )

    def _groups(self) -> list[_Group]:
        groups: list[_Group] = []
        for day in (self._days[number] for number in sorted(self._days)):
            if groups and day.first_s - groups[-1].last_s <= DAY_S:
                last = groups[-1]
                last.rows += day.rows
                last.line = min(last.line, day.line)
                last.last_s = day.last_s
            else:
                groups.append(dataclasses.replace(day))
        return groups


def _odd(groups: list[_Group], at: int, now_s: float, total: int) -> bool:
    """Whether the first (0) or last (-1) group is an outlier; ``total`` includes groups removed before."""
    group = groups[at]
    rest = groups[1:] if at == 0 else groups[:-1]
    rest_rows = sum(other.rows for other in rest)
    left_out = total - rest_rows
    impossible = group.last_s < YEAR_2000_S if at == 0 else group.first_s > now_s + DAY_S
    if impossible and left_out * 2 <= total:
        return True
    reach_s = rest[-1].last_s - rest[0].first_s
    gap_s = rest[0].first_s - group.last_s if at == 0 else group.first_s - rest[-1].last_s
    few = rest_rows > 1 and left_out <= max(1, int(total * FEW))
    far_s = min(max(FAR_S[0], FAR_SPANS * reach_s), FAR_S[1]) if rest_rows >= ENOUGH_ROWS else FAR_S[1]
    return few and gap_s > far_s


def time_of(at_s: float) -> str:
    """A recorded time for people, in UTC to the second; at the ends of the calendar, the end."""
    least_s, most_s = -62_135_596_800.0, 253_402_300_799.0  # the years 1 and 9999, which end elsewhere with an offset
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=min(max(at_s, least_s), most_s))
    return moment.isoformat(timespec="seconds")[:19] + "Z"
