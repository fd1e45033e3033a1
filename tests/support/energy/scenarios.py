"""All scenarios, small and named; the comments in `cases` say how each answer was worked out by hand."""

from support.energy.cases import both, decisions, gaps, intervals, lower, registers, stretches
from support.energy.cases.build import Ask, Scenario

__all__ = ["SCENARIOS", "Ask", "Scenario"]

SCENARIOS: tuple[Scenario, ...] = (
    *intervals.SCENARIOS,
    *registers.SCENARIOS,
    *gaps.SCENARIOS,
    *both.SCENARIOS,
    *stretches.SCENARIOS,
    *lower.SCENARIOS,
    *decisions.SCENARIOS,
)
