"""What goes into the energy oracle and what comes out of it; times inside are microseconds since 1970, energies exact.

A figure is exact (`Fraction`), so that whoever compares with it decides how much rounding to allow.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

SECOND = 1_000_000  # microseconds
QUARTER = 900 * SECOND
HOUR = 3600 * SECOND
DAY = 24 * HOUR

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

EventKind = Literal["contradicted", "impossible_step", "reset", "lower_start", "session", "decided"]
Source = Literal["register", "interval", "mixed", "none"]


class Reading(NamedTuple):
    """One reading of a device: its time (aware), interval energy and register, both in kWh."""

    at: dt.datetime
    interval_kwh: float | None = None
    register_kwh: float | None = None


@dataclass(frozen=True)
class Device:
    """What the registry knows of a device."""

    interval_s: float | None = None
    max_power_kw: float = 22.0
    kind: Literal["register", "session"] = "register"


class Decision(NamedTuple):
    """What somebody decided on a register reading; `start_kwh` is of an exchange."""

    at: dt.datetime
    what: Literal["reset", "exchange", "ignore"]
    start_kwh: float | None = None


@dataclass(frozen=True)
class Side:
    """A device with its readings and what was decided on them, both in any order."""

    readings: tuple[Reading, ...]
    device: Device = Device()
    decisions: tuple[Decision, ...] = ()


class Event(NamedTuple):
    """What the oracle took a register reading for (or that it was decided), and the energy that it credited for it."""

    at: dt.datetime
    what: EventKind
    credited_kwh: Fraction


@dataclass(frozen=True)
class Figure:
    """The energy of one device in a period [start, end).

    Attributes:
        energy_kwh: best estimate.
        covered: share of the period, 0 to 1, in which the course or at least the total is known.
        estimated: an even share of energy whose course is unknown is part of it.
        suspect: a part of the period lies within an impossible step of the register.
        low_kwh, high_kwh: bounds; both are `energy_kwh` where nothing is estimated.
        source: whose time it is made of.
    """

    start: dt.datetime
    end: dt.datetime
    energy_kwh: Fraction
    covered: Fraction
    estimated: bool
    suspect: bool
    low_kwh: Fraction
    high_kwh: Fraction
    source: Source


class Span(NamedTuple):
    """A stretch of time in microseconds; an interval of the registry may end between two of them."""

    start: Fraction | int
    end: Fraction | int

    @property
    def length(self) -> Fraction | int:
        """Its length in microseconds."""
        return self.end - self.start


def exact(value: float) -> Fraction:
    """The number that somebody wrote: 0.1 is one tenth."""
    return Fraction(str(value))


def micros(at: dt.datetime) -> int:
    """Microseconds since 1970."""
    return (at - _EPOCH) // dt.timedelta(microseconds=1)


def time_of(at: int) -> dt.datetime:
    """The inverse of `micros`."""
    return _EPOCH + dt.timedelta(microseconds=at)


def union(spans: Iterable[Span]) -> list[Span]:
    """The same time as disjoint spans in order."""
    merged: list[Span] = []
    for span in sorted(one for one in spans if one.length > 0):
        if merged and span.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


def within(span: Span, disjoint: list[Span]) -> Fraction | int:
    """How much of a span lies in disjoint spans, in microseconds."""
    return sum(max(0, min(span.end, one.end) - max(span.start, one.start)) for one in disjoint)


def without(span: Span, disjoint: list[Span]) -> list[Span]:
    """What is left of a span outside of disjoint spans that are in order."""
    left, start = [], span.start
    for one in disjoint:
        if one.start < span.end and one.end > start:
            left.append(Span(start, one.start))
            start = one.end
    return [one for one in [*left, Span(start, span.end)] if one.length > 0]
