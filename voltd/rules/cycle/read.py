"""What is new since the last check of the rules, read from the database as rows for ``evaluate``.

The first half of a check (``check``); called in its transaction. Telemetry of the vehicles that may matter comes from
``cycle.vehicles``; silence, clock skew and efficiency, which concern many devices at once, are looked at as sets and
less often. Judges nothing, writes nothing.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

import psycopg

from voltd.daemon import host_clock
from voltd.database import queries
from voltd.rules import clocks, evaluate, message, model, rhythm, scope, state
from voltd.rules.cycle import daemons, vehicles

TELEMETRY = vehicles.METRICS

_SILENCE_EVERY_S = 5.0
_SKEW_EVERY_S = 60.0
_HOST_LOOKS = 3
_SETTLE = dt.timedelta(minutes=10)
_LONGEST_CATCH_UP = dt.timedelta(hours=24)

_Connection = psycopg.Connection[Any]


@dataclasses.dataclass
class News:
    """What one check has to judge, and what it has taken from the queues."""

    rows: list[evaluate.Observation] = dataclasses.field(default_factory=list)
    judged_at: dict[evaluate.Key, dt.datetime] = dataclasses.field(default_factory=dict)
    valued_at: dict[evaluate.Key, dict[model.Metric, dt.datetime]] = dataclasses.field(default_factory=dict)
    excursions: list[int] = dataclasses.field(default_factory=list)
    last_seen: dict[evaluate.Key, dt.datetime | None] = dataclasses.field(default_factory=dict)
    heard: dict[evaluate.Key, rhythm.Heard] = dataclasses.field(default_factory=dict)
    efficiency_until: dt.datetime | None = None


class CycleReader:
    """Reads what is new.

    Args:
        rules: those in force.
        late_excursions: how many of these one check takes on.
        known_clocks: what the last reader knew of the devices' clocks.
    """

    def __init__(
        self, rules: Iterable[model.Rule], late_excursions: int, known_clocks: clocks.Clocks | None = None
    ) -> None:
        self.clocks = known_clocks or clocks.Clocks()
        self.rules = tuple(rule for rule in rules if rule.variants())
        self._telemetry = vehicles.TelemetryReader(self.rules, late_excursions)
        self._silence_at = self._skew_at = float("-inf")
        self._host_looks = 0
        self._settled: dt.datetime | None = None
        self._steady = False
        self._silence_every_s = min((_SILENCE_EVERY_S, *(one / 4 for one in self._limits(model.Metric.SILENCE))))

    @property
    def around(self) -> dt.timedelta:
        """How far around late readings their past is evaluated anew."""
        return self._telemetry.around

    def again(self) -> None:
        """What was read last was not written: it is looked at once more. Clocks are samples, and wait for the next."""
        self._silence_at = float("-inf")
        self._settled = None

    def names(self, metrics: Iterable[model.Metric]) -> list[str]:
        """Names of the rules that watch one of these."""
        wanted = frozenset(metrics)
        return [rule.name for rule in self.rules if rule.metric in wanted]

    def _limits(self, metric: model.Metric) -> list[float]:
        """From where on any of its rules fires, in any form."""
        variants = [one for rule in self.rules if rule.metric is metric for one in rule.variants()]
        return [one.fire_above for one in variants if one.fire_above is not None]

    def read(
        self,
        connection: _Connection,
        states: Mapping[evaluate.StateKey, state.State],
        *,
        now: dt.datetime,
        clock_s: float,
        healthy_since: dt.datetime | None,
        efficiency_until: dt.datetime | None,
        busy: bool,
        host: host_clock.HostClock | None = None,
    ) -> News:
        """Everything a check needs to know beside the states.

        Args:
            connection: in the check's transaction.
            states: all that is remembered.
            now: the time of the check.
            clock_s: monotonic seconds, for what is looked at less often.
            healthy_since: see ``evaluate.Plan.check``.
            efficiency_until: hours before this have been judged for good; None: begin now.
            busy: leave late excursions for later.
            host: this host's clock; where it may be wrong, no device's is judged by it. None: it is not in doubt.
        """
        skew: list[evaluate.Observation] = []
        if clock_s - self._skew_at >= _SKEW_EVERY_S:  # first: it corrects the readings' times
            self._skew_at = clock_s
            skew = self._skew(connection, states, now, healthy_since, host)
        news = News(*self._telemetry.read(connection, states, now, self.clocks.behind_s, busy=busy))
        news.rows += skew
        if clock_s - self._silence_at >= self._silence_every_s:
            self._silence_at = clock_s
            self._silence(connection, news, now, healthy_since)
        self._efficiency(connection, news, now, healthy_since, efficiency_until)
        return news

    def _silence(
        self, connection: _Connection, news: News, now: dt.datetime, healthy_since: dt.datetime | None
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
            "times": rhythm.TIMES,
        }
        for *key, seen_at, usual_s, parked, lately, since, reason, detail in connection.execute(
            queries.text("stale_devices"), wanted
        ):
            text = None if since is None else message.refused(reason, detail, since)
            news.last_seen[key[0], key[1]] = seen_at
            news.heard[key[0], key[1]] = rhythm.Heard(usual_s, parked, text, lately)

    def _skew(
        self,
        connection: _Connection,
        states: Mapping[evaluate.StateKey, state.State],
        now: dt.datetime,
        healthy_since: dt.datetime | None,
        host: host_clock.HostClock | None,
    ) -> list[evaluate.Observation]:
        """One sample a device and minute, whatever the rules. After an outage, when all are late, two minutes later.

        Where it is this host's clock that is wrong, corrections are learnt all the same: readings are dated by devices,
        and late by its word. But no device is told of.
        """
        names, limits = self.names((model.Metric.CLOCK_SKEW_S,)), self._limits(model.Metric.CLOCK_SKEW_S)
        every = dt.timedelta(seconds=_SKEW_EVERY_S)
        if healthy_since is None or now - healthy_since < 2 * every:
            return []
        found, offs = [], []
        limit_s = min(limits, default=clocks.WORTH_S)
        wanted = {"rules": names, "since": now - every, "above": min(limit_s, clocks.WORTH_S)}
        for device_type, device_id, seen_at, behind_s in connection.execute(queries.text("skewed_devices"), wanted):
            key: evaluate.Key = (device_type, device_id)
            offs.append(behind_s)
            off_s, certain = self.clocks.off_s(key, clocks.Sample(seen_at, behind_s), limit_s)
            known = {one: states[one] for name in names if (one := (name, *key)) in states}
            if limits and (certain or not any(one.phase is state.Phase.FIRING for one in known.values())):
                row = evaluate.Observation(*key, seen_at, seen_at, clock_skew_s=off_s)
                found.append(daemons.in_order(row, known))
        self.clocks.forget(now)
        if host is not None and self._of_host(
            connection, [one for one in offs if abs(one) > limit_s], now - every, host
        ):
            return []
        return found

    def _of_host(
        self, connection: _Connection, offs: list[float], since: dt.datetime, host: host_clock.HostClock
    ) -> bool:
        """Whether it is this host's clock that is off. Told from the third look on: until then all may be late."""
        shown = clocks.shared(offs)
        witness = host.wrong(-shown[0], shown[1]) if shown is not None else ""
        suspicion = None
        if shown is not None and witness:
            (heard,) = connection.execute(queries.text("devices_heard"), {"since": since}).fetchone() or (0,)
            if 2 * shown[1] > heard:
                suspicion = host_clock.Suspicion(-shown[0], shown[1], heard, witness)
        self._host_looks = self._host_looks + 1 if suspicion else 0
        host.suspect(suspicion if self._host_looks >= _HOST_LOOKS else None)
        return suspicion is not None or (bool(host.describe()) and not host.mistrusts_database())

    def _efficiency(
        self,
        connection: _Connection,
        news: News,
        now: dt.datetime,
        healthy_since: dt.datetime | None,
        efficiency_until: dt.datetime | None,
    ) -> None:
        """Closed hours, ten minutes after the end of each: also those before it, as long as their figure is no history.

        Most of an hour has come by then, but meters and vehicles may send theirs later. After an outage voltd itself
        is late: hours are looked at once more when all has been well for ten minutes, and none is done with before.
        """
        settled = _floor(now - _SETTLE)
        rules = [rule for rule in self.rules if rule.metric is model.Metric.EFFICIENCY_PCT]
        if efficiency_until is None or not rules:
            news.efficiency_until = settled if efficiency_until is None or efficiency_until < settled else None
            return
        steady = healthy_since is not None and now - healthy_since >= _SETTLE
        recovered, self._steady = steady and not self._steady, steady
        if settled == self._settled and not recovered:
            return
        self._settled = settled
        done = _floor(now - dt.timedelta(seconds=max(rule.late_after_s for rule in rules)))
        if steady and efficiency_until < done:
            news.efficiency_until = done
        variants = [one for rule in rules for one in rule.variants()]
        wanted = {
            "since": max(efficiency_until, settled - _LONGEST_CATCH_UP),
            "until": settled,
            "below": max((one.fire_below for one in variants if one.fire_below is not None), default=float("-inf")),
            "above": min((one.fire_above for one in variants if one.fire_above is not None), default=float("inf")),
            "rules": [rule.name for rule in rules],
        }
        for vehicle, ended_at, value in connection.execute(queries.text("trusted_hours"), wanted):
            news.rows.append(evaluate.Observation("vehicle", vehicle, ended_at, now, efficiency_pct=value))


def registry(connection: _Connection, keys: Iterable[evaluate.Key]) -> dict[evaluate.Key, scope.Device]:
    """Those of the devices that are registered."""
    ids: dict[str, list[str]] = {"vehicle": [], "meter": [], "system": []}
    for device_type, device_id in keys:
        ids[device_type].append(device_id)
    if not (ids["vehicle"] or ids["meter"]):
        return {}
    wanted = {"vehicles": ids["vehicle"], "meters": ids["meter"]}
    return {row[:2]: scope.Device(*row) for row in connection.execute(queries.text("registry_of_devices"), wanted)}


def _floor(at: dt.datetime) -> dt.datetime:
    """The beginning of its hour."""
    return at.replace(minute=0, second=0, microsecond=0)
