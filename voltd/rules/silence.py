"""Silence: when a device that has been seen before is not heard any more, and when it is heard again.

The counterpart of ``step`` for rules that watch ``silence``; called by ``evaluate``. Pure. Not readings are judged but
the arrival of any sign of life, by the clock of voltd: a backlog is as good a sign as a live reading, a retained
message is none (the caller leaves it out of ``seen_at``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt

from voltd.rules import model
from voltd.rules import state as states


def counted_from(rule: model.Rule, seen_at: dt.datetime, healthy_since: dt.datetime) -> dt.datetime:
    """From when on silence counts: the last sign of life, or ``grace_s`` after an outage if that is later."""
    if healthy_since <= seen_at:
        return seen_at
    return max(seen_at, healthy_since + dt.timedelta(seconds=rule.grace_s))


def step(
    rule: model.Rule,
    state: states.State,
    seen_at: dt.datetime | None,
    now: dt.datetime,
    healthy_since: dt.datetime | None,
) -> tuple[states.State, tuple[states.Transition, ...]]:
    """Judges one device.

    It fires when silence is longer than ``fire_above``, with ``opened_at`` the moment it became that: the same whenever
    the check runs. It is resolved by a sign of life after which the device is not silent too long again. While it lasts
    the state does not change (but for an escalation). ``value`` and ``peak_value`` are seconds of silence.

    Args:
        rule: in the form that holds for the device.
        state: as the last call returned it; ``State()`` at first.
        seen_at: last sign of life; None: never seen, which is no silence.
        now: the clock of voltd.
        healthy_since: since when broker, voltd and database have all been there; None: one is not, and nothing is
            raised, for it is not the device that is silent.
    """
    if seen_at is None:
        return state, ()
    if state.phase is states.Phase.FIRING:
        return _firing(rule, state, seen_at, now, healthy_since)
    if healthy_since is None:
        return state, ()
    opened_at = counted_from(rule, seen_at, healthy_since) + dt.timedelta(seconds=rule.fire_above or 0.0)
    if now <= opened_at or not (rule.active_hours is None or rule.active_hours.contain(now)):
        return state, ()
    silent_s = (now - seen_at).total_seconds()
    severity = rule.severity_of((now - counted_from(rule, seen_at, healthy_since)).total_seconds())
    state = states.State(
        states.Phase.FIRING, rule.watches, seen_at, opened_at, now, peak_value=silent_s, severity=severity
    )
    return state, (states.transition(states.Kind.FIRED, rule, state, now, silent_s),)


def _firing(
    rule: model.Rule, state: states.State, seen_at: dt.datetime, now: dt.datetime, healthy_since: dt.datetime | None
) -> tuple[states.State, tuple[states.Transition, ...]]:
    before = state.judged_at or seen_at
    since = now if healthy_since is None else counted_from(rule, seen_at, healthy_since)
    heard = seen_at > before or (seen_at != before and before > now)  # voltd's clock was ahead, and has been set
    if heard and rule.clear((now - since).total_seconds()):
        silent_s = max(0.0, (seen_at - before).total_seconds())
        state = dataclasses.replace(state, peak_value=max(silent_s, state.peak_value or 0.0), last_seen_at=seen_at)
        state, ended = states.resolve(
            rule, state, max(seen_at, state.opened_at or seen_at), silent_s, states.Cause.SEEN
        )
        return state, (ended,)
    if healthy_since is None:
        return state, ()
    severity = rule.severity_of((now - since).total_seconds())
    told = state.severity or rule.severity
    if severity.rank <= told.rank or not (rule.active_hours is None or rule.active_hours.contain(now)):
        return state, ()
    silent_s = (now - seen_at).total_seconds()
    state = dataclasses.replace(state, severity=severity, peak_value=silent_s, last_seen_at=now)
    return state, (states.transition(states.Kind.ESCALATED, rule, state, now, silent_s),)
