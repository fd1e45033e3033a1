"""One rule on the new rows of one device. Pure.

Called by ``evaluate`` if the device has a state or a row beyond a limit; calls ``step``.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Any

from voltd.rules import confirmation, hourly, metric_value, model, observation, rule_state, scope, step

_NEVER = dt.datetime.min.replace(tzinfo=dt.UTC)
_ALONE = (
    *model.HOURLY,
    model.Metric.CLOCK_SKEW_S,
    model.Metric.UNIT_FACTOR,
)  # in rows of their own, with an order of their own
_ALONE_COLUMNS = tuple(observation.COLUMN[metric] for metric in _ALONE)


def evaluate(
    rule: model.Rule, key: observation.DeviceKey, rows: Iterable[observation.Observation], context: observation.Context
) -> Iterator[observation.Outcome]:
    """Evaluates the rule for the device; also without rows, because a waiting time may have ended."""
    device, every = context.device(key), list(rows)
    form = rule.for_device(device)
    if form is None:
        return
    state_key = (rule.name, *key)
    column, telemetry = observation.COLUMN[rule.metric], rule.metric not in _ALONE
    reread = [row.recorded_at for row in every if row.reread] if telemetry else []
    if state_key in context.states:
        before, evaluated_at = context.states[state_key], context.evaluated_at.get(key) if telemetry else None
    elif reread or any(row.spooling or (not row.context and _over(form, row, column)) for row in every):
        before, evaluated_at = _initial(rule.metric, key, context) if telemetry else rule_state.State(), None
    else:
        return
    values = _values(form, every, column, context.now, telemetry=telemetry)
    after, transitions = step.step(form, before, values, context.now, evaluated_at, heard_since=context.healthy_since)
    window = (min(reread), max(reread)) if reread else None
    after, transitions, changed = _with_note(form, device, before, after, transitions)
    inactive = after.phase is before.phase is rule_state.Phase.INACTIVE
    if transitions or window or (after != before and not inactive):
        yield observation.Outcome(rule.name, device, after, transitions, window, changed)


def _with_note(
    form: model.Rule,
    device: scope.Device,
    before: rule_state.State,
    after: rule_state.State,
    transitions: tuple[rule_state.Transition, ...],
) -> tuple[rule_state.State, tuple[rule_state.Transition, ...], rule_state.Transition | None]:
    """With the words of what was found on units; and the transition with a new message, if only the words change."""
    if form.metric is not model.Metric.UNIT_FACTOR or after.phase is not rule_state.Phase.FIRING:
        return after, transitions, None
    note = device.note or before.note
    after = dataclasses.replace(after, note=note)
    transitions = tuple(one._replace(note=note) for one in transitions)
    if transitions or note == before.note:
        return after, transitions, None
    at = after.last_seen_at or after.opened_at or _NEVER
    changed = rule_state.transition(rule_state.TransitionKind.FIRED, form, after, at, after.peak_value)
    return after, (), changed._replace(note=note)


def _initial(metric: model.Metric, key: observation.DeviceKey, context: observation.Context) -> rule_state.State:
    """The state of a device that has none: readings within all limits count as evaluated."""
    evaluated_at = context.evaluated_at.get(key)
    if evaluated_at is None or key not in context.valued_at:
        return rule_state.State(evaluated_at=evaluated_at)
    valued_at = context.valued_at[key].get(metric, _NEVER)
    return rule_state.State(evaluated_at=evaluated_at, valued_at=valued_at if valued_at < evaluated_at else None)


def _values(
    form: model.Rule, every: Iterable[observation.Observation], column: int, now: dt.datetime, *, telemetry: bool
) -> Iterator[metric_value.MetricValue]:
    late_after = dt.timedelta(seconds=form.late_after_s)
    times: collections.deque[tuple[dt.datetime, dt.datetime]] = collections.deque(maxlen=confirmation.LOOKS_BACK)
    confirms = form.alone_after_intervals > 0
    # Pieces of a history follow one another, and what precedes one of them may be in another.
    for row in sorted(every, key=lambda one: one.recorded_at) if confirms else every:
        values: tuple[Any, ...] = row
        value, interval_s = _value(form, row, column), None
        if confirms and value is not None and not row.retained:
            if not times or row.recorded_at > times[-1][0]:
                times.append((row.recorded_at, row.received_at))
            interval_s = confirmation.interval_s(times) if form.over(value) else None
        if row.context:
            continue
        if all(values[one] is None for one in _ALONE_COLUMNS) if telemetry else value is not None:
            yield metric_value.MetricValue(
                row.recorded_at, row.received_at, value, row.charging, row.spooling, row.retained,
                deferred=row.deferred and now - row.recorded_at > late_after,
                reread=row.reread, again=row.again, worded=row.worded, interval_s=interval_s,
            )  # fmt: skip


def _value(form: model.Rule, row: observation.Observation, column: int) -> float | None:
    values: tuple[Any, ...] = row
    value: float | None = values[column]
    return value if value is None or row.bounds is None else hourly.certain(form, value, row.bounds)


def _over(form: model.Rule, row: observation.Observation, column: int) -> bool:
    value = _value(form, row, column)
    return value is not None and form.over(value)
