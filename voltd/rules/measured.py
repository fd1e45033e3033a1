"""Readings as one rule sees them, their order, and which of them are news.

Part of ``step``. Pure.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Iterable
from typing import NamedTuple

from voltd.rules import model
from voltd.rules import state as states

_INSTANT = dt.timedelta(microseconds=1)


class Measured(NamedTuple):
    """One value of one reading, as a rule sees it.

    Attributes:
        value: in the metric's unit; None says nothing of it (but ``charging`` and ``spooling`` may).
        charging: whether the vehicle was on a charger, as last known at that reading.
        spooling: whether the spool was in use.
        retained: the broker's retain flag.
        held: in time when it was received, but by now more than ``late_after_s`` old, and not judged yet.
        past: read for the sake of the past; whether it has been judged does not matter.
        again: judged before, unless a field has been filled in since.
        worded: the reading itself says whether the vehicle charges.
        interval_s: the device's own interval; None: not known.
    """

    recorded_at: dt.datetime
    received_at: dt.datetime
    value: float | None
    charging: bool = False
    spooling: bool = False
    retained: bool = False
    held: bool = False
    past: bool = False
    again: bool = False
    worded: bool = False
    interval_s: float | None = None


def in_order(readings: Iterable[Measured]) -> list[Measured]:
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


def divided(
    rule: model.Rule, state: states.State, readings: Iterable[Measured]
) -> tuple[list[Measured], list[Measured], list[Measured]]:
    """Live ones, late ones, and those of the past; duplicates and retained ones are neither."""
    late_after = dt.timedelta(seconds=rule.late_after_s)
    live: list[Measured] = []
    late: list[Measured] = []
    past: list[Measured] = []
    for one in in_order(readings):
        if one.retained:
            continue
        if one.past:
            past.append(one)
        elif (new := _unjudged(rule, state, one)) is not None:
            (late if one.received_at - one.recorded_at > late_after else live).append(new)
        elif state.judged_at is not None and one.recorded_at < state.judged_at and not one.again:
            late.append(one)
    return live, late, past


def _unjudged(rule: model.Rule, state: states.State, one: Measured) -> Measured | None:
    """What of a reading is newer than what has been judged; None: nothing is."""
    if state.judged_at is None or one.recorded_at > state.judged_at:
        return one
    if one.value is not None and state.valued_at is not None and one.recorded_at > state.valued_at:
        return one
    if rule.clear_when_charging and one.worded and state.worded_at is not None and one.recorded_at > state.worded_at:
        return one._replace(value=None)
    return None


def judged(rule: model.Rule, state: states.State, before: states.State, one: Measured) -> states.State:
    """The state with how far has been judged: readings, values, and words on charging."""
    at = one.recorded_at
    judged_at = at if before.judged_at is None else max(at, before.judged_at)
    valued_at = None
    if one.value is not None or one.spooling:
        valued_at = None if at == judged_at else at
    else:
        valued_at = before.valued_at or before.judged_at or at - _INSTANT
    worded_at = before.worded_at
    if rule.clear_when_charging and not one.worded:
        worded_at = worded_at or before.judged_at or at - _INSTANT
    elif rule.clear_when_charging:
        worded_at = None if at == judged_at else at
    if (state.judged_at, state.valued_at, state.worded_at) == (judged_at, valued_at, worded_at):
        return state
    return dataclasses.replace(state, judged_at=judged_at, valued_at=valued_at, worded_at=worded_at)


def judged_late(state: states.State, readings: list[Measured]) -> states.State:
    """What came late has been judged as well: nobody has to read it again."""
    for one in readings:
        judged_at, valued_at, worded_at = state.judged_at, state.valued_at, state.worded_at
        if judged_at is None or one.recorded_at > judged_at:
            judged_at = one.recorded_at
        if valued_at is not None and one.value is not None and one.recorded_at > valued_at:
            valued_at = one.recorded_at if one.recorded_at < judged_at else None
        if worded_at is not None and one.worded and one.recorded_at > worded_at:
            worded_at = one.recorded_at if one.recorded_at < judged_at else None
        if (judged_at, valued_at, worded_at) != (state.judged_at, state.valued_at, state.worded_at):
            state = dataclasses.replace(state, judged_at=judged_at, valued_at=valued_at, worded_at=worded_at)
    return state
