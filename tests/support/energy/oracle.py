"""The energy of one device from the definition alone, slowly and exactly: what the SQL is compared with.

It takes all readings of a device and answers for any period. It shares no code with what it tests, and reads no table.

What the definition leaves open is decided like this:

- A reading belongs to the UTC day of its stamp, midnight to the day that begins. Spacings count within one day. Every
  reading that has the field counts for the spacing, also one that the register's curve leaves out.
- An interval over 15 minutes is treated like a gap: a period that cuts it shows an even share from 0 to the whole, a
  period that contains it whole is exact. Without energy it is known to be 0.
- A reading of interval energy that lies partly in a known stretch of the register counts for the rest of its time. Over
  15 minutes long it is then estimated for every period: how much of it lay in the rest is unknown.
- A gap counts as covered: its total is known. `estimated` keeps it from being compared where a period cuts it.
- A long stretch of the register goes to the intervals where they cover at least half of it, whether it rose or not. The
  part that they leave is then not covered. Otherwise intervals inside it do not count.
- In a suspect stretch, long or short, the register knows nothing: intervals count there, and it stays suspect.
- A step down is decided by its next reading for session registers, too. Impossible for its time, the new session is
  listed with nothing credited.
- A lower start that is credited nothing is a stretch without rise: known, covered and 0.
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
    """Energy that is spread evenly over a span and counts in parts of it, or in all."""

    span: model.Span
    kwh: Fraction
    counts_in: list[model.Span]
    course_known: bool
    source: model.Source


class Energy:
    """The energy of one device.

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
        curve = registers.curve_of(values, side.device, jitter_kwh)
        self.events = curve.events
        self._suspect = model.union(one.span for one in curve.stretches if one.suspect)

        width = _widths((at for at, _ in intervals), side.device)
        spans = [(model.Span(at - width[at // model.DAY], at), kwh) for at, kwh in intervals]
        by_intervals = model.union(span for span, _ in spans)

        spacing = _widths((value.at for value in values), side.device)
        kept: list[_Piece] = []
        for span, rise, suspect in curve.stretches:
            gap = span.length > max(2 * spacing[int(span.start) // model.DAY], model.QUARTER)
            if suspect or (gap and 2 * model.within(span, by_intervals) >= span.length):
                continue
            kept.append(_Piece(span, rise, [span], not gap or rise == 0, "register"))
        known = model.union(piece.span for piece in kept)
        self._covered = model.union([*known, *by_intervals])
        self._pieces = kept + [
            _Piece(span, kwh, model.without(span, known), span.length <= model.QUARTER or kwh == 0, "interval")
            for span, kwh in spans
        ]
        self._pieces.sort(key=lambda piece: piece.span.end)
        self._ends = [piece.span.end for piece in self._pieces]

    def of(self, start: dt.datetime, end: dt.datetime) -> model.Figure:
        """The energy in the period [start, end)."""
        period = model.Span(model.micros(start), model.micros(end))
        energy = low = high = Fraction(0)
        estimated = False
        sources: set[model.Source] = set()
        for piece in self._pieces[bisect.bisect_right(self._ends, period.start) :]:
            inside = model.within(period, piece.counts_in) if piece.span.start < period.end else 0
            if not inside:
                continue
            sources.add(piece.source)
            share = piece.kwh * Fraction(inside) / Fraction(piece.span.length)
            energy += share
            if piece.course_known or inside == piece.span.length:
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


def _widths(times: Iterable[int], device: model.Device) -> dict[int, Fraction | int]:
    """By UTC day: the registry's interval, else the median spacing within the day, else a quarter hour."""
    days: dict[int, list[int]] = {}
    for at in times:
        days.setdefault(at // model.DAY, []).append(at)
    if device.interval_s is not None:
        return dict.fromkeys(days, model.exact(device.interval_s) * model.SECOND)
    return {day: _median_spacing(stamps) for day, stamps in days.items()}


def _median_spacing(stamps: list[int]) -> Fraction | int:
    spacings = [Fraction(after - before) for before, after in itertools.pairwise(stamps)]
    return statistics.median(spacings) if spacings else model.QUARTER
