"""One rule, one device: the state and what is new go in, the next state and its transitions come out.

Called by ``one_rule`` (live) and ``backtest`` (stored history) with the rule as ``Rule.for_device`` gives it. Pure: the
result depends on the arguments alone, never on when or how often it is called. ``advance`` evaluates a single reading,
``late_episodes`` those that arrived late. Rules on inactivity have ``inactivity.step`` instead.

The contract:

- Every reading counts, in the order of ``recorded_at``. One reading over the limit fires a rule with ``for_s = 0`` and
  ``min_count = 1``, whatever came after it.
- ``min_count`` readings in a row, in device time and however far apart, confirm each other; with
  ``alone_after_intervals`` a reading that nothing contradicts for so long fires by itself (``confirmation``).
- ``for_s`` ends at a reading, never at ``now``: the rule fires with the first reading that is over the limit and at
  least ``for_s`` younger than the first of an unbroken run. Nobody knows what the device does after its last reading.
  An assumption would raise alerts that the next reading, already on its way, denies, and episodes would depend on the
  time of the cycle. So one reading with nothing after it never fires a ``for_s`` rule. A reading within the limit, or a
  gap of more than ``late_after_s``, breaks the run.
- An episode begins (``opened_at``) with the first reading of its run. It is resolved at the first reading that clears;
  with ``keep_firing_for_s`` that long after it, unless a reading in between does not clear. This much is assumed when
  no more readings arrive: it resolves once the clock is past it, counted from the arrival of the clearing reading.
- ``recorded_at`` is the corrected device time: the caller corrects clocks that are ahead or behind.
- A reading not newer than the newest evaluated one is a duplicate (same time) or late (older), unless it has a value
  and no later one with a value has been evaluated: a field that was filled in counts as if it had been there. A reading
  received more than ``late_after_s`` after it was recorded, and one that is reread, is late as well. A retained one is
  ignored. None of these changes the phase; ``evaluated_at`` advances over late ones. A late excursion is returned as
  one RECORDED transition, unless it overlaps the current episode.
- A deferred reading arrived in time but is evaluated too late to notify anybody. It may end a running episode or break
  a run. It never fires or escalates, and where nothing is running it is late.
- So within one call order and duplicates mean nothing, and neither does how in-order readings are divided into calls.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable

from voltd.rules import advance, confirmation, late_episodes, metric_value, model, rule_state


def step(
    rule: model.Rule,
    state: rule_state.State,
    readings: Iterable[metric_value.MetricValue],
    now: dt.datetime,
    evaluated_at: dt.datetime | None = None,
    *,
    heard_since: dt.datetime | None = None,
) -> advance.Result:
    """Evaluates what is new. Transitions are in the order in which they happened; past episodes come last.

    Args:
        rule: in the form that holds for the device.
        state: as the last call returned it; ``State()`` at first.
        readings: new ones, in any order.
        now: not before any ``received_at``.
        evaluated_at: newest ``recorded_at`` evaluated for this device, if the caller knows more than ``state`` does.
        heard_since: since when readings of the device have been received without delay; None: they are not, and no
            reading that waits to be confirmed fires by itself.
    """
    if evaluated_at is not None and (state.evaluated_at is None or evaluated_at > state.evaluated_at):
        state = dataclasses.replace(state, evaluated_at=evaluated_at, valued_at=None)
    live, late, reread = metric_value.divided(rule, state, readings)
    transitions: list[rule_state.Transition] = []
    doubts = late[:] if rule.alone_after_intervals else []
    for one in live:
        while doubts and doubts[0].recorded_at < one.recorded_at:
            doubt = doubts.pop(0)
            state = confirmation.contradict(rule, state, doubt.recorded_at, doubt.value)
        if one.deferred and state.phase is not rule_state.Phase.FIRING:
            late.append(one)
            if state.idle:
                continue
        state, new = advance.advance(rule, state, one)
        transitions += new
    for doubt in doubts:
        state = confirmation.contradict(rule, state, doubt.recorded_at, doubt.value)
    state, new = advance.by_the_clock(rule, state, now, heard_since)
    transitions += new
    state = metric_value.with_late_progress(state, live + late)
    for found in (late, reread):  # apart: what lies between them is not known
        transitions.extend(late_episodes.outside(rule, state, found))
    return state, tuple(transitions)
