"""Figures of vehicle-hours that have ended: which of them a cycle evaluates, and those that are computed for it.

Part of ``inputs``. Efficiency and unassigned energy are stored and read as a set. What is computed from pairs of
readings (``model.PAIRED``) costs milliseconds a vehicle-hour: only vehicles are asked for that took energy and that a
rule covers, a few in each cycle, so that no cycle is long.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import psycopg

from voltd.database import queries
from voltd.rules import evaluate, hourly, model, observation, scope
from voltd.rules.cycle import registered

_SETTLE = dt.timedelta(minutes=10)
_KNOWN = dt.timedelta(minutes=40)  # an hour is kept by then; what is late counts from there
_LONGEST_CATCH_UP = dt.timedelta(hours=24)
_HOUR = dt.timedelta(hours=1)
_LOOK_EVERY = dt.timedelta(minutes=1)  # at hours whose readings may still come late
_PAIRED_AT_ONCE = 25

_Connection = psycopg.Connection[Any]


class VehicleHour(NamedTuple):
    """A figure that is wanted."""

    metric: model.Metric
    vehicle_id: str
    ended_at: dt.datetime


class HourlyReader:
    """Reads the figures of hours.

    Args:
        rules: those in force.
    """

    def __init__(self, rules: Iterable[model.Rule]) -> None:
        self._rules = [rule for rule in rules if rule.metric in model.HOURLY]
        self._read_until: dt.datetime | None = None
        self._known_at = self._looked_at = dt.datetime.min.replace(tzinfo=dt.UTC)
        self._done: dt.datetime | None = None  # hours before this are done once nothing is pending
        self._pending: list[VehicleHour] = []
        self._was_healthy = False

    def again(self) -> None:
        """The last cycle wrote nothing: reads the same again."""
        self._read_until = None

    def read(
        self, connection: _Connection, now: dt.datetime, healthy_since: dt.datetime | None, until: dt.datetime | None
    ) -> tuple[list[observation.Observation], dt.datetime | None]:
        """Closed hours, as soon as they are kept; also those before, once a minute, until their figure is late.

        None before ten minutes after its end. Most of an hour has arrived by then, but meters and vehicles may send
        theirs later. None is done while readings of it wait to be computed. After an outage voltd itself is late: hours
        are read once more when all has been healthy for ten minutes, and none is done before.

        Args:
            connection: in the cycle's transaction.
            now: the time of the cycle.
            healthy_since: see ``evaluate.RuleSet.evaluate``.
            until: hours before this are done; None: begin now.

        Returns:
            The figures; and before which hours all is done, None if that is as before.
        """
        settled = _floor(now - _SETTLE)
        if until is None or not self._rules:
            return [], settled if until is None or until < settled else None
        healthy_long = healthy_since is not None and now - healthy_since >= _SETTLE
        recovered, self._was_healthy = healthy_long and not self._was_healthy, healthy_long
        rows: list[observation.Observation] = []
        if settled != self._read_until:
            settled = _kept(connection, until, settled)
        if settled != self._read_until or recovered or now - self._looked_at >= _LOOK_EVERY:
            self._looked_at, self._known_at = now, now - _KNOWN
            late_after = dt.timedelta(seconds=max(rule.late_after_s for rule in self._rules))
            done = min(settled, _floor(self._known_at - late_after))
            waits = until < done and _waits(connection, until, done)
            self._done = done if healthy_long and until < done and not waits else None
            since = max(until, settled - _LONGEST_CATCH_UP)
            rows += self._observations(self._stored(connection, since, settled))
            if self._read_until is None or recovered:
                self._pending = []
            else:  # once an hour: they cost too much to be computed again for what is late
                since = max(since, self._read_until)
            self._pending += self._paired(connection, since, settled)
            self._read_until = settled
        if self._pending:
            wanted, self._pending = self._pending[:_PAIRED_AT_ONCE], self._pending[_PAIRED_AT_ONCE:]
            rows += self._observations(paired(connection, wanted))
        done_until = None
        if not self._pending:
            done_until, self._done = self._done, None
        return rows, done_until

    def _observations(self, figures: Iterable[tuple[Any, ...]]) -> Iterator[observation.Observation]:
        """Figures as rows. What it took to keep and to compute them makes no hour late."""
        for metric, vehicle, ended_at, value, *bounds in figures:
            yield observation.Observation(
                "vehicle",
                vehicle,
                ended_at,
                max(ended_at, self._known_at),
                bounds=hourly.Bounds(*bounds),
                **{metric: value},
            )

    def _stored(self, connection: _Connection, since: dt.datetime, until: dt.datetime) -> Iterable[tuple[Any, ...]]:
        ranges = [one for one in evaluate.RuleSet(self._rules).bounds("vehicle") if one.metric not in model.PAIRED]
        if not ranges:
            return ()
        wanted = {
            "since": since,
            "until": until,
            "metrics": [one.metric for one in ranges],
            "belows": [one.below for one in ranges],
            "aboves": [one.above for one in ranges],
            "rules": [rule.name for rule in self._rules],
        }
        return connection.execute(queries.text("hourly_figures"), wanted)

    def _paired(self, connection: _Connection, since: dt.datetime, until: dt.datetime) -> list[VehicleHour]:
        rules = [rule for rule in self._rules if rule.metric in model.PAIRED]
        if not rules:
            return []
        hours = charged(connection, since, until, None)
        devices = registered.devices(connection, {("vehicle", vehicle) for vehicle, _ in hours})
        return [
            VehicleHour(metric, vehicle, ended_at)
            for vehicle, ended_at in hours
            for metric in covered(rules, devices.get(("vehicle", vehicle)) or scope.Device("vehicle", vehicle))
        ]


def charged(
    connection: _Connection, since: dt.datetime, until: dt.datetime, ids: list[str] | None
) -> list[tuple[str, dt.datetime]]:
    """Vehicle and end of the hours in [since, until) in which a vehicle took energy of a meter, hour by hour."""
    wanted = {"since": since, "until": until, "ids": ids}
    return [(vehicle, ended_at) for vehicle, ended_at in connection.execute(queries.text("charged_hours"), wanted)]


def covered(rules: Iterable[model.Rule], device: scope.Device) -> list[model.Metric]:
    """What of pairs the rules watch of a vehicle."""
    return sorted(
        {rule.metric for rule in rules if rule.metric in model.PAIRED and rule.for_device(device) is not None}
    )


def paired(connection: _Connection, wanted: Sequence[VehicleHour]) -> Iterable[tuple[Any, ...]]:
    """Computes figures of pairs, in this order; as rows of ``hourly_figures``."""
    metrics, ids, ends = (list(column) for column in zip(*wanted, strict=True))
    return connection.execute(queries.text("paired_figures"), {"metrics": metrics, "ids": ids, "ends": ends})


def _kept(connection: _Connection, since: dt.datetime, until: dt.datetime) -> dt.datetime:
    """Up to where in [since, until] the hours are kept."""
    row = connection.execute(queries.text("hours_kept"), {"since": since, "until": until}).fetchone()
    return row[0] if row else since


def _waits(connection: _Connection, since: dt.datetime, until: dt.datetime) -> bool:
    """Whether readings or corrections of the hours in [since, until) wait to be computed."""
    row = connection.execute(queries.text("late_hours_waiting"), {"since": since, "until": until}).fetchone()
    return row is not None and row[0]


def _floor(at: dt.datetime) -> dt.datetime:
    """The beginning of its hour."""
    return at.replace(minute=0, second=0, microsecond=0)
