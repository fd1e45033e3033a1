"""Episodes in readings that arrived too late to notify anybody: they are recorded as past ones.

Part of ``step``. Pure.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from voltd.rules import advance, confirmation, metric_value, model, rule_state

GAP = dt.timedelta(hours=6)  # a past episode ends where there is no reading for longer


def outside(
    rule: model.Rule, state: rule_state.State, readings: list[metric_value.MetricValue]
) -> Iterable[rule_state.Transition]:
    """Past episodes that do not overlap the one in the state. A late arrival says nothing of a clock: no skew."""
    if not readings or rule.metric is model.Metric.CLOCK_SKEW_S:
        return
    known = state.opened_at if state.phase is not rule_state.Phase.INACTIVE else None
    for one in episodes(rule, readings):
        begins_after = state.resolved_at is not None and one.opened_at > state.resolved_at
        ends_before = known is not None and (one.resolved_at or one.at) < known
        if known is None or begins_after or ends_before:
            yield one


def episodes(rule: model.Rule, readings: Iterable[metric_value.MetricValue]) -> list[rule_state.Transition]:
    """Whole episodes in late readings as RECORDED; one that does not end within them ends with its last reading."""
    found: list[rule_state.Transition] = []
    for part in _without_gaps(readings):
        found += _episodes(rule, part)
    return found


def _without_gaps(readings: Iterable[metric_value.MetricValue]) -> Iterable[list[metric_value.MetricValue]]:
    part: list[metric_value.MetricValue] = []
    for one in metric_value.by_time(readings):
        if part and one.recorded_at - part[-1].recorded_at > GAP:
            yield part
            part = []
        part.append(one)
    if part:
        yield part


def _episodes(rule: model.Rule, readings: Iterable[metric_value.MetricValue]) -> list[rule_state.Transition]:
    last, transitions = advance.run(rule, rule_state.State(), (one._replace(deferred=False) for one in readings))
    every = (*transitions, *ended(rule, last))
    return [recorded(rule, one) for one in every if one.kind is rule_state.TransitionKind.RESOLVED]


def ended(rule: model.Rule, state: rule_state.State) -> tuple[rule_state.Transition, ...]:
    """What is left to happen after the last reading: nothing contradicts it, and a running episode ends with it."""
    transitions: tuple[rule_state.Transition, ...] = ()
    if state.unconfirmed_at is not None:
        state, transitions = confirmation.confirm(rule, state)
    if state.phase is rule_state.Phase.FIRING and state.last_seen_at is not None:
        end = state.clear_at or state.last_seen_at
        return (*transitions, rule_state.resolve(rule, state, end, None, rule_state.Cause.CLEARED)[1])
    return transitions


def recorded(rule: model.Rule, one: rule_state.Transition) -> rule_state.Transition:
    """A resolved episode as a past one: as severe as its peak, since one bad sample notifies nobody here."""
    severity = one.severity if one.peak_value is None else rule.severity_of(one.peak_value)
    return one._replace(
        kind=rule_state.TransitionKind.RECORDED, suppressed=True, severity=confirmation.severest(one.severity, severity)
    )
