"""The energy of one device from the definition alone, slowly and exactly: what the SQL is compared with.

It takes all readings of a device and answers for any period. It shares no code with what it tests, and reads no table.

What the definition leaves open is decided like this:

- A reading belongs to the UTC day of its stamp, midnight to the day that begins. Spacings count within one day, and
  their median is the lower one; of intervals it is in whole seconds. Every reading that has the field counts for the
  spacing, also one that the register's curve leaves out. A stretch has the spacing of the day on which it begins.
- An interval over 15 minutes is treated like a gap: a period that cuts it shows an even share from 0 to the whole, a
  period that contains it whole is exact. Without energy it is known to be 0.
- A reading of interval energy that lies partly in time of the register counts for the rest of its time. Over 15 minutes
  long it is then estimated for every period: how much of it lay in the rest is unknown.
- A gap counts as covered: its total is known. `estimated` keeps it from being compared where a period cuts it.
- In a stretch of the register over 15 minutes, a gap or not, intervals count in their own time, with the energy of
  their parts inside it. What the stretch rose beyond them is spread evenly over the time that they leave, and that time
  is treated like the whole stretch without them: known, or a gap. If they leave no energy, the time that they leave is
  not covered, also where neither has any. If they leave no time, they alone count. Overlapping intervals each count.
- A stretch of 15 minutes or less goes to the register alone.
- In a suspect stretch, long or short, the register knows nothing: intervals count there, and it stays suspect.
- A step down is decided by its next reading for session registers, too. Impossible for its time, the new session is
  listed with nothing credited.
- A lower start is a stretch without rise: known, covered and 0. In a gap it is suspect instead: its energy is unknown.
  A session that is credited nothing is no lower start.
- A decision replaces what the reading would be taken for. Ignored, it is no value and no witness, but counts for the
  spacing. A decided start (`reset`, `exchange`) ends one register and begins another: no reading before it has one
  behind it as a witness, the last accepted one before it and the start bound a stretch that rises by what was decided,
  and however long or impossible that stretch is, its rise is known.
"""

import bisect
import datetime as dt
import itertools
import statistics
from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

from support.energy import model, registers


class _Piece(NamedTuple):
    """Energy that is spread evenly over spans in order and counts in parts of them, or in all."""

    kwh: Fraction
    spread: list[model.Span]
    counts_in: list[model.Span]
    course_known: bool
    source: model.Source
    whole: model.Span  # in which its course is unknown, where it is

    @property
    def length(self) -> Fraction:
        """The time that it is spread over, in microseconds."""
        return Fraction(sum(span.length for span in self.spread))


class Energy:
    """The energy of one device.

    Attributes:
        events: what its register did other than rise.
        gaps: from where to where only the total of some energy is known.

    Args:
        side: the device and all its readings, in any order.
        jitter_kwh: tolerance of the register; a test moves it a little to find readings that lie on its edge.
    """

    def __init__(self, side: model.Side, *, jitter_kwh: Fraction = registers.JITTER_KWH) -> None:
        readings = sorted(side.readings, key=lambda one: one.at)
        intervals = [
            (model.micros(one.at), model.exact(one.interval_kwh)) for one in readings if one.interval_kwh is not None
        ]
        values = [
            registers.Value(model.micros(one.at), model.exact(one.register_kwh))
            for one in readings
            if one.register_kwh is not None
        ]
        curve = registers.curve_of(values, side, jitter_kwh)
        self.events = curve.events

        width = _widths((at for at, _ in intervals), side.device, model.SECOND)
        spans = [(model.Span(at - width[at // model.DAY], at), kwh) for at, kwh in intervals]
        by_intervals = model.union(span for span, _ in spans)

        spacing = _widths((value.at for value in values), side.device)
        suspect: list[model.Span] = []
        kept: list[_Piece] = []
        for stretch in curve.stretches:
            span = stretch.span
            gap = span.length > max(2 * spacing[int(span.start) // model.DAY], model.QUARTER)
            if stretch.suspect or (gap and stretch.starts_lower):
                suspect.append(span)
                continue
            left = model.without(span, by_intervals)
            if span.length <= model.QUARTER or left == [span]:
                known = not gap or stretch.rise_kwh == 0
                kept.append(_Piece(stretch.rise_kwh, [span], [span], known, "register", span))
                continue
            rest = stretch.rise_kwh - _energy_inside(span, spans)
            if rest > 0 and left:
                kept.append(_Piece(rest, left, left, not gap, "register", span))
        by_register = model.union(span for piece in kept for span in piece.spread)
        self._suspect = model.union(suspect)
        self._covered = model.union([*by_register, *by_intervals])
        self._pieces = kept + [
            _Piece(
                kwh,
                [span],
                model.without(span, by_register),
                span.length <= model.QUARTER or kwh == 0,
                "interval",
                span,
            )
            for span, kwh in spans
        ]
        self._pieces.sort(key=lambda piece: piece.spread[-1].end)
        self.gaps = [piece.whole for piece in self._pieces if not piece.course_known]
        self._ends = [piece.spread[-1].end for piece in self._pieces]

    def of(self, start: dt.datetime, end: dt.datetime) -> model.Figure:
        """The energy in the period [start, end)."""
        period = model.Span(model.micros(start), model.micros(end))
        energy = low = high = Fraction(0)
        estimated = False
        sources: set[model.Source] = set()
        for piece in self._pieces[bisect.bisect_right(self._ends, period.start) :]:
            inside = model.within(period, piece.counts_in) if piece.spread[0].start < period.end else 0
            if not inside:
                continue
            sources.add(piece.source)
            share = piece.kwh * inside / piece.length
            energy += share
            if piece.course_known or inside == piece.length:
                low += share
                high += share
            else:
                estimated = True
                high += piece.kwh
        return model.Figure(
            start=start,
            end=end,
            energy_kwh=energy,
            covered=Fraction(model.within(period, self._covered)) / Fraction(period.length),
            estimated=estimated,
            suspect=model.within(period, self._suspect) > 0,
            low_kwh=low,
            high_kwh=high,
            source="mixed" if len(sources) > 1 else next(iter(sources), "none"),
        )

    def quarters(self, start: dt.datetime, end: dt.datetime) -> list[model.Figure]:
        """The quarter hours from `start` to `end`, which are whole quarter hours."""
        width = dt.timedelta(minutes=15)
        return [
            self.of(start + number * width, start + (number + 1) * width) for number in range((end - start) // width)
        ]


def _energy_inside(stretch: model.Span, spans: list[tuple[model.Span, Fraction]]) -> Fraction:
    """The energy of the parts of intervals that lie in a stretch."""
    return sum((kwh * model.within(span, [stretch]) / span.length for span, kwh in spans), Fraction(0))


def _widths(times: Iterable[int], device: model.Device, unit: int = 1) -> dict[int, Fraction | int]:
    """By UTC day: the registry's interval, else the lower median spacing within the day, else a quarter hour.

    The median is rounded to whole units, and at least one.
    """
    days: dict[int, list[int]] = {}
    for at in times:
        days.setdefault(at // model.DAY, []).append(at)
    if device.interval_s is not None:
        return dict.fromkeys(days, model.exact(device.interval_s) * model.SECOND)
    return {day: max(unit, unit * ((_median_spacing(stamps) + unit // 2) // unit)) for day, stamps in days.items()}


def _median_spacing(stamps: list[int]) -> int:
    spacings = [after - before for before, after in itertools.pairwise(stamps)]
    return statistics.median_low(spacings) if spacings else model.QUARTER
