"""The efficiency of one vehicle from the definition alone, slowly and exactly: what the SQL is compared with.

It knows the energy of each side from the oracle of energy, and nothing of SQL. One meter at a time, which feeds no
other vehicle. Of the definition it takes:

- In a quarter hour that a link touches the meter is the AC side, as far as the link goes. In all others it is the
  on-board charger, if the vehicle has an AC register.
- A quarter hour is compared by itself; those that a gap of either side touches are compared as one. Half a minute at
  either end of a gap touches nothing. A gap that the period cuts, that the link cuts, or that leaves the time of the
  on-board charger, is not compared.
- Of an on-board charger nothing is compared where more DC arrived than AC went in (beyond 0.05 kWh), or over 44 kW:
  that is fast charging, which passes it.
- AC while nothing arrives is standby up to the standby power and unassigned above it. Of an on-board charger it is
  standby where DC is known for 80 % of the time, and neither where it is not.
"""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

from support.energy import model
from support.energy.oracle import Energy

_QUARTER = dt.timedelta(minutes=15)
_MOST_ONBOARD_KW = 44
_RESOLUTION_KWH = Fraction("0.05")
_HALF_MINUTE = 30 * model.SECOND


class Link(NamedTuple):
    """A meter with the time of its link."""

    meter_id: str
    meter: Energy
    since: dt.datetime
    until: dt.datetime


@dataclasses.dataclass(frozen=True)
class Vehicle:
    """What is known of a vehicle: its energies, its meters, and when it was faster than 5 km/h."""

    dc: Energy
    onboard: Energy | None = None
    links: Sequence[Link] = ()
    moved: Sequence[dt.datetime] = ()


@dataclasses.dataclass(frozen=True)
class Efficiency:
    """What a period comes to, as the columns of ``volt.vehicle_efficiency`` are called; None: nothing is known."""

    dc_kwh: Fraction | None
    ac_kwh: Fraction | None
    comparable_dc_kwh: Fraction | None
    comparable_ac_kwh: Fraction | None
    standby_kwh: Fraction
    unassigned_kwh: Fraction
    meter_id: str | None
    source: Literal["meter", "onboard", "mixed"] | None
    quality: str


@dataclasses.dataclass(frozen=True)
class _Quarter:
    start: dt.datetime
    end: dt.datetime
    dc: model.Figure | None
    ac: model.Figure | None
    meter_id: str | None
    moved: bool
    cut: bool

    @property
    def onboard(self) -> bool:
        return self.ac is not None and self.meter_id is None

    @property
    def seconds(self) -> Fraction:
        return _seconds(self.start, self.end)


class _Together(NamedTuple):
    """Quarter hours that are compared as one."""

    dc_kwh: Fraction | None
    ac_kwh: Fraction | None
    dc_covered: Fraction
    ac_covered: Fraction
    limit_kwh: Fraction
    charged_kwh: Fraction
    onboard: bool
    fast: bool
    cut: bool
    moved: bool
    suspect: bool

    @property
    def runs(self) -> bool:
        """The AC side is above its standby."""
        return self.ac_kwh is not None and self.ac_kwh > self.limit_kwh

    @property
    def comparable(self) -> bool:
        """Both sides are known, and they are of the same energy."""
        measured = self.dc_covered >= Fraction("0.8") and self.ac_covered >= Fraction("0.8")
        wrong = self.cut or self.moved or self.suspect or self.fast
        return not wrong and bool(self.dc_kwh) and measured and self.runs

    @property
    def idle_kwh(self) -> Fraction:
        """AC energy while nothing arrived."""
        return self.ac_kwh if self.ac_kwh is not None and not self.cut and not self.dc_kwh else Fraction(0)


def _known(energy: Energy, start: dt.datetime, end: dt.datetime) -> model.Figure | None:
    figure = energy.of(start, end)
    return figure if figure.source != "none" or figure.covered or figure.suspect else None


def _quarter(vehicle: Vehicle, start: dt.datetime, end: dt.datetime, full: dt.datetime) -> _Quarter:
    """The quarter hour from ``full`` on, as far as it is from ``start`` to ``end``."""
    links = [one for one in vehicle.links if one.since < full + _QUARTER and one.until > full]
    assert len(links) <= 1
    ac, meter_id, cut = None, None, False
    for link in links:
        since, until = max(start, link.since), min(end, link.until)
        ac = _known(link.meter, since, until) if since < until else None
        meter_id = link.meter_id if ac else None
        reach = model.Span(model.micros(link.since), model.micros(link.until))
        cut = ac is not None and ((since, until) != (start, end) or _leaves(ac, link.meter, reach))
    if not links and vehicle.onboard is not None:
        ac = _known(vehicle.onboard, start, end)
        cut = ac is not None and any(_leaves(ac, vehicle.onboard, one) for one in _free(vehicle, start))
    return _Quarter(
        start, end, _known(vehicle.dc, start, end), ac, meter_id, any(start <= at < end for at in vehicle.moved), cut
    )


def _free(vehicle: Vehicle, at: dt.datetime) -> list[model.Span]:
    """The time around ``at`` that no link touches, in whole quarter hours."""
    links = [
        model.Span(start := model.micros(one.since) // model.QUARTER * model.QUARTER,
                   max(start, -(-model.micros(one.until) // model.QUARTER) * model.QUARTER))
        for one in vehicle.links
    ]  # fmt: skip
    life = model.Span(model.micros(at) - 1000 * model.DAY, model.micros(at) + 1000 * model.DAY)
    return [one for one in model.without(life, model.union(links)) if one.start <= model.micros(at) < one.end]


def _leaves(figure: model.Figure, energy: Energy, time: model.Span) -> bool:
    """Whether a gap that lies in a figure is not all in a time."""
    gaps = [one for one in energy.gaps if _meets(one, figure.start, figure.end)]
    return any(one.start < time.start or one.end > time.end for one in gaps)


def _meets(span: model.Span, start: dt.datetime, end: dt.datetime) -> bool:
    return span.start < model.micros(end) and span.end > model.micros(start)


def efficiency(vehicle: Vehicle, start: dt.datetime, end: dt.datetime, standby_kw: Fraction) -> Efficiency | None:
    """The efficiency of a vehicle in a period; None: nothing is known."""
    at = start - (start - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) % _QUARTER
    quarters = []
    while at < end:
        quarters.append(_quarter(vehicle, max(at, start), min(at + _QUARTER, end), at))
        at += _QUARTER
    quarters = [one for one in quarters if one.dc or one.ac]
    if not quarters:
        return None
    gaps = [
        gap
        for one in quarters
        for figure, energy in ((one.dc, vehicle.dc), (one.ac, _ac_of(vehicle, one)))
        if figure and energy
        for gap in energy.gaps
        if _meets(gap, one.start, one.end)
    ]
    parts = [_together(part, gaps, start, end, standby_kw) for part in _grouped(quarters, gaps)]
    return _summed(parts, quarters)


def _ac_of(vehicle: Vehicle, quarter: _Quarter) -> Energy | None:
    if quarter.meter_id is None:
        return vehicle.onboard
    return next(one.meter for one in vehicle.links if one.meter_id == quarter.meter_id)


def _grouped(quarters: list[_Quarter], gaps: list[model.Span]) -> Iterable[list[_Quarter]]:
    """Quarter hours by the gap that they lie in, each other by itself."""
    touched = [
        model.Span(
            (gap.start + _HALF_MINUTE) // model.QUARTER * model.QUARTER,
            -(-(gap.end - _HALF_MINUTE) // model.QUARTER) * model.QUARTER - 1,
        )
        for gap in gaps
    ]
    together: dict[int, list[_Quarter]] = {}
    spans = model.union(touched)
    for one in quarters:
        at = model.micros(one.start) // model.QUARTER * model.QUARTER
        inside = [int(span.start) for span in spans if span.start <= at < span.end]
        together.setdefault(inside[0] if inside else at, []).append(one)
    return together.values()


def _together(
    quarters: list[_Quarter], gaps: list[model.Span], start: dt.datetime, end: dt.datetime, standby_kw: Fraction
) -> _Together:
    seconds = sum((one.seconds for one in quarters), Fraction(0))
    dc, ac = ([getattr(one, side) for one in quarters if getattr(one, side)] for side in ("dc", "ac"))
    dc_kwh, ac_kwh = (sum((one.energy_kwh for one in side), Fraction(0)) if side else None for side in (dc, ac))
    dc_covered, ac_covered = (_covered_s(side) / seconds for side in (dc, ac))
    onboard = any(one.onboard for one in quarters)
    full_dc = dc_kwh / min(dc_covered, Fraction(1)) if dc_kwh and dc_covered else Fraction(0)
    full_ac = ac_kwh / min(ac_covered, Fraction(1)) if ac_kwh and ac_covered else Fraction(0)
    cut_gaps = [
        gap
        for gap in gaps
        if any(_meets(gap, one.start, one.end) for one in quarters)
        for core in [model.Span(gap.start + _HALF_MINUTE, gap.end - _HALF_MINUTE)]
        if _meets(core, start, end) and (core.start < model.micros(start) or core.end > model.micros(end))
    ]
    return _Together(
        dc_kwh=dc_kwh,
        ac_kwh=ac_kwh,
        dc_covered=dc_covered,
        ac_covered=ac_covered,
        limit_kwh=standby_kw * seconds / 3600,
        charged_kwh=sum((one.dc.energy_kwh for one in quarters if one.dc and not one.moved), Fraction(0)),
        onboard=onboard,
        fast=onboard and (full_dc > full_ac + _RESOLUTION_KWH or full_dc > _MOST_ONBOARD_KW * seconds / 3600),
        cut=any(one.cut for one in quarters) or bool(cut_gaps),
        moved=any(one.moved for one in quarters),
        suspect=any(one.suspect for one in [*dc, *ac]),
    )


def _seconds(start: dt.datetime, end: dt.datetime) -> Fraction:
    return Fraction((end - start) // dt.timedelta(microseconds=1), model.SECOND)


def _covered_s(figures: Iterable[model.Figure]) -> Fraction:
    """For how long a side is known."""
    return sum((one.covered * _seconds(one.start, one.end) for one in figures), Fraction(0))


def _sum_or_none(values: Iterable[Fraction | None]) -> Fraction | None:
    known = [one for one in values if one is not None]
    return sum(known, Fraction(0)) if known else None


def _summed(parts: list[_Together], quarters: list[_Quarter]) -> Efficiency:
    compared = [one for one in parts if one.comparable]
    idle = [one for one in parts if one.idle_kwh]
    standby = [one for one in idle if not one.runs or (one.onboard and one.dc_covered >= Fraction("0.8"))]
    unassigned = [one for one in idle if one.runs and not one.onboard]
    alone = any(one.runs and one.onboard and one.dc_covered < Fraction("0.8") for one in idle)
    sources = {"onboard" if one.onboard else "meter" for one in quarters if one.ac}
    comparable_dc = _sum_or_none(one.dc_kwh and one.dc_kwh / min(one.dc_covered, Fraction(1)) for one in compared)
    comparable_ac = _sum_or_none(one.ac_kwh and one.ac_kwh / min(one.ac_covered, Fraction(1)) for one in compared)
    charged = sum((one.charged_kwh for one in parts), Fraction(0))
    if comparable_dc is not None and comparable_ac is not None:
        pct = 100 * comparable_dc / comparable_ac
        if any(one.suspect for one in parts) or not 20 <= pct <= 100:
            quality = "suspect"
        else:
            enough = sum((one.dc_kwh or Fraction(0) for one in compared), Fraction(0)) >= Fraction("0.8") * charged
            quality = "ok" if enough else "partial"
    elif any(one.cut and (one.charged_kwh > 0 or one.runs) for one in parts):
        quality = "estimated"
    elif any(one.suspect for one in parts):
        quality = "suspect"
    elif charged > 0:
        quality = "partial" if any(one.runs and not one.fast for one in parts) else "no_ac"
    elif unassigned or alone:
        missing = any(one.runs and one.dc_covered < Fraction("0.8") for one in parts)
        quality = "no_dc" if missing else "unassigned"
    else:
        quality = "idle"
    meters = sorted({one.meter_id for one in quarters if one.meter_id})
    return Efficiency(
        dc_kwh=_sum_or_none(one.dc_kwh for one in parts),
        ac_kwh=_sum_or_none(one.ac_kwh for one in parts),
        comparable_dc_kwh=comparable_dc,
        comparable_ac_kwh=comparable_ac,
        standby_kwh=sum((one.idle_kwh for one in standby), Fraction(0)),
        unassigned_kwh=sum((one.idle_kwh for one in unassigned), Fraction(0)),
        meter_id=", ".join(meters) or None,
        source="mixed" if len(sources) > 1 else next(iter(sources), None),  # type: ignore[arg-type]
        quality=quality,
    )
