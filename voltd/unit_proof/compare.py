"""Compares two sums over the same time: which factor lies between them, if that is certain. Pure.

A ratio is a range. It says something only if all of it lies within the tolerance of one factor, and if none of its
thirds contradicts that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from voltd.unit_proof import sums

TENS = tuple(10.0**power for power in range(-6, 7) if power)
_SAME = 1e-9


class Evidence(NamedTuple):
    """What a comparison takes at least.

    Attributes:
        seconds: of energy, without a gap.
        points: readings of either side, without a gap.
        km: driven without a gap, by the larger of both sides.
        moved: whether a state of charge below 1 needs a drive, or a charge, that 1 % of a battery does not allow.
    """

    seconds: float
    points: int
    km: float
    moved: bool


class Verdict(NamedTuple):
    """What was found about one value.

    Attributes:
        field: its name on the wire.
        ratio: how many times what it is compared with; 1 where it is compared with nothing.
        factor: how many times too large its unit makes it; 1: the unit is right.
        looks_like: for example ``looks like Wh``; empty: the unit is right.
        words: what is wrong, for people, beginning with the field; empty: the unit is right.
    """

    field: str
    ratio: float
    factor: float = 1.0
    looks_like: str = ""
    words: str = ""

    @property
    def deviation(self) -> float:
        """The factor, or its inverse if that is larger."""
        return max(self.factor, 1 / self.factor)


class Scale(NamedTuple):
    """How a ratio is read.

    Attributes:
        factors: those that have a meaning.
        tolerance: how far around one of them a ratio may lie, as a factor.
        right: likewise around 1, where the unit is right.
    """

    factors: Sequence[float]
    tolerance: float
    right: float

    def factor(self, low: float, high: float) -> float | None:
        """The factor around which the whole range lies; None: it says nothing."""
        for one in (1.0, *self.factors):
            least, most = self.band(one)
            if least <= low and high <= most:
                return one
        return None

    def band(self, factor: float) -> tuple[float, float]:
        """What lies around a factor."""
        tolerance = self.right if factor == 1 else self.tolerance
        return factor / tolerance, factor * tolerance


class Compared(NamedTuple):
    """Two sums over one stretch of time, and what their ratio says."""

    begin: float
    end: float
    amount: float
    reference: float
    factor: float

    @property
    def ratio(self) -> float:
        """How many times the reference."""
        return self.amount / self.reference

    @property
    def hours(self) -> float:
        """How long the stretch is."""
        return (self.end - self.begin) / 3600


def compare(
    amounts: Sequence[sums.Total], references: Sequence[sums.Total], scale: Scale, evidence: Evidence
) -> Iterator[Compared]:
    """Each stretch that both sides cover and that says something; the latest first."""
    for one in reversed(amounts):
        for other in reversed(references):
            ends = one.ends(other.times[0], other.times[-1])
            if ends is None or ends[1] - ends[0] < evidence.seconds:
                continue
            if min(one.count(*ends), other.count(*ends)) < evidence.points:
                continue
            whole, reference = one.range(*ends), other.range(*ends)
            if whole.low <= 0 or reference.low <= 0:
                continue
            factor = scale.factor(whole.low / reference.high, whole.high / reference.low)
            if factor is not None and _thirds_agree(one, other, ends, scale.band(factor)):
                yield Compared(*ends, whole.value, reference.value, factor)


def _thirds_agree(one: sums.Total, other: sums.Total, ends: tuple[float, float], band: tuple[float, float]) -> bool:
    begin, third = ends[0], (ends[1] - ends[0]) / 3
    for number in range(3):
        part = (begin + number * third, begin + (number + 1) * third)
        amount, reference = one.range(*part), other.range(*part)
        if amount.high < band[0] * reference.low or amount.low > band[1] * reference.high:
            return False
    return True


def looks(factor: float, names: Mapping[float, str]) -> str:
    """What a value looks like that is so many times too large."""
    for one, name in names.items():
        if abs(one / factor - 1) < _SAME:
            return f"looks like {name}"
    return f"looks {number(factor)} times too large" if factor > 1 else f"looks {number(1 / factor)} times too small"


def number(value: float) -> str:
    """As people read it."""
    if value >= 100:  # noqa: PLR2004
        return f"{value:,.0f}"
    return f"{value:.2f}".rstrip("0").removesuffix(".") if value >= 1 else f"{value:.3g}"


def span(hours: float) -> str:
    """How long, as people say it."""
    return f"{hours * 60:.0f} minutes" if hours >= 1 / 40 else f"{hours * 3600:.0f} seconds"


def first(found: Iterable[Compared]) -> Compared | None:
    """The latest one."""
    return next(iter(found), None)
