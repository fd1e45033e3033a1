"""Confirmation: when one reading alone is enough after all, and when a worse one counts.

Part of ``step``. A rule with ``min_count`` waits for the next readings of the device, so that one bad sample of a
sensor notifies nobody. A device may report rarely, or never again: with ``alone_after_intervals`` a reading that
nothing has contradicted for so many of the device's own intervals fires by itself. Steps of severity are confirmed the
same way. Pure.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import statistics
from collections.abc import Sequence

from voltd.rules import model
from voltd.rules import state as states

LOOKS_BACK = 12  # readings
UNKNOWN_S = 60.0  # of a device that has not sent two of these readings yet
_LEAST_S = 2.5  # twice this is longer than a message and a check take


def interval_s(times: Sequence[tuple[dt.datetime, dt.datetime]]) -> float | None:
    """How far apart a device's readings are, s; a device that sends packs is as slow as its packs.

    Args:
        times: (corrected device time, arrival) of its last readings with a value, oldest first, the present one last.
    """
    if len(times) < 2:  # noqa: PLR2004
        return None
    spans = [(later[0] - one[0]).total_seconds() for one, later in itertools.pairwise(times)]
    measured_s = statistics.median(spans)
    arrivals = sorted({arrived for _, arrived in times})
    gaps = [(later - one).total_seconds() for one, later in itertools.pairwise(arrivals)]
    arrived_s = statistics.median(gaps) if gaps else sum(spans)
    return max(measured_s, min(arrived_s, sum(spans)), _LEAST_S)


def wait(rule: model.Rule, state: states.State) -> dt.timedelta:
    """How long nothing may contradict a reading that waits to be confirmed."""
    return dt.timedelta(seconds=rule.alone_after_intervals * (state.interval_s or UNKNOWN_S))


def waited(rule: model.Rule, state: states.State, at: dt.datetime) -> bool:
    """Whether a reading waits to be confirmed, and the next one is dated too late to contradict it."""
    if state.unconfirmed_at is None or state.last_seen_at is None or not rule.alone_after_intervals:
        return False
    return at > state.last_seen_at + wait(rule, state)


def alone(rule: model.Rule, state: states.State) -> tuple[states.State, tuple[states.Transition, ...]]:
    """Nothing has contradicted the last reading: it counts as confirmed."""
    at = state.last_seen_at
    state = dataclasses.replace(state, unconfirmed_at=None)
    if at is None or not (rule.active_hours is None or rule.active_hours.contain(at)):
        return state, ()
    last = state.recent[-1] if state.recent else state.peak_value
    severity = severest(state.severity or rule.severity, rule.severity if last is None else rule.severity_of(last))
    if state.phase is states.Phase.PENDING:
        state = dataclasses.replace(state, phase=states.Phase.FIRING, count=0, severity=severity)
        return state, (states.transition(states.Kind.FIRED, rule, state, at, last),)
    if state.phase is states.Phase.FIRING and state.severity is not None and severity.rank > state.severity.rank:
        state = dataclasses.replace(state, severity=severity)
        return state, (states.transition(states.Kind.ESCALATED, rule, state, at, last),)
    return state, ()


def contradict(rule: model.Rule, state: states.State, at: dt.datetime, value: float | None) -> states.State:
    """What came too late to fire or clear anything still says that a single reading was not confirmed."""
    if state.unconfirmed_at is None or value is None or state.last_seen_at is None or at <= state.last_seen_at:
        return state
    if state.phase is states.Phase.PENDING and not rule.over(value):
        return states.inactive(state)
    if state.phase is states.Phase.FIRING and rule.severity_of(value).rank <= (state.severity or rule.severity).rank:
        return dataclasses.replace(state, unconfirmed_at=None, recent=())
    return state


def severest(one: model.Severity, other: model.Severity) -> model.Severity:
    """The worse of two."""
    return one if one.rank >= other.rank else other
