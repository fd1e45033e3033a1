"""How scenarios are written: times of one day, runs of readings, and what is asked."""

import datetime as dt
from dataclasses import dataclass
from typing import Literal

from support.energy.model import Decision, Device, EventKind, Reading, Side, Source

DAY = dt.datetime(2026, 3, 10, tzinfo=dt.UTC)

MINUTE = 60
AC = 0.1  # kWh a minute at the meter: 6 kW
DC = 0.092  # kWh a minute in the battery: 92 % of it


@dataclass(frozen=True)
class Ask:
    """A period of one side and its right figures, worked out by hand; without bounds both are the energy."""

    start: dt.datetime
    end: dt.datetime
    kwh: float
    covered: float = 1
    source: Source = "interval"
    estimated: bool = False
    suspect: bool = False
    bounds: tuple[float, float] | None = None
    side: Literal["vehicle", "meter"] = "meter"


@dataclass(frozen=True)
class Scenario:
    """A named situation; `events` are those of the meter, or of the vehicle where there is no meter."""

    name: str
    asks: tuple[Ask, ...]
    meter: Side | None = None
    vehicle: Side | None = None
    events: tuple[tuple[dt.datetime, EventKind, float], ...] = ()


def at(hours: int, minutes: int = 0, seconds: int = 0) -> dt.datetime:
    """A time of the day, UTC; 25 hours are one o'clock of the next day."""
    return DAY + dt.timedelta(hours=hours, minutes=minutes, seconds=seconds)


def intervals(start: dt.datetime, end: dt.datetime, kwh: float, step_s: int = MINUTE) -> tuple[Reading, ...]:
    """Interval readings that cover (start, end], each stamped at its end."""
    step = dt.timedelta(seconds=step_s)
    return tuple(Reading(start + number * step, kwh) for number in range(1, (end - start) // step + 1))


def rising(
    start: dt.datetime, end: dt.datetime, first_kwh: float, step_kwh: float, step_s: int = MINUTE
) -> tuple[Reading, ...]:
    """Register readings from start to end, both included."""
    step = dt.timedelta(seconds=step_s)
    return tuple(
        Reading(start + number * step, None, round(first_kwh + number * step_kwh, 9))
        for number in range((end - start) // step + 1)
    )


def levels(start: dt.datetime, *kwh: float, step_s: int = MINUTE) -> tuple[Reading, ...]:
    """Register readings of the given values, a step apart."""
    return tuple(Reading(start + number * dt.timedelta(seconds=step_s), None, one) for number, one in enumerate(kwh))


def of(*runs: tuple[Reading, ...], device: Device | None = None, decisions: tuple[Decision, ...] = ()) -> Side:
    """One side made of runs of readings."""
    return Side(tuple(reading for run in runs for reading in run), device or Device(), decisions)
