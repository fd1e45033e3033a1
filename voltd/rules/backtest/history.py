"""Runs rules over stored history: reads what may matter, device by device, and yields the episodes.

Called by ``commands`` (``voltd rules test``); ``backtest.episodes`` evaluates. Memory holds one reading at a time, the
episodes of one device, and a line a candidate. Reads only. History does not have: whether a message was retained, how
long messages waited, whether voltd was running; and the registry is today's.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, LiteralString, NamedTuple

import psycopg

from voltd.database import queries
from voltd.rules import (
    charging_status,
    confirmation,
    device_clocks,
    evaluate,
    hourly,
    model,
    observation,
    rhythm,
    scope,
)
from voltd.rules.backtest import episodes, stored_readings
from voltd.rules.cycle import hourly_figures, preceding

_Connection = psycopg.Connection[tuple[Any, ...]]
_ROWS_AT_ONCE = 10_000
_LEARNED = dt.timedelta(minutes=10)  # before the period, a daemon had learned what clocks were behind
_HOUR = dt.timedelta(hours=1)
_INSTANT = dt.timedelta(microseconds=1)
_PAIRED_AT_ONCE = 100
_device_of = operator.itemgetter(0)


class Period(NamedTuple):
    """Which history, and of which devices: ``vehicles`` None is all; otherwise these alone, and no meters."""

    begins: dt.datetime
    ends: dt.datetime
    fleet: str | None = None
    vehicles: tuple[str, ...] | None = None


class FoundEpisode(NamedTuple):
    """An episode, and the number of its rule among those that were run, from 0."""

    number: int
    episode: episodes.Episode


def run(connection: _Connection, rules: Sequence[model.Rule], period: Period) -> Iterator[FoundEpisode]:
    """Every episode of these rules in the period, kind by kind, device by device.

    An excursion or inactivity that began before the period begins with it. Two rules may have the same name.

    Args:
        connection: its transaction is used, read only, until the iterator ends.
        rules: those on the ingest itself find nothing.
        period: which readings.

    Raises:
        psycopg.Error: the caller wraps it.
    """
    # Whole results are wanted, not first rows; and sorting millions of rows in 4 MB is slow.
    connection.execute("SET LOCAL cursor_tuple_fraction = 1; SET LOCAL work_mem = '96MB'; SET LOCAL jit = off")
    reader = _Reader(connection, rules, period)
    yield from reader.telemetry()
    yield from reader.inactivity()
    yield from reader.skew()
    yield from reader.hourly()


class _Reader:
    """Reads the four kinds of history."""

    def __init__(self, connection: _Connection, rules: Sequence[model.Rule], period: Period) -> None:
        self._connection, self._period = connection, period
        self._rules = [(index, rule) for index, rule in enumerate(rules) if rule.variants()]
        registry = connection.execute(queries.text("history_registry"))
        self._devices: dict[observation.DeviceKey, scope.Device] = {row[:2]: scope.Device(*row) for row in registry}
        self._ids = None if period.vehicles is None else list(period.vehicles)
        if period.fleet is not None:
            in_fleet = [one.device_id for one in self._devices.values() if one.fleet_id == period.fleet]
            self._ids = [one for one in in_fleet if self._ids is None or one in self._ids]

    def telemetry(self) -> Iterator[FoundEpisode]:
        """Rules on values of vehicles' readings."""
        rules = self._watching(*model.TELEMETRY)
        if not rules:
            return
        limits: dict[str, object] = {}
        for metric in model.TELEMETRY:
            limits[f"{metric}_below"], limits[f"{metric}_above"] = _limits(rules, metric)
        since, last_words = self._candidates(rules, limits)
        if not since:
            return
        tables = {rule.charging for _, rule in rules if rule.clear_when_charging}
        charging = {words: preceding.still_charging(self._connection, words, last_words) for words in tables}
        known = self._clocks(list(since))
        asked = {"ids": list(since), "sinces": list(since.values()), "at_most": confirmation.LOOKS_BACK}
        if any(one.alone_after_intervals for _, rule in rules for one in rule.variants()):
            since |= dict(self._connection.execute(queries.text("history_before"), asked).fetchall())
        wanted = {"ids": list(since), "sinces": list(since.values()), "oldest": min(since.values())}
        for vehicle, rows in itertools.groupby(self._stream("history_rows", wanted), _device_of):
            corrected = stored_readings.ordered(rows, known.get(vehicle))
            begun = {words: found[vehicle] for words, found in charging.items() if vehicle in found}
            yield from self._vehicle(rules, vehicle, corrected, begun)

    def _clocks(self, vehicles: list[str]) -> dict[str, stored_readings.ClockHistory]:
        """What a daemon knew of the clocks that seemed to be behind."""
        wanted = {"ids": vehicles, "above_s": device_clocks.WORTH_S, "begins": self._period.begins - _LEARNED}
        stream = self._stream("history_vehicle_skew", wanted)
        return {
            vehicle: stored_readings.ClockHistory((at, behind_s) for _, at, behind_s in samples)
            for vehicle, samples in itertools.groupby(stream, _device_of)
        }

    def _candidates(
        self, rules: list[tuple[int, model.Rule]], limits: dict[str, object]
    ) -> tuple[dict[str, dt.datetime], dict[str, preceding.LastWord]]:
        """Which vehicles to read from which time on, and the last word on charging before."""
        since: dict[str, dt.datetime] = {}
        last_words: dict[str, preceding.LastWord] = {}
        unknown: dict[str, dt.datetime] = {}
        found = self._connection.execute(queries.text("history_candidates"), self._parameters(limits)).fetchall()
        for vehicle, at, word, word_at in found:
            if not self._forms(rules, self._device("vehicle", vehicle)):
                continue
            since[vehicle] = at
            if word is not None and word_at is not None and word_at < at:
                last_words[vehicle] = preceding.LastWord(vehicle, word, word_at, at)
            elif word is not None:
                unknown[vehicle] = at
        if unknown and any(rule.clear_when_charging for _, rule in rules):
            asked = {"ids": list(unknown), "sinces": list(unknown.values())}
            for vehicle, word, word_at in self._connection.execute(queries.text("history_charging"), asked):
                last_words[vehicle] = preceding.LastWord(vehicle, word, word_at, since[vehicle])
        return since, last_words

    def _vehicle(
        self,
        rules: list[tuple[int, model.Rule]],
        vehicle: str,
        rows: Iterable[tuple[Any, ...]],
        begun: Mapping[charging_status.Charging, dt.datetime],
    ) -> Iterator[FoundEpisode]:
        device = self._device("vehicle", vehicle)
        trackers = [(index, episodes.Tracker(form, device)) for index, form in self._forms(rules, device)]
        episodes.add_rows([one for _, one in trackers], rows, begun, begins=self._period.begins)
        for index, tracker in trackers:
            yield from self._ended(index, tracker)

    def inactivity(self) -> Iterator[FoundEpisode]:
        """Rules on inactivity: gaps between arrivals. The device's rhythm is learnt from the shorter ones."""
        for device_type, query in self._kinds("history_vehicle_gaps", "history_meter_gaps"):
            rules = [one for one in self._watching(model.Metric.SILENCE) if device_type in one[1].applies_to]
            longest = [one.fire_above for _, rule in rules for one in rule.variants() if one.fire_above is not None]
            if not longest:
                continue
            stream = self._stream(query, {"longer_than_s": min(longest) / rhythm.FACTOR})
            for device_id, rows in itertools.groupby(stream, _device_of):
                device = self._device(device_type, device_id)
                gaps = [episodes.Gap(*row[1:]) for row in rows]
                for index, form in self._forms(rules, device):
                    for one in episodes.of_inactivity(form, device, gaps, self._period.ends):
                        yield FoundEpisode(index, one)

    def skew(self) -> Iterator[FoundEpisode]:
        """Rules on clocks: at the arrival of a reading, once a minute."""
        for device_type, query in self._kinds("history_vehicle_skew", "history_meter_skew"):
            rules = [one for one in self._watching(model.Metric.CLOCK_SKEW_S) if device_type in one[1].applies_to]
            limits = [one.fire_above for _, rule in rules for one in rule.variants() if one.fire_above is not None]
            if limits:
                stream = self._stream(query, {"above_s": min(limits)})
                yield from self._samples(rules, device_type, _off(device_type, stream, min(limits)))

    def hourly(self) -> Iterator[FoundEpisode]:
        """Rules on figures of hours that end within the period."""
        rules = self._watching(*model.HOURLY)
        metrics = {rule.metric for _, rule in rules}
        hours = {"since": self._period.begins, "until": self._period.ends - _HOUR + _INSTANT}
        if stored := metrics - {*model.PAIRED}:
            wanted = {**hours, "metrics": list(stored), "rules": []}
            yield from self._figures(rules, self._stream("history_hours", wanted))
        if metrics & {*model.PAIRED}:
            yield from self._figures(rules, self._paired(rules, **hours))

    def _paired(
        self, rules: list[tuple[int, model.Rule]], since: dt.datetime, until: dt.datetime
    ) -> Iterator[tuple[Any, ...]]:
        wanted = sorted(
            hourly_figures.VehicleHour(metric, vehicle, ended_at)
            for vehicle, ended_at in hourly_figures.charged(self._connection, since, until, self._ids)
            for metric in hourly_figures.covered((one for _, one in rules), self._device("vehicle", vehicle))
        )
        for start in range(0, len(wanted), _PAIRED_AT_ONCE):
            yield from hourly_figures.paired(self._connection, wanted[start : start + _PAIRED_AT_ONCE])

    def _figures(
        self, rules: list[tuple[int, model.Rule]], figures: Iterable[tuple[Any, ...]]
    ) -> Iterator[FoundEpisode]:
        for metric, rows in itertools.groupby(figures, operator.itemgetter(0)):
            watching = [one for one in rules if one[1].metric == metric]
            values = ((vehicle, at, value, hourly.Bounds(*bounds)) for _, vehicle, at, value, *bounds in rows)
            yield from self._samples(watching, "vehicle", values)

    def _samples(
        self, rules: list[tuple[int, model.Rule]], device_type: scope.DeviceType, stream: Iterable[tuple[Any, ...]]
    ) -> Iterator[FoundEpisode]:
        """One value a row, known at its own time; with bounds if it is a figure of an hour."""
        for device_id, rows in itertools.groupby(stream, _device_of):
            device = self._device(device_type, device_id)
            trackers = [(index, episodes.Tracker(form, device)) for index, form in self._forms(rules, device)]
            for _, at, *value in rows:
                for _, tracker in trackers:
                    tracker.add_value(at, *value)
            for index, tracker in trackers:
                yield from self._ended(index, tracker)

    def _ended(self, index: int, tracker: episodes.Tracker) -> Iterator[FoundEpisode]:
        for one in tracker.end(self._period.ends):
            yield FoundEpisode(index, one)

    def _watching(self, *metrics: model.Metric) -> list[tuple[int, model.Rule]]:
        return [one for one in self._rules if one[1].metric in metrics]

    def _kinds(self, vehicles: str, meters: str) -> list[tuple[scope.DeviceType, str]]:
        return [("vehicle", vehicles)] if self._ids is not None else [("vehicle", vehicles), ("meter", meters)]

    def _forms(self, rules: list[tuple[int, model.Rule]], device: scope.Device) -> list[tuple[int, model.Rule]]:
        forms = [(index, rule.for_device(device)) for index, rule in rules]
        return [(index, form) for index, form in forms if form is not None]

    def _device(self, device_type: scope.DeviceType, device_id: str) -> scope.Device:
        return self._devices.get((device_type, device_id)) or scope.Device(device_type, device_id)

    def _parameters(self, more: dict[str, object]) -> dict[str, object]:
        return {"begins": self._period.begins, "ends": self._period.ends, "ids": self._ids, **more}

    def _stream(self, query: str, parameters: dict[str, object]) -> Iterator[tuple[Any, ...]]:
        text: LiteralString = queries.text(query)
        with self._connection.cursor(query) as cursor:
            cursor.itersize = _ROWS_AT_ONCE
            cursor.execute(text, self._parameters(parameters), binary=True)
            yield from cursor


def _off(
    device_type: scope.DeviceType, samples: Iterable[tuple[Any, ...]], limit_s: float
) -> Iterator[tuple[Any, ...]]:
    """How far clocks were off, as the daemon would have seen it at each sample."""
    seen = device_clocks.DeviceClocks()
    for device_id, at, behind_s in samples:
        off_s, _ = seen.off_s((device_type, device_id), device_clocks.Sample(at, behind_s), limit_s)
        yield device_id, at, off_s


def _limits(rules: list[tuple[int, model.Rule]], metric: model.Metric) -> tuple[float | None, float | None]:
    """A value beyond these may fire one of the rules; None: no value is."""
    bounds = [one for _, rule in rules for one in evaluate.RuleSet((rule,)).bounds("vehicle") if one.metric is metric]
    below = max((one.below for one in bounds), default=-math.inf)
    above = min((one.above for one in bounds), default=math.inf)
    return (None if below == -math.inf else below), (None if above == math.inf else above)


def testable(rule: model.Rule) -> bool:
    """Whether there is history of what the rule watches."""
    return rule.metric not in (model.Metric.INGEST_LAG_S, model.Metric.UNIT_FACTOR)
