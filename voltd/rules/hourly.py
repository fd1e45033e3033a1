"""Figures of a vehicle-hour, known once it has ended: what one of them says to a rule.

Called by ``one_rule`` (live) and ``backtest`` (stored history). Pure.
"""

from __future__ import annotations

from typing import NamedTuple

from voltd.rules import model


class Bounds(NamedTuple):
    """How sure a figure is.

    Attributes:
        low, high: what it is at least and at most, in its unit.
        resolves: False: it is beyond what is possible, so it may fire a rule, but resolves none.
    """

    low: float
    high: float
    resolves: bool = True


def certain(rule: model.Rule, value: float, bounds: Bounds) -> float | None:
    """The value that the rule is given; None: the hour says nothing, as if there were no figure.

    It fires where the favourable bound is beyond the limit, too, and escalates likewise. It resolves where the figure
    itself is beyond the point at which the rule clears.
    """
    if not rule.over(value):
        return value if bounds.resolves else None
    favourable = bounds.high if rule.fire_below is not None else bounds.low
    if not rule.over(favourable):
        return None
    return value if rule.severity_of(value) is rule.severity_of(favourable) else favourable
