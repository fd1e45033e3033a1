"""Rows for the rules: one reading each, and one rule on the new rows of one device. Pure.

Part of ``evaluate``, which asks for it where a device has a state or a row beyond a limit.
"""

from __future__ import annotations

import collections
import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from voltd.rules import confirm, model, rhythm, scope
from voltd.rules import state as states
from voltd.rules import step as steps

_NEVER = dt.datetime.min.replace(tzinfo=dt.UTC)
Key = tuple[scope.DeviceType, str]  # device type and id
StateKey = tuple[str, scope.DeviceType, str]  # rule, device type and id


class Observation(NamedTuple):
    """One reading as the rules see it, its ``recorded_at`` corrected (``offsets``); None is missing.

    Attributes:
        charging: as last known, see ``charging``.
        retained: the broker's retain flag.
        held: it did not come just now, but could not be judged before (it was in the spool, say).
        past: it was read for the sake of history; it may well have been judged and told before.
        again: it has been judged before, unless a field has been filled in since.
        before: it is no news at all, but says how often the device reports.
        worded: the reading itself says whether the vehicle is charging.
    """

    device_type: scope.DeviceType
    device_id: str
    recorded_at: dt.datetime
    received_at: dt.datetime
    soc_pct: float | None = None
    speed_kmh: float | None = None
    battery_temp_c: float | None = None
    efficiency_pct: float | None = None
    clock_skew_s: float | None = None
    ingest_lag_s: float | None = None
    charging: bool = False
    spooling: bool = False
    retained: bool = False
    held: bool = False
    past: bool = False
    again: bool = False
    before: bool = False
    worded: bool = False


class Outcome(NamedTuple):
    """What a check changed for one rule and one device; nothing changed: no outcome.

    Attributes:
        rule: its name.
        device: whom it judges.
        state: to be remembered.
        transitions: what happened, to be written and told.
        past: all past episodes within this are among the transitions.
        said: what the open episode says from now on; nobody is told.
    """

    rule: str
    device: scope.Device
    state: states.State
    transitions: tuple[states.Transition, ...]
    past: tuple[dt.datetime, dt.datetime] | None = None
    said: states.Transition | None = None

    @property
    def key(self) -> StateKey:
        """Whose it is."""
        return (self.rule, self.device.device_type, self.device.device_id)


class Known(NamedTuple):
    """What one check is told beside the rows."""

    devices: Mapping[Key, scope.Device]
    states: Mapping[StateKey, states.State]
    judged_at: Mapping[Key, dt.datetime]
    valued_at: Mapping[Key, Mapping[model.Metric, dt.datetime]]
    now: dt.datetime
    healthy_since: dt.datetime | None
    heard: Mapping[Key, rhythm.Heard]

    def device(self, key: Key) -> scope.Device:
        """The device, as registered or by its name."""
        return self.devices.get(key) or scope.Device(*key)


def judge(rule: model.Rule, key: Key, rows: Iterable[Observation], known: Known) -> Iterator[Outcome]:
    """One rule on the new rows of one device; none is fine: the time that something waits for may be over."""
    device, every = known.device(key), list(rows)
    form = rule.for_device(device)
    if form is None:
        return
    state_key = (rule.name, *key)
    column, telemetry = COLUMN[rule.metric], rule.metric not in _ALONE
    past = [row.recorded_at for row in every if row.past] if telemetry else []
    if state_key in known.states:
        before, judged_at = known.states[state_key], known.judged_at.get(key) if telemetry else None
    elif past or any(row.spooling or (not row.before and _over(form, row, column)) for row in every):
        before, judged_at = _unknown(rule.metric, key, known) if telemetry else states.State(), None
    else:
        return
    after, told = steps.step(
        form, before, _readings(form, every, column, known.now, telemetry=telemetry), known.now, judged_at,
        heard_since=known.healthy_since,
    )  # fmt: skip
    window = (min(past), max(past)) if past else None
    if told or window or (after != before and not (after.phase is before.phase is states.Phase.INACTIVE)):
        yield Outcome(rule.name, device, after, told, window)


def _unknown(metric: model.Metric, key: Key, known: Known) -> states.State:
    """Of a device without a state: what has been judged, by not being beyond a limit."""
    judged_at = known.judged_at.get(key)
    if judged_at is None or key not in known.valued_at:
        return states.State(judged_at=judged_at)
    valued_at = known.valued_at[key].get(metric, _NEVER)
    return states.State(judged_at=judged_at, valued_at=valued_at if valued_at < judged_at else None)


def _readings(
    form: model.Rule, every: Iterable[Observation], column: int, now: dt.datetime, *, telemetry: bool
) -> Iterator[steps.Measured]:
    late_after = dt.timedelta(seconds=form.late_after_s)
    times: collections.deque[tuple[dt.datetime, dt.datetime]] = collections.deque(maxlen=confirm.LOOKS_BACK)
    confirms = form.alone_after_intervals > 0
    # Pieces of a history come one after the other, and what is known before one may be in another.
    for row in sorted(every, key=lambda one: one.recorded_at) if confirms else every:
        values: tuple[Any, ...] = row
        value, interval_s = values[column], None
        if confirms and value is not None and not row.retained:
            if not times or row.recorded_at > times[-1][0]:
                times.append((row.recorded_at, row.received_at))
            interval_s = confirm.interval_s(times) if form.over(value) else None
        if row.before:
            continue
        if (row.efficiency_pct is None and row.clock_skew_s is None) if telemetry else value is not None:
            yield steps.Measured(
                row.recorded_at, row.received_at, value, row.charging, row.spooling, row.retained,
                held=row.held and now - row.recorded_at > late_after,
                past=row.past, again=row.again, worded=row.worded, interval_s=interval_s,
            )  # fmt: skip


def _over(rule: model.Rule, row: tuple[Any, ...], column: int) -> bool:
    value = row[column]
    return value is not None and rule.over(value)


COLUMN = {
    metric: Observation._fields.index(metric.value) for metric in model.Metric if metric.value in Observation._fields
}
_ALONE = (model.Metric.EFFICIENCY_PCT, model.Metric.CLOCK_SKEW_S)  # in rows of their own, with an order of their own
