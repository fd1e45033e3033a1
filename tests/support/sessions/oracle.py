"""Charging sessions from the definition in docs/sessions.md alone, slowly: what the SQL is compared with.

It shares no code with what it tests. Registers and energies of meters are those of the energy oracle.

What the definition leaves open is decided like this:

- Of two signs that begin together the order does not matter; a sign without length is a moment.
- A moment of movement right at the end of a step is in it, one at its beginning is not.
- Intervals of a meter over 15 minutes and gaps of its register say nothing about when energy flowed.
- A step of the register that counts nothing because it is impossible or a lower start says nothing at all.
"""

import dataclasses
import itertools
import statistics
from collections.abc import Callable, Iterable
from fractions import Fraction

from support.energy import model, registers
from support.energy.oracle import Energy
from support.sessions.model import Reading, Session, World
from voltd import status_words

PAUSE = 1800 * model.SECOND
NO_PAUSE = 300 * model.SECOND
LEAST_KW = 0.1
LEAST_KWH = 0.05 + 1e-9  # sums of floats
STANDBY_KW = 0.05
_STRENGTH = ("status", "power", "meter", "energy")


def _folded(words: Iterable[str]) -> set[str]:
    return {word.casefold() for word in words}


CHARGING, PLUGGED = _folded(status_words.CHARGING), _folded(status_words.PLUGGED)
UNPLUGGED = _folded(status_words.UNPLUGGED)


@dataclasses.dataclass(frozen=True)
class _Sign:
    start: int
    end: int
    by: str
    kwh: float = 0.0
    weak: bool = False

    @property
    def span(self) -> model.Span:
        return model.Span(self.start, self.end)


class Sessions:
    """The sessions of one world, from all of its readings."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.readings = sorted(world.readings, key=lambda one: one.at)
        self.times = [model.micros(one.at) for one in self.readings]
        self.moves = [at for at, one in self._timed() if self._moves(one)]
        self.flows = self._flows()
        self.no_energy = _minus(
            model.union(flow.span for flow in self.flows if not flow.kwh),
            model.union(flow.span for flow in self.flows if flow.kwh),
        )

    def _timed(self) -> Iterable[tuple[int, Reading]]:
        return zip(self.times, self.readings, strict=True)

    @staticmethod
    def _moves(one: Reading) -> bool:
        return one.speed_kmh is not None and one.speed_kmh > 5

    def _held(
        self, says: Callable[[Reading], object], wanted: Callable[[Reading], bool], *, asleep: bool
    ) -> list[model.Span]:
        """From each reading that is wanted to the next that says something, moves, or comes after a silence."""
        spans = []
        for number, (at, one) in enumerate(self._timed()):
            if self._moves(one) or says(one) is None or not wanted(one):
                continue
            end = at
            for before, (then, other) in zip(self.times[number:], list(self._timed())[number + 1 :], strict=False):
                if self._moves(other) or (then - before > PAUSE and not asleep):
                    break
                end = then
                if says(other) is not None:
                    break
            spans.append(model.Span(at, end))
        return spans

    def _worded(self, words: set[str], *, asleep: bool = False) -> list[model.Span]:
        return self._held(
            lambda one: one.word, lambda one: str(one.word).strip().casefold() in words, asleep=asleep
        )  # fmt: skip

    def _flows(self) -> list[_Sign]:
        """Steps of the register and intervals, also those without energy; `by` says which."""
        by_day: dict[int, list[int]] = {}
        intervals = [(at, one.interval_kwh) for at, one in self._timed() if one.interval_kwh is not None]
        for at, _ in intervals:
            by_day.setdefault(at // model.DAY, []).append(at)
        found = []
        for at, kwh in intervals:
            spacings = [max(round((b - a) / model.SECOND), 1) for a, b in itertools.pairwise(by_day[at // model.DAY])]
            usual = statistics.median_low(spacings) if spacings else 900
            width = round((self.world.device.interval_s or usual) * model.SECOND)
            found.append(_Sign(at - width, at, "interval", float(kwh or 0)))
        values = [
            registers.Value(at, model.exact(one.register_kwh))
            for at, one in self._timed()
            if one.register_kwh is not None
        ]
        if values:
            found += [
                _Sign(int(one.span.start), int(one.span.end), "register", float(one.rise_kwh))
                for one in registers.curve_of(values, self.world.dc).stretches
                if not one.suspect and not one.starts_lower
            ]
        return found

    def _meters(self, during: list[model.Span]) -> tuple[list[model.Span], list[model.Span]]:
        """When a linked meter ran within some time, and when one stood by and none ran."""
        ran: list[model.Span] = []
        stood: list[model.Span] = []
        for meter in self.world.meters:
            valid = model.Span(
                model.micros(meter.since) if meter.since else 0, model.micros(meter.until) if meter.until else 1 << 62
            )
            for piece in Energy(meter.side)._pieces:
                if not piece.course_known or (piece.source == "interval" and piece.length > model.QUARTER):
                    continue
                power = float(piece.kwh) / (float(piece.length) / model.HOUR)
                spans = _both(_both(piece.counts_in, [valid]), during)
                (ran if power > STANDBY_KW else stood).extend(spans)
        return model.union(ran), _minus(model.union(stood), model.union(ran))

    def signs(self) -> list[_Sign]:
        """From when to when the vehicle charged, by one sign each."""
        short = []
        for flow in self.flows:
            moved = [at for at in self.moves if at <= flow.end]
            last = moved[-1] if moved else None
            if flow.kwh and flow.end - flow.start <= model.QUARTER and (last is None or last <= flow.start):
                weak = last is not None and last > flow.start - (flow.end - flow.start)
                short.append(_Sign(flow.start, flow.end, "energy", flow.kwh, weak))
        by_power = self._held(lambda one: one.power_kw, lambda one: (one.power_kw or 0) >= LEAST_KW, asleep=False)
        no_power = model.union(
            self._held(lambda one: one.power_kw, lambda one: (one.power_kw or 0) < LEAST_KW, asleep=False)
        )
        worded = self._worded(CHARGING)
        known = model.union([*(one.span for one in short), *by_power])
        nothing = model.union([*no_power, *_long(self.no_energy)])
        words = _minus(model.union(worded), known)
        long_words = _long(words)
        ran, stood = self._meters(long_words)
        confirmed = model.union([
            *_minus(_minus(words, long_words), nothing), *ran, *_minus(_minus(long_words, nothing), _long(stood))
        ])  # fmt: skip
        found = [*short, *(_Sign(int(a), int(b), "power") for a, b in by_power)]
        found += [_Sign(int(a), int(b), "status") for a, b in confirmed]
        found += [
            _Sign(int(a), int(a), "status")
            for a, b in worded
            if a == b
            and not any(one.start < a <= one.end for one in worded)
            and not any(one.start <= a < one.end for one in nothing)
        ]
        shown = model.union([*known, *confirmed])
        said = model.union([*known, *worded, *no_power, *self._worded(UNPLUGGED)])
        for flow in self.flows:
            if flow.kwh and flow.end - flow.start > model.QUARTER:
                found += self._of_whole(flow, shown, said)
        return found

    def _of_whole(self, flow: _Sign, shown: list[model.Span], said: list[model.Span]) -> Iterable[_Sign]:
        kwh = flow.kwh
        if flow.by == "register":
            kwh -= sum(
                one.kwh * float(model.within(one.span, [flow.span])) / (one.end - one.start)
                for one in self.flows
                if one.by == "interval"
            )
        if kwh <= LEAST_KWH:
            return
        unknown = model.without(flow.span, said)
        if not unknown and not _both([flow.span], shown):
            unknown = [flow.span]
        if not unknown:
            return
        ran, _ = self._meters(unknown)
        if ran:
            for start, end in ran:
                if not any(start < at < end for at in self.moves):
                    yield _Sign(int(start), int(end), "meter", kwh)
            return
        for start, end in unknown:
            km = sum(rise for since, until, rise in self._drives() if start <= since and until <= end)
            if not any(start < at <= end for at in self.moves) and not (km >= 1 and kwh <= 0.5 * km):
                yield _Sign(int(start), int(end), "energy", kwh)

    def _drives(self) -> list[tuple[int, int, float]]:
        """Between which readings the odometer rose, and by how much."""
        shown = [(at, one.odometer_km) for at, one in self._timed() if one.odometer_km is not None]
        return [(a, b, y - x) for (a, x), (b, y) in itertools.pairwise(shown) if y > x]

    def _plugged(self) -> list[model.Span]:
        spans = self._worded(CHARGING | PLUGGED, asleep=True)
        spans += [model.Span(at, at) for at, one in self._timed() if not self._moves(one) and one.returned_kwh]
        return spans

    def _together(self, end: int, start: int) -> bool:
        """Whether signs that end and begin then are of one session."""
        if any(end <= at <= start for at in self.moves):
            return False
        if any((one.end > end or one.start >= end) and one.start <= start for one in self._worded(UNPLUGGED)):
            return False
        if sum(rise for since, until, rise in self._drives() if end <= since and until <= start) >= 1:
            return False
        reached: Fraction | int = end
        for since, until in sorted(one for one in self._plugged() if one.end >= end and one.start <= start):
            if since - reached > PAUSE:
                return False
            reached = max(reached, until)
        return start - reached <= PAUSE

    def found(self) -> list[Session]:
        """The sessions, in order."""
        groups: list[list[_Sign]] = []
        for sign in sorted(self.signs(), key=lambda one: (one.start, one.end)):
            end = max((one.end for one in groups[-1]), default=0) if groups else 0
            if groups and (sign.start <= end or self._together(end, sign.start)):
                groups[-1].append(sign)
            else:
                groups.append([sign])
        return [one for one in map(self._session, groups) if one is not None]

    def _session(self, signs: list[_Sign]) -> Session | None:
        span = model.Span(min(one.start for one in signs), max(one.end for one in signs))
        found_by = max((one.by for one in signs), key=_STRENGTH.index)
        if all(one.weak for one in signs):
            return None
        if (
            found_by == "energy"
            and {one.by for one in signs} == {"energy"}
            and sum(one.kwh for one in signs) <= LEAST_KWH
        ):
            return None
        if found_by == "status" and span.length and not model.without(span, self.no_energy):
            return None
        if found_by == "status" and not span.length and any(a <= span.start < b for a, b in self.no_energy):
            return None
        parts = model.union(one.span for one in signs)
        length = sum(one.length for one in parts) + sum(
            b.start - a.end for a, b in itertools.pairwise(parts) if b.start - a.end <= NO_PAUSE
        )
        return Session(
            model.time_of(int(span.start)), model.time_of(int(span.end)), float(length) / model.SECOND, found_by,
            any(one.by == "energy" and one.end - one.start > model.QUARTER for one in signs),
        )  # fmt: skip


def _minus(spans: list[model.Span], taken: list[model.Span]) -> list[model.Span]:
    return [left for one in spans for left in model.without(one, model.union(taken))]


def _both(spans: list[model.Span], others: list[model.Span]) -> list[model.Span]:
    cut = [
        model.Span(max(a.start, b.start), min(a.end, b.end)) for a in spans for b in others
        if min(a.end, b.end) > max(a.start, b.start)
    ]  # fmt: skip
    return model.union(cut)


def _long(spans: list[model.Span]) -> list[model.Span]:
    return [one for one in spans if one.length > model.QUARTER]
