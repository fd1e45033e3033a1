"""The values of readings as one rule sees them: their order, and which of them are new.

Part of ``step``. Pure.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable
from typing import NamedTuple

from voltd.rules import model, rule_state

_INSTANT = dt.timedelta(microseconds=1)


class MetricValue(NamedTuple):
    """One value of one reading, as a rule sees it.

    Attributes:
        value: in the metric's unit; None: the reading has none (but ``charging`` and ``spooling`` may matter).
        charging: whether the vehicle was on a charger, as last known at that reading.
        spooling: whether the spool was in use.
        retained: the broker's retain flag.
        deferred: received in time, but more than ``late_after_s`` old by now, and not evaluated yet.
        reread: read again because readings around it arrived late; it may have been evaluated before.
        again: evaluated before, unless a field has been filled in since.
        worded: the reading itself says whether the vehicle charges.
        interval_s: the device's usual interval; None: not known.
    """

    recorded_at: dt.datetime
    received_at: dt.datetime
    value: float | None
    charging: bool = False
    spooling: bool = False
    retained: bool = False
    deferred: bool = False
    reread: bool = False
    again: bool = False
    worded: bool = False
    interval_s: float | None = None


def by_time(readings: Iterable[MetricValue]) -> list[MetricValue]:
    """Oldest first; of several with the same time the one received first, as the natural key stores it."""
    found: list[MetricValue] = []
    for one in sorted(readings, key=_sort_key):
        if not found or found[-1].recorded_at != one.recorded_at:
            found.append(one)
    return found


def _sort_key(one: MetricValue) -> tuple[dt.datetime | bool | float, ...]:
    """The same order whatever the order of arrival."""
    value = -math.inf if one.value is None else one.value
    return (one.recorded_at, one.retained, one.reread, one.received_at, value, one.charging, one.spooling, one.deferred)


def divided(
    rule: model.Rule, state: rule_state.State, readings: Iterable[MetricValue]
) -> tuple[list[MetricValue], list[MetricValue], list[MetricValue]]:
    """Live, late and reread ones. Duplicates and retained ones are left out."""
    late_after = dt.timedelta(seconds=rule.late_after_s)
    live: list[MetricValue] = []
    late: list[MetricValue] = []
    reread: list[MetricValue] = []
    for one in by_time(readings):
        if one.retained:
            continue
        if one.reread:
            reread.append(one)
        elif (new := _new_part(rule, state, one)) is not None:
            (late if one.received_at - one.recorded_at > late_after else live).append(new)
        elif state.evaluated_at is not None and one.recorded_at < state.evaluated_at and not one.again:
            late.append(one)
    return live, late, reread


def _new_part(rule: model.Rule, state: rule_state.State, one: MetricValue) -> MetricValue | None:
    """What of a reading is newer than what has been evaluated; None: nothing is."""
    if state.evaluated_at is None or one.recorded_at > state.evaluated_at:
        return one
    if one.value is not None and state.valued_at is not None and one.recorded_at > state.valued_at:
        return one
    if rule.clear_when_charging and one.worded and state.worded_at is not None and one.recorded_at > state.worded_at:
        return one._replace(value=None)
    return None


def with_progress(
    rule: model.Rule, state: rule_state.State, before: rule_state.State, one: MetricValue
) -> rule_state.State:
    """The state with how far readings, values and charging words have been evaluated once this reading is."""
    at = one.recorded_at
    evaluated_at = at if before.evaluated_at is None else max(at, before.evaluated_at)
    valued_at = None
    if one.value is not None or one.spooling:
        valued_at = None if at == evaluated_at else at
    else:
        valued_at = before.valued_at or before.evaluated_at or at - _INSTANT
    worded_at = before.worded_at
    if rule.clear_when_charging and not one.worded:
        worded_at = worded_at or before.evaluated_at or at - _INSTANT
    elif rule.clear_when_charging:
        worded_at = None if at == evaluated_at else at
    return state.with_progress(evaluated_at, valued_at, worded_at)


def with_late_progress(state: rule_state.State, readings: list[MetricValue]) -> rule_state.State:
    """The state after late readings: they are evaluated as well, and never read again."""
    for one in readings:
        evaluated_at, valued_at, worded_at = state.evaluated_at, state.valued_at, state.worded_at
        if evaluated_at is None or one.recorded_at > evaluated_at:
            evaluated_at = one.recorded_at
        if valued_at is not None and one.value is not None and one.recorded_at > valued_at:
            valued_at = one.recorded_at if one.recorded_at < evaluated_at else None
        if worded_at is not None and one.worded and one.recorded_at > worded_at:
            worded_at = one.recorded_at if one.recorded_at < evaluated_at else None
        state = state.with_progress(evaluated_at, valued_at, worded_at)
    return state
