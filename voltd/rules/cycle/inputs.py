"""Reads what is new since the last evaluation cycle as rows for ``evaluate``.

The first step of a ``cycle``, in its transaction. Telemetry of the vehicles that may matter is read by ``telemetry``.
Inactivity, clock skew and figures of hours (``hourly_figures``) concern many devices at once: they are read as sets,
and less often. Evaluates nothing, writes nothing.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable
from typing import Any

import psycopg

from voltd.database import queries
from voltd.host import host_clock
from voltd.rules import device_clocks, message, model, observation, rhythm, rule_state
from voltd.rules.cycle import daemon_health, hourly_figures, telemetry, unit_looks

_INACTIVITY_EVERY_S = 5.0
_SKEW_EVERY_S = 60.0
_HOST_LOOKS = 3

_Connection = psycopg.Connection[Any]


@dataclasses.dataclass
class CycleInputs:
    """What one cycle evaluates, and what it has taken from the queues. See ``evaluate.RuleSet.evaluate``."""

    rows: list[observation.Observation] = dataclasses.field(default_factory=list)
    evaluated_at: dict[observation.DeviceKey, dt.datetime] = dataclasses.field(default_factory=dict)
    valued_at: dict[observation.DeviceKey, dict[model.Metric, dt.datetime]] = dataclasses.field(default_factory=dict)
    excursions: list[int] = dataclasses.field(default_factory=list)
    last_seen: dict[observation.DeviceKey, dt.datetime | None] = dataclasses.field(default_factory=dict)
    activity: dict[observation.DeviceKey, rhythm.DeviceActivity] = dataclasses.field(default_factory=dict)
    efficiency_until: dt.datetime | None = None
    words: dict[observation.DeviceKey, str] = dataclasses.field(default_factory=dict)  # on units that are in doubt

    @property
    def devices(self) -> set[observation.DeviceKey]:
        """Devices that the cycle concerns, beside those with a state."""
        return {(row.device_type, row.device_id) for row in self.rows} | set(self.last_seen)


class CycleReader:
    """Reads what is new.

    Args:
        rules: those in force.
        known_clocks: what the last reader knew of the devices' clocks.
    """

    def __init__(self, rules: Iterable[model.Rule], known_clocks: device_clocks.DeviceClocks | None = None) -> None:
        self.clocks = known_clocks or device_clocks.DeviceClocks()
        self.rules = tuple(rule for rule in rules if rule.variants())
        self._telemetry = telemetry.TelemetryReader(self.rules)
        self._inactivity_at = self._skew_at = float("-inf")
        self._host_looks = 0
        self._hourly = hourly_figures.HourlyReader(self.rules)
        self._units = unit_looks.UnitLooks(self.rules)
        self._inactivity_every_s = min((_INACTIVITY_EVERY_S, *(one / 4 for one in self._limits(model.Metric.SILENCE))))

    @property
    def around(self) -> dt.timedelta:
        """How far around late readings the history is reread."""
        return self._telemetry.around

    def again(self) -> None:
        """The last cycle wrote nothing: reads the same again. Clocks are sampled, and wait for their next look."""
        self._inactivity_at = float("-inf")
        self._hourly.again()

    def _limits(self, metric: model.Metric) -> list[float]:
        """The limits of its rules, in any form."""
        variants = [one for rule in self.rules if rule.metric is metric for one in rule.variants()]
        return [one.fire_above for one in variants if one.fire_above is not None]

    def read(
        self,
        connection: _Connection,
        states: observation.States,
        *,
        now: dt.datetime,
        clock_s: float,
        healthy_since: dt.datetime | None,
        efficiency_until: dt.datetime | None,
        busy: bool,
        host: host_clock.HostClock | None = None,
    ) -> CycleInputs:
        """What a cycle needs beside the states.

        Args:
            connection: in the cycle's transaction.
            states: all of them.
            now: the time of the cycle.
            clock_s: monotonic seconds, for what is read less often.
            healthy_since: see ``evaluate.RuleSet.evaluate``.
            efficiency_until: hours before this are done; None: begin now.
            busy: leave late excursions for a later cycle.
            host: this host's clock; while it may be wrong, no device's is measured by it. None: it is not in doubt.
        """
        skew: list[observation.Observation] = []
        if clock_s - self._skew_at >= _SKEW_EVERY_S:  # first: it corrects the readings' times
            self._skew_at = clock_s
            skew = self._skew(connection, states, now, healthy_since, host)
        found = CycleInputs(*self._telemetry.read(connection, states, now, self.clocks.behind_s, busy=busy))
        found.rows += skew
        if clock_s - self._inactivity_at >= self._inactivity_every_s:
            self._inactivity_at = clock_s
            self._inactivity(connection, found, now, healthy_since)
        rows, found.efficiency_until = self._hourly.read(connection, now, healthy_since, efficiency_until)
        units = self._units.read(connection, states, now, clock_s, busy=busy)
        found.rows += [*rows, *units.rows]
        found.words = units.words
        return found

    def _inactivity(
        self, connection: _Connection, found: CycleInputs, now: dt.datetime, healthy_since: dt.datetime | None
    ) -> None:
        rules = [rule for rule in self.rules if rule.metric is model.Metric.SILENCE]
        limits = self._limits(model.Metric.SILENCE)
        if not limits:
            return
        before = now - dt.timedelta(seconds=min(limits))
        counts = healthy_since is not None and before > healthy_since
        forms = [one for rule in rules for one in rule.variants()]
        wanted = {
            "rules": [rule.name for rule in rules],
            "now": now,
            "counts": counts,
            "worsens": any(one.severity_steps for one in forms),
            "least_s": min(limits),
            "parked_s": min(one.fire_above_parked or 0.0 for one in forms),
            "at_most_s": min(one.fire_above_at_most or 0.0 for one in forms),
            "times": rhythm.FACTOR,
        }
        for *key, seen_at, usual_s, parked, newly_known, since, reason, detail in connection.execute(
            queries.text("stale_devices"), wanted
        ):
            text = None if since is None else message.refused(reason, detail, since)
            found.last_seen[key[0], key[1]] = seen_at
            found.activity[key[0], key[1]] = rhythm.DeviceActivity(usual_s, parked, text, newly_known)

    def _skew(
        self,
        connection: _Connection,
        states: observation.States,
        now: dt.datetime,
        healthy_since: dt.datetime | None,
        host: host_clock.HostClock | None,
    ) -> list[observation.Observation]:
        """One sample a device and minute, whatever the rules. After an outage, when all are late, two minutes later.

        If this host's clock is wrong, corrections are learnt all the same, since readings are dated by the devices but
        late by this clock. But no alert is raised of a device.
        """
        names = [rule.name for rule in self.rules if rule.metric is model.Metric.CLOCK_SKEW_S]
        limits = self._limits(model.Metric.CLOCK_SKEW_S)
        every = dt.timedelta(seconds=_SKEW_EVERY_S)
        if healthy_since is None or now - healthy_since < 2 * every:
            return []
        found, offs = [], []
        limit_s = min(limits, default=device_clocks.WORTH_S)
        wanted = {"rules": names, "since": now - every, "above": min(limit_s, device_clocks.WORTH_S)}
        for device_type, device_id, seen_at, behind_s in connection.execute(queries.text("skewed_devices"), wanted):
            key: observation.DeviceKey = (device_type, device_id)
            offs.append(behind_s)
            off_s, certain = self.clocks.off_s(key, device_clocks.Sample(seen_at, behind_s), limit_s)
            known = {one: states[one] for name in names if (one := (name, *key)) in states}
            if limits and (certain or not any(one.phase is rule_state.Phase.FIRING for one in known.values())):
                row = observation.Observation(*key, seen_at, seen_at, clock_skew_s=off_s)
                found.append(daemon_health.after_evaluated(row, known))
        self.clocks.forget(now)
        if host is not None and self._of_host(
            connection, [one for one in offs if abs(one) > limit_s], now - every, host
        ):
            return []
        return found

    def _of_host(
        self, connection: _Connection, offs: list[float], since: dt.datetime, host: host_clock.HostClock
    ) -> bool:
        """Whether it is this host's clock that is off. Suspected from the third look on: until then all may be late."""
        shown = device_clocks.shared(offs)
        witness = host.wrong(-shown[0], shown[1]) if shown is not None else ""
        suspicion = None
        if shown is not None and witness:
            (heard,) = connection.execute(queries.text("devices_heard"), {"since": since}).fetchone() or (0,)
            if 2 * shown[1] > heard:
                suspicion = host_clock.Suspicion(-shown[0], shown[1], heard, witness)
        self._host_looks = self._host_looks + 1 if suspicion else 0
        host.suspect(suspicion if self._host_looks >= _HOST_LOOKS else None)
        return suspicion is not None or (bool(host.describe()) and not host.mistrusts_database())
