"""From the readings of a register to the stretches of its curve and the events on the way."""

import itertools
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from support.energy import model

JITTER_KWH = Fraction("0.05")


class Value(NamedTuple):
    """A register reading: time in microseconds and kWh."""

    at: int
    kwh: Fraction


class Stretch(NamedTuple):
    """The curve between two accepted readings.

    A suspect stretch has an unknown rise and counts nothing. A stretch that ends with a lower start rises by 0, but its
    rise is unknown where it is long.
    """

    span: model.Span
    rise_kwh: Fraction
    suspect: bool = False
    starts_lower: bool = False


@dataclass
class Curve:
    """What the readings of one register amount to."""

    stretches: list[Stretch]
    events: list[model.Event]


class _Walk:
    """Goes through the readings in order of time."""

    def __init__(self, first: Value, device: model.Device, jitter_kwh: Fraction) -> None:
        self.device = device
        self.jitter = jitter_kwh
        self.at = first.at  # of the last accepted reading
        self.highest = first.kwh  # since the last start
        self.curve = Curve([], [])

    def take(self, value: Value, following: Value | None) -> None:
        """One reading, with the next one as a witness."""
        if value.kwh >= self.highest:
            self._higher(value, following)
        elif value.kwh >= self.highest - self.jitter:
            self._accept(value, Fraction(0), highest=self.highest)
        elif following is not None:
            self._lower(value, following)

    def _higher(self, value: Value, following: Value | None) -> None:
        step = value.kwh - self.highest
        taken_back = following is not None and self.highest - self.jitter <= following.kwh < value.kwh - self.jitter
        if step > self.jitter and taken_back and self.device.kind == "register":
            self._happened(value, "contradicted")
        elif step <= self._possible_kwh(value.at - self.at):
            self._accept(value, step)
        elif following is not None:
            if following.kwh < value.kwh - self.jitter:
                self._happened(value, "contradicted")
            else:
                self._happened(value, "impossible_step")
                self._accept(value, Fraction(0), suspect=True)

    def _lower(self, value: Value, following: Value) -> None:
        back_up = following.kwh - value.kwh
        session = self.device.kind == "session" and back_up <= self._possible_kwh(following.at - value.at)
        if following.kwh >= self.highest - self.jitter and not session:
            self._happened(value, "contradicted")
            return
        passed = value.at - self.at
        credited = Fraction(0)
        starts_lower = False
        if self.device.kind == "session":
            if value.kwh <= self._possible_kwh(passed):
                credited = value.kwh
            self._happened(value, "session", credited)
        elif value.kwh <= self.highest / 2 and value.kwh <= self._possible_kwh(min(passed, model.HOUR)):
            credited = value.kwh
            self._happened(value, "reset", credited)
        else:
            starts_lower = True
            self._happened(value, "lower_start")
        self._accept(value, credited, starts_lower=starts_lower)

    def start_anew(self, value: Value, rise: Fraction) -> None:
        """A decided start: what it shows is the highest value, and the rise up to it is known."""
        self._happened(value, "decided", rise)
        self._accept(value, rise)

    def _possible_kwh(self, passed: int) -> Fraction:
        return model.exact(self.device.max_power_kw) * Fraction(passed, model.HOUR) + self.jitter

    def _accept(
        self,
        value: Value,
        rise: Fraction,
        *,
        highest: Fraction | None = None,
        suspect: bool = False,
        starts_lower: bool = False,
    ) -> None:
        self.curve.stretches.append(Stretch(model.Span(self.at, value.at), rise, suspect, starts_lower))
        self.at = value.at
        self.highest = value.kwh if highest is None else highest

    def _happened(self, value: Value, what: model.EventKind, credited: Fraction = Fraction(0)) -> None:
        self.curve.events.append(model.Event(model.time_of(value.at), what, credited))


def curve_of(values: list[Value], side: model.Side, jitter_kwh: Fraction = JITTER_KWH) -> Curve:
    """The curve of readings that are in order of time, each time once.

    The last reading counts only where no later one is needed as a witness.
    """
    decided = {model.micros(one.at): one for one in side.decisions}
    ignored = [value for value in values if value.at in decided and decided[value.at].what == "ignore"]
    registers: list[list[Value]] = [[]]  # each begins with a decided start, but perhaps the first
    for value in values:
        if value in ignored:
            continue
        if value.at in decided and registers[-1]:
            registers.append([])
        registers[-1].append(value)
    events = [model.Event(model.time_of(value.at), "decided", Fraction(0)) for value in ignored]
    if not registers[0]:
        return Curve([], events)
    if registers[0][0].at in decided:
        events.append(model.Event(model.time_of(registers[0][0].at), "decided", Fraction(0)))
    walk = _Walk(registers[0][0], side.device, jitter_kwh)
    for number, register in enumerate(registers):
        if number:
            first = register[0]
            start_kwh = model.exact(decided[first.at].start_kwh or 0)
            walk.start_anew(first, max(Fraction(0), first.kwh - start_kwh))
        for value, following in itertools.zip_longest(register[1:], register[2:]):
            walk.take(value, following)
    return Curve(walk.curve.stretches, sorted([*walk.curve.events, *events]))
