"""The step: one rule, one device, what is remembered and what is new -> what is remembered and what to tell.

Called by ``evaluate`` (live) and ``replay`` (history) with the rule as ``Rule.for_device`` gives it. Pure: the result
depends on the arguments alone, never on when or how often it is called. Silence is judged by ``silence``.

The contract:

- Every reading counts, in the order of ``recorded_at``. One reading over the limit fires a rule with ``for_s = 0`` and
  ``min_count = 1``, whatever came after it.
- ``for_s`` ends at a reading, never at ``now``: it fires with the first reading that is over the limit and at least
  ``for_s`` younger than the first of an unbroken run. What the device does after its last reading nobody knows; to
  assume it would raise alerts that the next reading, already on its way, denies, and would make episodes depend on the
  time of the check. So one reading followed by silence never fires a ``for_s`` rule. A reading within the limit, or a
  gap of more than ``late_after_s``, breaks the run.
- An episode begins (``opened_at``) with the first reading of its run. It is resolved at the first reading that clears;
  with ``keep_firing_for_s`` that long after it, unless a reading in between does not clear. That much may be assumed
  when no more readings come: it is resolved once the clock is past it, counted from the arrival of the clearing one.
- A reading not newer than the newest judged is a duplicate (same time) or late (older). A retained one, one received
  more than ``late_after_s`` after it was recorded, and one read for the past's sake is history. None of these changes
  the state, but what came late is judged with it: ``judged_at`` goes on. A late or historic excursion comes back as one
  RECORDED transition unless it meets the episode remembered; retained ones never.
- A held reading came in time, but it is too late to tell of it. It goes on with what is running, so it may end an
  episode or break a run; it never fires nor escalates, and where nothing is running it is history.
- So within one call order and duplicates mean nothing, and neither does how in-order readings are divided into calls.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Iterable
from typing import NamedTuple

from voltd.rules import model
from voltd.rules import state as states


class Measured(NamedTuple):
    """One value of one reading, as a rule sees it.

    Attributes:
        value: in the metric's unit; None says nothing of it (but ``charging`` and ``spooling`` may).
        charging: whether the vehicle was on a charger, as last known at that reading.
        spooling: whether the spool was in use.
        retained: the broker's retain flag.
        held: in time when it was received, but by now more than ``late_after_s`` old, and not judged yet.
        past: read for the sake of the past; whether it has been judged does not matter.
    """

    recorded_at: dt.datetime
    received_at: dt.datetime
    value: float | None
    charging: bool = False
    spooling: bool = False
    retained: bool = False
    held: bool = False
    past: bool = False


_Result = tuple[states.State, tuple[states.Transition, ...]]


def step(
    rule: model.Rule,
    state: states.State,
    readings: Iterable[Measured],
    now: dt.datetime,
    judged_at: dt.datetime | None = None,
) -> _Result:
    """Judges what is new. Transitions are in the order in which they happened; past episodes come last.

    Args:
        rule: in the form that holds for the device.
        state: as the last call returned it; ``State()`` at first.
        readings: new ones, in any order.
        now: not before any ``received_at``.
        judged_at: newest ``recorded_at`` judged for this device, where the caller knows more than ``state`` does.
    """
    if judged_at is not None and (state.judged_at is None or judged_at > state.judged_at):
        state = dataclasses.replace(state, judged_at=judged_at)
    live, late, past = _divided(rule, state, readings)
    told: list[states.Transition] = []
    for one in live:
        if one.held and state.phase is not states.Phase.FIRING:
            late.append(one)
            if state.idle:
                continue
        state, news = _advance(rule, state, one)
        told += news
    if state.clear_at is not None and state.clear_received_at is not None:
        hold = dt.timedelta(seconds=rule.keep_firing_for_s)
        if now >= state.clear_received_at + hold:
            state, ended = states.resolve(rule, state, state.clear_at + hold, None, states.Cause.CLEARED)
            told.append(ended)
    newest = max((one.recorded_at for one in (*live, *late)), default=None)
    if newest is not None and (state.judged_at is None or newest > state.judged_at):
        state = dataclasses.replace(state, judged_at=newest)
    for found in (late, past):  # apart: what lies between them is not known
        told.extend(_recorded(rule, state, found))
    return state, tuple(told)


def run(rule: model.Rule, state: states.State, readings: Iterable[Measured]) -> _Result:
    """Judges readings as if each had arrived at once: what ``step`` would have said had nothing been late."""
    state, told = _run(rule, state, _in_order(readings))
    return state, tuple(told)


def _in_order(readings: Iterable[Measured]) -> list[Measured]:
    """Oldest first; of several with one time the first received, as the natural key keeps it."""
    found: list[Measured] = []
    for one in sorted(readings, key=_order):
        if not found or found[-1].recorded_at != one.recorded_at:
            found.append(one)
    return found


def _order(one: Measured) -> tuple[dt.datetime | bool | float, ...]:
    """Whatever the order they come in, that of two is the same."""
    value = -math.inf if one.value is None else one.value
    return (one.recorded_at, one.retained, one.past, one.received_at, value, one.charging, one.spooling, one.held)


def _divided(
    rule: model.Rule, state: states.State, readings: Iterable[Measured]
) -> tuple[list[Measured], list[Measured], list[Measured]]:
    """Live ones, late ones, and those of the past; duplicates and retained ones are neither."""
    late_after = dt.timedelta(seconds=rule.late_after_s)
    live: list[Measured] = []
    late: list[Measured] = []
    past: list[Measured] = []
    for one in _in_order(readings):
        if one.retained:
            continue
        if one.past:
            past.append(one)
        elif state.judged_at is None or one.recorded_at > state.judged_at:
            (late if one.received_at - one.recorded_at > late_after else live).append(one)
        elif one.recorded_at < state.judged_at:
            late.append(one)
    return live, late, past


def _run(
    rule: model.Rule, state: states.State, readings: Iterable[Measured]
) -> tuple[states.State, list[states.Transition]]:
    told: list[states.Transition] = []
    for one in readings:
        state, news = _advance(rule, state, one)
        told += news
    return state, told


def _advance(rule: model.Rule, state: states.State, one: Measured) -> tuple[states.State, list[states.Transition]]:
    """One reading, newer than all judged."""
    told: list[states.Transition] = []
    if state.clear_at is not None:
        end = state.clear_at + dt.timedelta(seconds=rule.keep_firing_for_s)
        if one.recorded_at >= end:
            state, ended = states.resolve(rule, state, end, None, states.Cause.CLEARED)
            told.append(ended)
    cause = _clears(rule, one)
    if state.phase is states.Phase.FIRING:
        state, news = _judge_firing(rule, state, one, cause)
    else:
        state, news = _judge_idle(rule, state, one, cause)
    told += news
    if state.judged_at is not one.recorded_at:
        state = dataclasses.replace(state, judged_at=one.recorded_at)
    return state, told


def _clears(rule: model.Rule, one: Measured) -> states.Cause | None:
    if rule.clear_when_charging and one.charging:
        return states.Cause.CHARGING
    if rule.fire_when_spooling and one.spooling:
        return None
    return states.Cause.CLEARED if one.value is not None and rule.clear(one.value) else None


def _judge_idle(rule: model.Rule, state: states.State, one: Measured, cause: states.Cause | None) -> _Result:
    forced = rule.fire_when_spooling and one.spooling
    if one.value is None and not forced and cause is None:
        return state, ()
    if cause is not None or not (forced or (one.value is not None and rule.over(one.value))):
        return (states.inactive(state) if state.phase is states.Phase.PENDING else state), ()
    late_after = dt.timedelta(seconds=rule.late_after_s)
    if (
        state.phase is states.Phase.PENDING
        and state.last_seen_at is not None
        and one.recorded_at - state.last_seen_at <= late_after
    ):
        peak = _worse(rule, state.peak_value, one.value)
        state = dataclasses.replace(state, count=state.count + 1, last_seen_at=one.recorded_at, peak_value=peak)
    else:
        state = states.State(
            states.Phase.PENDING,
            rule.watches,
            state.judged_at,
            opened_at=one.recorded_at,
            last_seen_at=one.recorded_at,
            count=1,
            peak_value=one.value,
        )
    return _fire_if_due(rule, state, one)


def _fire_if_due(rule: model.Rule, state: states.State, one: Measured) -> _Result:
    opened_at = state.opened_at or one.recorded_at
    lasted = one.recorded_at - opened_at >= dt.timedelta(seconds=rule.for_s)
    if not lasted or state.count < rule.min_count or not _may_fire(rule, one):
        return state, ()
    state = dataclasses.replace(state, phase=states.Phase.FIRING, count=0, severity=_severity(rule, state))
    return state, (states.transition(states.Kind.FIRED, rule, state, one.recorded_at, one.value),)


def _judge_firing(rule: model.Rule, state: states.State, one: Measured, cause: states.Cause | None) -> _Result:
    if cause is not None:
        if rule.keep_firing_for_s == 0:
            state, ended = states.resolve(rule, state, one.recorded_at, one.value, cause)
            return state, (ended,)
        if state.clear_at is None:
            state = dataclasses.replace(state, clear_at=one.recorded_at, clear_received_at=one.received_at)
        return state, ()
    if one.value is None and not one.spooling:
        return state, ()
    state = state.seen(one.recorded_at, _worse(rule, state.peak_value, one.value))
    severity = _severity(rule, state)
    if state.severity is not None and severity.rank <= state.severity.rank:
        return state, ()
    if not _may_fire(rule, one):
        return state, ()
    state = dataclasses.replace(state, severity=severity)
    return state, (states.transition(states.Kind.ESCALATED, rule, state, one.recorded_at, one.value),)


def _may_fire(rule: model.Rule, one: Measured) -> bool:
    return not one.held and (rule.active_hours is None or rule.active_hours.contain(one.recorded_at))


def _severity(rule: model.Rule, state: states.State) -> model.Severity:
    return rule.severity if state.peak_value is None else rule.severity_of(state.peak_value)


def _worse(rule: model.Rule, one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return rule.worse(one, other)


def _recorded(rule: model.Rule, state: states.State, past: list[Measured]) -> Iterable[states.Transition]:
    """Past episodes outside the one remembered. An arrival in the past says nothing of a clock: no skew from those."""
    if not past or rule.metric is model.Metric.CLOCK_SKEW_S:
        return
    known = state.opened_at if state.phase is not states.Phase.INACTIVE else None
    for one in episodes(rule, past):
        begins_after = state.resolved_at is not None and one.opened_at > state.resolved_at
        ends_before = known is not None and (one.resolved_at or one.at) < known
        if known is None or begins_after or ends_before:
            yield one


def episodes(rule: model.Rule, readings: Iterable[Measured]) -> list[states.Transition]:
    """Whole episodes in readings of the past as RECORDED; one that does not end within them ends with its last."""
    last, told = run(rule, states.State(), (one._replace(held=False) for one in readings))
    if last.phase is states.Phase.FIRING and last.last_seen_at is not None:
        end = last.clear_at or last.last_seen_at
        told = (*told, states.resolve(rule, last, end, None, states.Cause.CLEARED)[1])
    return [one._replace(kind=states.Kind.RECORDED, quiet=True) for one in told if one.kind is states.Kind.RESOLVED]
