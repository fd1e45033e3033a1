"""Confirmation: when one reading is enough to fire, and when a worse one is enough to escalate.

Part of ``step``. A rule with ``min_count`` waits for the next readings of the device, so that one bad sample of a
sensor notifies nobody. A device may report rarely, or never again: with ``alone_after_intervals`` a reading that
nothing has contradicted for so many of the device's usual intervals fires by itself. Steps of severity are confirmed
the same way. Pure.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import statistics
from collections.abc import Sequence

from voltd.rules import model, rule_state

LOOKS_BACK = 12  # readings
UNKNOWN_S = 60.0  # of a device that has not sent two of these readings yet
_LEAST_S = 2.5  # twice this is longer than a message and a cycle take


def interval_s(times: Sequence[tuple[dt.datetime, dt.datetime]]) -> float | None:
    """The usual interval between a device's readings, s; of a device that sends packs the interval between packs.

    Args:
        times: (corrected device time, arrival) of its last readings with a value, oldest first.
    """
    if len(times) < 2:  # noqa: PLR2004
        return None
    spans = [(later[0] - one[0]).total_seconds() for one, later in itertools.pairwise(times)]
    measured_s = statistics.median(spans)
    arrivals = sorted({arrived for _, arrived in times})
    gaps = [(later - one).total_seconds() for one, later in itertools.pairwise(arrivals)]
    arrived_s = statistics.median(gaps) if gaps else sum(spans)
    return max(measured_s, min(arrived_s, sum(spans)), _LEAST_S)


def wait(rule: model.Rule, state: rule_state.State) -> dt.timedelta:
    """How long a reading has to go uncontradicted until it is confirmed."""
    return dt.timedelta(seconds=rule.alone_after_intervals * (state.interval_s or UNKNOWN_S))


def waited(rule: model.Rule, state: rule_state.State, at: dt.datetime) -> bool:
    """Whether a reading waits to be confirmed, and one of time ``at`` is too late to contradict it."""
    if state.unconfirmed_at is None or state.last_seen_at is None or not rule.alone_after_intervals:
        return False
    return at > state.last_seen_at + wait(rule, state)


def confirm(rule: model.Rule, state: rule_state.State) -> tuple[rule_state.State, tuple[rule_state.Transition, ...]]:
    """Confirms the last reading: nothing has contradicted it."""
    at = state.last_seen_at
    state = dataclasses.replace(state, unconfirmed_at=None)
    if at is None or not rule.active_at(at):
        return state, ()
    last = state.recent[-1] if state.recent else state.peak_value
    severity = severest(state.severity or rule.severity, rule.severity if last is None else rule.severity_of(last))
    if state.phase is rule_state.Phase.PENDING:
        state = dataclasses.replace(state, phase=rule_state.Phase.FIRING, count=0, severity=severity)
        return state, (rule_state.transition(rule_state.TransitionKind.FIRED, rule, state, at, last),)
    if state.phase is rule_state.Phase.FIRING and state.severity is not None and severity.rank > state.severity.rank:
        state = dataclasses.replace(state, severity=severity)
        return state, (rule_state.transition(rule_state.TransitionKind.ESCALATED, rule, state, at, last),)
    return state, ()


def contradict(rule: model.Rule, state: rule_state.State, at: dt.datetime, value: float | None) -> rule_state.State:
    """A late reading neither fires nor clears, but it contradicts a reading that waits to be confirmed."""
    if state.unconfirmed_at is None or value is None or state.last_seen_at is None or at <= state.last_seen_at:
        return state
    if state.phase is rule_state.Phase.PENDING and not rule.over(value):
        return rule_state.inactive(state)
    if (
        state.phase is rule_state.Phase.FIRING
        and rule.severity_of(value).rank <= (state.severity or rule.severity).rank
    ):
        return dataclasses.replace(state, unconfirmed_at=None, recent=())
    return state


def severest(one: model.Severity, other: model.Severity) -> model.Severity:
    """The worse of two."""
    return one if one.rank >= other.rank else other
