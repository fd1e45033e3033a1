"""What goes into an evaluation and what comes out of it: readings as rows, what is known beside them, outcomes.

Used by ``evaluate`` and ``one_rule``; ``cycle`` makes the rows and writes the outcomes. Pure.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import NamedTuple

from voltd.rules import hourly, model, rhythm, rule_state, scope

DeviceKey = tuple[scope.DeviceType, str]  # device type and id
StateKey = tuple[str, scope.DeviceType, str]  # rule, device type and id
States = Mapping[StateKey, rule_state.State]


class Observation(NamedTuple):
    """One reading as the rules see it, its ``recorded_at`` corrected (``device_clocks``); None: no such value.

    Attributes:
        charging: as last known, see ``charging_status``.
        retained: the broker's retain flag.
        deferred: did not arrive just now, but could not be evaluated before (it was in the spool, for example).
        reread: read again because readings around it arrived late; it may have been evaluated before.
        again: evaluated before, unless a field has been filled in since.
        context: not new at all; shows how often the device reports.
        worded: the reading itself says whether the vehicle is charging.
        bounds: of the figure of an hour; None: it is exact.
    """

    device_type: scope.DeviceType
    device_id: str
    recorded_at: dt.datetime
    received_at: dt.datetime
    soc_pct: float | None = None
    speed_kmh: float | None = None
    battery_temp_c: float | None = None
    efficiency_pct: float | None = None
    unassigned_kwh: float | None = None
    correlation_pct: float | None = None
    pair_offset_s: float | None = None
    clock_skew_s: float | None = None
    unit_factor: float | None = None
    ingest_lag_s: float | None = None
    charging: bool = False
    spooling: bool = False
    retained: bool = False
    deferred: bool = False
    reread: bool = False
    again: bool = False
    context: bool = False
    worded: bool = False
    bounds: hourly.Bounds | None = None


COLUMN = {
    metric: Observation._fields.index(metric.value) for metric in model.Metric if metric.value in Observation._fields
}


class Outcome(NamedTuple):
    """What a cycle changed for one rule and one device; without a change there is no outcome.

    Attributes:
        rule: its name.
        device: the device it was evaluated for.
        state: to be stored.
        transitions: to be stored and notified.
        reread: all past episodes within this are among the transitions.
        message_change: carries the open episode's new message; nobody is notified.
    """

    rule: str
    device: scope.Device
    state: rule_state.State
    transitions: tuple[rule_state.Transition, ...]
    reread: tuple[dt.datetime, dt.datetime] | None = None
    message_change: rule_state.Transition | None = None

    @property
    def key(self) -> StateKey:
        """Rule and device."""
        return (self.rule, self.device.device_type, self.device.device_id)

    @property
    def finds_past(self) -> bool:
        """Whether past episodes may have changed."""
        kinds = (one.kind for one in self.transitions)
        return self.reread is not None or rule_state.TransitionKind.RECORDED in kinds


class Context(NamedTuple):
    """What one evaluation knows beside the rows; see ``evaluate.RuleSet.evaluate``."""

    devices: Mapping[DeviceKey, scope.Device]
    states: States
    evaluated_at: Mapping[DeviceKey, dt.datetime]
    valued_at: Mapping[DeviceKey, Mapping[model.Metric, dt.datetime]]
    now: dt.datetime
    healthy_since: dt.datetime | None
    activity: Mapping[DeviceKey, rhythm.DeviceActivity]

    def device(self, key: DeviceKey) -> scope.Device:
        """The device, as registered or by its name."""
        return self.devices.get(key) or scope.Device(*key)
