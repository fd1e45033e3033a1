"""One reading, newer than all that were evaluated: how it changes the state of one rule for one device.

Part of ``step``. Pure. ``confirmation`` says when one reading is enough.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable

from voltd.rules import confirmation, metric_value, model, rule_state

Result = tuple[rule_state.State, tuple[rule_state.Transition, ...]]


def run(rule: model.Rule, state: rule_state.State, readings: Iterable[metric_value.MetricValue]) -> Result:
    """Evaluates readings as if each had arrived at once: what ``step`` would return if nothing had been late."""
    transitions: list[rule_state.Transition] = []
    for one in metric_value.by_time(readings):
        state, new = advance(rule, state, one)
        transitions += new
    return state, tuple(transitions)


def advance(
    rule: model.Rule, state: rule_state.State, one: metric_value.MetricValue
) -> tuple[rule_state.State, list[rule_state.Transition]]:
    """Evaluates one reading."""
    transitions: list[rule_state.Transition] = []
    hold_down = dt.timedelta(seconds=rule.keep_firing_for_s)
    if state.clear_at is not None and one.recorded_at >= state.clear_at + hold_down:
        state, ended = rule_state.resolve(rule, state, state.clear_at + hold_down, None, rule_state.Cause.CLEARED)
        transitions.append(ended)
    if confirmation.waited(rule, state, one.recorded_at) and not one.deferred:
        state, new = confirmation.confirm(rule, state)
        transitions += new
    before = state
    cause = _clearing_cause(rule, one)
    evaluate = _firing if state.phase is rule_state.Phase.FIRING else _idle
    state, new = evaluate(rule, state, one, cause)
    transitions += new
    return metric_value.with_progress(rule, state, before, one), transitions


def by_the_clock(
    rule: model.Rule, state: rule_state.State, now: dt.datetime, heard_since: dt.datetime | None
) -> tuple[rule_state.State, list[rule_state.Transition]]:
    """What ends or begins because no more readings have arrived; see ``step.step``."""
    transitions: list[rule_state.Transition] = []
    hold_down, cleared_at = dt.timedelta(seconds=rule.keep_firing_for_s), state.clear_received_at
    if state.clear_at is not None and cleared_at is not None and now >= cleared_at + hold_down:
        state, ended = rule_state.resolve(rule, state, state.clear_at + hold_down, None, rule_state.Cause.CLEARED)
        transitions.append(ended)
    waits_since = state.unconfirmed_at if rule.alone_after_intervals else None
    if waits_since is None or heard_since is None:
        return state, transitions
    if now >= max(waits_since, heard_since) + confirmation.wait(rule, state):
        state, new = confirmation.confirm(rule, state)
        transitions += new
    return state, transitions


def _clearing_cause(rule: model.Rule, one: metric_value.MetricValue) -> rule_state.Cause | None:
    if rule.clear_when_charging and one.charging:
        return rule_state.Cause.CHARGING
    if rule.fire_when_spooling and one.spooling:
        return None
    return rule_state.Cause.CLEARED if one.value is not None and rule.clear(one.value) else None


def _idle(
    rule: model.Rule, state: rule_state.State, one: metric_value.MetricValue, cause: rule_state.Cause | None
) -> Result:
    forced = rule.fire_when_spooling and one.spooling
    if one.value is None and not forced and cause is None:
        return state, ()
    pending = state.phase is rule_state.Phase.PENDING
    if cause is not None or not (forced or (one.value is not None and rule.over(one.value))):
        return (rule_state.inactive(state) if pending else state), ()
    recent = (*state.recent, one.value) if pending else (one.value,)
    gap = dt.timedelta(seconds=rule.late_after_s)
    if pending and state.last_seen_at is not None and (not rule.for_s or one.recorded_at - state.last_seen_at <= gap):
        peak = _worse(rule, state.peak_value, one.value)
        state = dataclasses.replace(state, count=state.count + 1, last_seen_at=one.recorded_at, peak_value=peak)
    else:
        recent = (one.value,)
        state = rule_state.State(
            rule_state.Phase.PENDING, rule.watches, state.evaluated_at, opened_at=one.recorded_at,
            last_seen_at=one.recorded_at, count=1, peak_value=one.value, interval_s=one.interval_s,
        )  # fmt: skip
    if rule.confirms_steps:
        state = dataclasses.replace(state, severity=_severity(rule, state, recent), recent=_last_values(rule, recent))
    return _fire_if_due(rule, state, one)


def _fire_if_due(rule: model.Rule, state: rule_state.State, one: metric_value.MetricValue) -> Result:
    opened_at = state.opened_at or one.recorded_at
    lasted = one.recorded_at - opened_at >= dt.timedelta(seconds=rule.for_s)
    if not lasted or state.count < rule.min_count or not _may_fire(rule, one):
        waits = rule.alone_after_intervals and state.count < rule.min_count and not one.deferred
        return dataclasses.replace(state, unconfirmed_at=one.received_at if waits else None), ()
    severity = state.severity or _severity(rule, state, ())
    state = dataclasses.replace(
        state,
        phase=rule_state.Phase.FIRING,
        count=0,
        severity=severity,
        unconfirmed_at=_unconfirmed_at(rule, severity, one),
    )
    return state, (rule_state.transition(rule_state.TransitionKind.FIRED, rule, state, one.recorded_at, one.value),)


def _firing(
    rule: model.Rule, state: rule_state.State, one: metric_value.MetricValue, cause: rule_state.Cause | None
) -> Result:
    if cause is not None:
        if rule.keep_firing_for_s == 0:
            state, ended = rule_state.resolve(rule, state, one.recorded_at, one.value, cause)
            return state, (ended,)
        if state.clear_at is None or state.unconfirmed_at is not None:
            state = dataclasses.replace(
                state, clear_at=state.clear_at or one.recorded_at, recent=(), unconfirmed_at=None,
                clear_received_at=state.clear_received_at or one.received_at,
            )  # fmt: skip
        return state, ()
    if one.value is None and not one.spooling:
        return state, ()
    peak = _worse(rule, state.peak_value, one.value)
    if rule.confirms_steps:
        recent = _last_values(rule, (*state.recent, one.value))
        severity = rule.confirmed_severity(recent, state.severity or rule.severity)
        state = state.seen(one.recorded_at, peak, recent, _unconfirmed_at(rule, severity, one))
    else:
        state = state.seen(one.recorded_at, peak)
        severity = _severity(rule, state, ())
    if (state.severity is not None and severity.rank <= state.severity.rank) or not _may_fire(rule, one):
        return state, ()
    state = dataclasses.replace(state, severity=severity)
    kind = rule_state.TransitionKind.ESCALATED
    return state, (rule_state.transition(kind, rule, state, one.recorded_at, one.value),)


def _unconfirmed_at(rule: model.Rule, severity: model.Severity, one: metric_value.MetricValue) -> dt.datetime | None:
    """When the reading arrived, if it is worse than what is confirmed, and may become that by itself."""
    if not rule.alone_after_intervals or not rule.confirms_steps or one.value is None or one.deferred:
        return None
    return one.received_at if rule.severity_of(one.value).rank > severity.rank else None


def _last_values(rule: model.Rule, recent: tuple[float | None, ...]) -> tuple[float | None, ...]:
    return recent[-max(one.min_count for one in rule.severity_steps) :]


def _may_fire(rule: model.Rule, one: metric_value.MetricValue) -> bool:
    return not one.deferred and rule.active_at(one.recorded_at)


def _severity(rule: model.Rule, state: rule_state.State, recent: tuple[float | None, ...]) -> model.Severity:
    """As severe as the readings up to now confirm."""
    if rule.confirms_steps:
        return rule.confirmed_severity(recent, state.severity or rule.severity)
    return rule.severity if state.peak_value is None else rule.severity_of(state.peak_value)


def _worse(rule: model.Rule, one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return rule.worse(one, other)
