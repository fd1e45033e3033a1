"""The step: one rule, one device, what is remembered and what is new -> what is remembered and what to tell.

Called by ``evaluate`` (live) and ``replay`` (history) with the rule as ``Rule.for_device`` gives it. Pure: the result
depends on the arguments alone, never on when or how often it is called. Silence is judged by ``silence``.

The contract:

- Every reading counts, in the order of ``recorded_at``. One reading over the limit fires a rule with ``for_s = 0`` and
  ``min_count = 1``, whatever came after it.
- ``min_count`` readings in a row, in device time and however far apart, confirm each other; with
  ``alone_after_intervals`` one that nothing contradicts for so long fires by itself (``confirm``).
- ``for_s`` ends at a reading, never at ``now``: it fires with the first reading that is over the limit and at least
  ``for_s`` younger than the first of an unbroken run. What the device does after its last reading nobody knows; to
  assume it would raise alerts that the next reading, already on its way, denies, and would make episodes depend on the
  time of the check. So one reading followed by silence never fires a ``for_s`` rule. A reading within the limit, or a
  gap of more than ``late_after_s``, breaks the run.
- An episode begins (``opened_at``) with the first reading of its run. It is resolved at the first reading that clears;
  with ``keep_firing_for_s`` that long after it, unless a reading in between does not clear. That much may be assumed
  when no more readings come: it is resolved once the clock is past it, counted from the arrival of the clearing one.
- ``recorded_at`` is the corrected device time: the caller sees to clocks that are ahead or behind.
- A reading not newer than the newest judged is a duplicate (same time) or late (older), unless it has a value and none
  with a value has been judged since: a field that was filled in later counts as if it had been there. A retained one,
  one received more than ``late_after_s`` after it was recorded, and one read for the past's sake is history. None of
  these changes the state, but what came late is judged with it: ``judged_at`` goes on. A late or historic excursion
  comes back as one
  RECORDED transition unless it meets the episode remembered; retained ones never.
- A held reading came in time, but it is too late to tell of it. It goes on with what is running, so it may end an
  episode or break a run; it never fires nor escalates, and where nothing is running it is history.
- So within one call order and duplicates mean nothing, and neither does how in-order readings are divided into calls.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable

from voltd.rules import confirm, measured, model
from voltd.rules import state as states

Measured = measured.Measured

PAST_GAP = dt.timedelta(hours=6)  # a past episode does not go on over a longer time without a reading

_Result = tuple[states.State, tuple[states.Transition, ...]]


def step(
    rule: model.Rule,
    state: states.State,
    readings: Iterable[Measured],
    now: dt.datetime,
    judged_at: dt.datetime | None = None,
    *,
    heard_since: dt.datetime | None = None,
) -> _Result:
    """Judges what is new. Transitions are in the order in which they happened; past episodes come last.

    Args:
        rule: in the form that holds for the device.
        state: as the last call returned it; ``State()`` at first.
        readings: new ones, in any order.
        now: not before any ``received_at``.
        judged_at: newest ``recorded_at`` judged for this device, where the caller knows more than ``state`` does.
        heard_since: since when whatever the device sends has been heard at once; None: it is not, and no reading that
            waits to be confirmed fires by itself.
    """
    if judged_at is not None and (state.judged_at is None or judged_at > state.judged_at):
        state = dataclasses.replace(state, judged_at=judged_at, valued_at=None)
    live, late, past = measured.divided(rule, state, readings)
    told: list[states.Transition] = []
    doubts = late[:] if rule.alone_after_intervals else []
    for one in live:
        while doubts and doubts[0].recorded_at < one.recorded_at:
            doubt = doubts.pop(0)
            state = confirm.contradict(rule, state, doubt.recorded_at, doubt.value)
        if one.held and state.phase is not states.Phase.FIRING:
            late.append(one)
            if state.idle:
                continue
        state, news = _advance(rule, state, one)
        told += news
    for doubt in doubts:
        state = confirm.contradict(rule, state, doubt.recorded_at, doubt.value)
    state, news = _by_the_clock(rule, state, now, heard_since)
    told += news
    state = measured.judged_late(state, live + late)
    for found in (late, past):  # apart: what lies between them is not known
        told.extend(_recorded(rule, state, found))
    return state, tuple(told)


def _by_the_clock(
    rule: model.Rule, state: states.State, now: dt.datetime, heard_since: dt.datetime | None
) -> tuple[states.State, list[states.Transition]]:
    """What ends or begins because nothing more has come."""
    told: list[states.Transition] = []
    if state.clear_at is not None and state.clear_received_at is not None:
        hold = dt.timedelta(seconds=rule.keep_firing_for_s)
        if now >= state.clear_received_at + hold:
            state, ended = states.resolve(rule, state, state.clear_at + hold, None, states.Cause.CLEARED)
            told.append(ended)
    waits_since = state.unconfirmed_at if rule.alone_after_intervals else None
    if waits_since is None or heard_since is None:
        return state, told
    if now >= max(waits_since, heard_since) + confirm.wait(rule, state):
        state, news = confirm.alone(rule, state)
        told += news
    return state, told


def run(rule: model.Rule, state: states.State, readings: Iterable[Measured]) -> _Result:
    """Judges readings as if each had arrived at once: what ``step`` would have said had nothing been late."""
    state, told = _run(rule, state, measured.in_order(readings))
    return state, tuple(told)


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
    if confirm.waited(rule, state, one.recorded_at) and not one.held:
        state, found = confirm.alone(rule, state)
        told += found
    before = state
    cause = _clears(rule, one)
    if state.phase is states.Phase.FIRING:
        state, news = _judge_firing(rule, state, one, cause)
    else:
        state, news = _judge_idle(rule, state, one, cause)
    told += news
    return measured.judged(rule, state, before, one), told


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
    recent = (*state.recent, one.value) if state.phase is states.Phase.PENDING else (one.value,)
    gap = dt.timedelta(seconds=rule.late_after_s)
    if (
        state.phase is states.Phase.PENDING
        and state.last_seen_at is not None
        and (not rule.for_s or one.recorded_at - state.last_seen_at <= gap)
    ):
        peak = _worse(rule, state.peak_value, one.value)
        state = dataclasses.replace(state, count=state.count + 1, last_seen_at=one.recorded_at, peak_value=peak)
    else:
        recent = (one.value,)
        state = states.State(
            states.Phase.PENDING,
            rule.watches,
            state.judged_at,
            opened_at=one.recorded_at,
            last_seen_at=one.recorded_at,
            count=1,
            peak_value=one.value,
            interval_s=one.interval_s,
        )
    if rule.confirms_steps:
        state = dataclasses.replace(state, severity=_severity(rule, state, recent), recent=_kept(rule, recent))
    return _fire_if_due(rule, state, one)


def _fire_if_due(rule: model.Rule, state: states.State, one: Measured) -> _Result:
    opened_at = state.opened_at or one.recorded_at
    lasted = one.recorded_at - opened_at >= dt.timedelta(seconds=rule.for_s)
    if not lasted or state.count < rule.min_count or not _may_fire(rule, one):
        waits = rule.alone_after_intervals and state.count < rule.min_count and not one.held
        return dataclasses.replace(state, unconfirmed_at=one.received_at if waits else None), ()
    severity = state.severity or _severity(rule, state, ())
    state = dataclasses.replace(
        state, phase=states.Phase.FIRING, count=0, severity=severity, unconfirmed_at=_doubted(rule, severity, one)
    )
    return state, (states.transition(states.Kind.FIRED, rule, state, one.recorded_at, one.value),)


def _judge_firing(rule: model.Rule, state: states.State, one: Measured, cause: states.Cause | None) -> _Result:
    if cause is not None:
        if rule.keep_firing_for_s == 0:
            state, ended = states.resolve(rule, state, one.recorded_at, one.value, cause)
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
        recent = _kept(rule, (*state.recent, one.value))
        severity = rule.confirmed_severity(recent, state.severity or rule.severity)
        state = state.seen(one.recorded_at, peak, recent, _doubted(rule, severity, one))
    else:
        state = state.seen(one.recorded_at, peak)
        severity = _severity(rule, state, ())
    if state.severity is not None and severity.rank <= state.severity.rank:
        return state, ()
    if not _may_fire(rule, one):
        return state, ()
    state = dataclasses.replace(state, severity=severity)
    return state, (states.transition(states.Kind.ESCALATED, rule, state, one.recorded_at, one.value),)


def _doubted(rule: model.Rule, severity: model.Severity, one: Measured) -> dt.datetime | None:
    """When the reading arrived, where it is worse than what is confirmed, and may become that by itself."""
    if not rule.alone_after_intervals or not rule.confirms_steps or one.value is None or one.held:
        return None
    return one.received_at if rule.severity_of(one.value).rank > severity.rank else None


def _kept(rule: model.Rule, recent: tuple[float | None, ...]) -> tuple[float | None, ...]:
    return recent[-max(one.min_count for one in rule.severity_steps) :]


def _may_fire(rule: model.Rule, one: Measured) -> bool:
    return not one.held and (rule.active_hours is None or rule.active_hours.contain(one.recorded_at))


def _severity(rule: model.Rule, state: states.State, recent: tuple[float | None, ...]) -> model.Severity:
    """As bad as the readings up to now confirm."""
    if rule.confirms_steps:
        return rule.confirmed_severity(recent, state.severity or rule.severity)
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
    found: list[states.Transition] = []
    for part in _without_gaps(readings):
        found += _episodes(rule, part)
    return found


def _without_gaps(readings: Iterable[Measured]) -> Iterable[list[Measured]]:
    part: list[Measured] = []
    for one in measured.in_order(readings):
        if part and one.recorded_at - part[-1].recorded_at > PAST_GAP:
            yield part
            part = []
        part.append(one)
    if part:
        yield part


def _episodes(rule: model.Rule, readings: Iterable[Measured]) -> list[states.Transition]:
    last, told = run(rule, states.State(), (one._replace(held=False) for one in readings))
    if last.unconfirmed_at is not None:  # and nothing that is known contradicts it
        last, news = confirm.alone(rule, last)
        told = (*told, *news)
    if last.phase is states.Phase.FIRING and last.last_seen_at is not None:
        end = last.clear_at or last.last_seen_at
        told = (*told, states.resolve(rule, last, end, None, states.Cause.CLEARED)[1])
    return [recorded(rule, one) for one in told if one.kind is states.Kind.RESOLVED]


def recorded(rule: model.Rule, one: states.Transition) -> states.Transition:
    """An episode that is over, as one of the past: as bad as its peak, for nobody is notified of a bad sample."""
    severity = one.severity if one.peak_value is None else rule.severity_of(one.peak_value)
    return one._replace(kind=states.Kind.RECORDED, quiet=True, severity=confirm.severest(one.severity, severity))
