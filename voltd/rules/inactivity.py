"""Inactivity: when nothing is received any more from a device that was seen before, and when something is again.

The counterpart of ``step`` for rules with ``metric = "silence"``; called by ``evaluate``. Pure. What counts is the
arrival of any sign of life, by the clock of voltd: a backlog is as good a sign as a live reading, a retained message is
none (the caller leaves it out of ``seen_at``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt

from voltd.rules import model, rule_state


def counted_from(rule: model.Rule, seen_at: dt.datetime, healthy_since: dt.datetime) -> dt.datetime:
    """From when on inactivity counts: the last sign of life, or ``grace_s`` after an outage if that is later."""
    if healthy_since <= seen_at:
        return seen_at
    return max(seen_at, healthy_since + dt.timedelta(seconds=rule.grace_s))


def evaluate(
    rule: model.Rule,
    state: rule_state.State,
    seen_at: dt.datetime | None,
    now: dt.datetime,
    healthy_since: dt.datetime | None,
    *,
    note: str | None,
) -> tuple[rule_state.State, tuple[rule_state.Transition, ...], rule_state.Transition | None]:
    """As ``step``, of a device whose message may be something else than how long it has been inactive.

    Args:
        rule: see ``step``.
        state: see ``step``.
        seen_at: see ``step``; None of a device that fires: nothing is known of it any more, and its episode resolves,
            suppressed.
        now: see ``step``.
        healthy_since: see ``step``.
        note: the message; None: how long the device has been inactive.

    Returns:
        also a transition with the episode's new message, if that changes without a transition.
    """
    if seen_at is None:
        return (*rule_state.close(rule.name, state, now), None)
    after, transitions = step(rule, state, seen_at, now, healthy_since)
    if after.phase is not rule_state.Phase.FIRING:
        return after, tuple(one._replace(note=note) for one in transitions), None
    if note is None and state.note is not None and not _counts(rule, now, healthy_since):
        note = state.note  # voltd was away, the device did not stop
    after = dataclasses.replace(after, note=note)
    if transitions or after.note == state.note:
        return after, tuple(one._replace(note=note) for one in transitions), None
    changed = rule_state.transition(rule_state.TransitionKind.FIRED, rule, after, now, (now - seen_at).total_seconds())
    return after, (), changed._replace(note=note)


def _counts(rule: model.Rule, now: dt.datetime, healthy_since: dt.datetime | None) -> bool:
    """Whether voltd has been healthy for so long that it would have heard a device that still sends."""
    limit = dt.timedelta(seconds=rule.grace_s + (rule.fire_above or 0.0))
    return healthy_since is not None and now > healthy_since + limit


def step(
    rule: model.Rule,
    state: rule_state.State,
    seen_at: dt.datetime | None,
    now: dt.datetime,
    healthy_since: dt.datetime | None,
) -> tuple[rule_state.State, tuple[rule_state.Transition, ...]]:
    """Evaluates one device.

    The rule fires when inactivity is longer than ``fire_above``. ``opened_at`` is the moment at which it became that,
    whenever the cycle runs. It is resolved by a sign of life after which the device is not inactive too long again.
    Meanwhile the state changes only by an escalation. ``value`` and ``peak_value`` are seconds of inactivity.

    Args:
        rule: in the form that holds for the device.
        state: as the last call returned it; ``State()`` at first.
        seen_at: last sign of life; None: never seen, which is no inactivity.
        now: the clock of voltd.
        healthy_since: since when broker, voltd and database have all been there; None: one is not, and no rule fires,
            since it is not the device that is inactive.
    """
    if seen_at is None:
        return state, ()
    if state.phase is rule_state.Phase.FIRING:
        return _firing(rule, state, seen_at, now, healthy_since)
    if healthy_since is None:
        return state, ()
    opened_at = counted_from(rule, seen_at, healthy_since) + dt.timedelta(seconds=rule.fire_above or 0.0)
    if now <= opened_at or not rule.active_at(now):
        return state, ()
    inactive_s = (now - seen_at).total_seconds()
    severity = rule.severity_of((now - counted_from(rule, seen_at, healthy_since)).total_seconds())
    state = rule_state.State(
        rule_state.Phase.FIRING, rule.watches, seen_at, opened_at, now, peak_value=inactive_s, severity=severity
    )
    return state, (rule_state.transition(rule_state.TransitionKind.FIRED, rule, state, now, inactive_s),)


def _firing(
    rule: model.Rule, state: rule_state.State, seen_at: dt.datetime, now: dt.datetime, healthy_since: dt.datetime | None
) -> tuple[rule_state.State, tuple[rule_state.Transition, ...]]:
    before = state.evaluated_at or seen_at
    since = now if healthy_since is None else counted_from(rule, seen_at, healthy_since)
    heard = seen_at > before or (seen_at != before and before > now)  # voltd's clock was ahead, and has been set
    if heard and rule.clear((now - since).total_seconds()):
        inactive_s = max(0.0, (seen_at - before).total_seconds())
        state = dataclasses.replace(state, peak_value=max(inactive_s, state.peak_value or 0.0), last_seen_at=seen_at)
        state, ended = rule_state.resolve(
            rule, state, max(seen_at, state.opened_at or seen_at), inactive_s, rule_state.Cause.SEEN
        )
        return state, (ended,)
    if healthy_since is None:
        return state, ()
    severity = rule.severity_of((now - since).total_seconds())
    notified = state.severity or rule.severity
    if severity.rank <= notified.rank or not rule.active_at(now):
        return state, ()
    inactive_s = (now - seen_at).total_seconds()
    state = dataclasses.replace(state, severity=severity, peak_value=inactive_s, last_seen_at=now)
    return state, (rule_state.transition(rule_state.TransitionKind.ESCALATED, rule, state, now, inactive_s),)
