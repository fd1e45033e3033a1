"""Telemetry that a cycle evaluates: of vehicles with excursions, and of vehicles with a state and new readings.

Part of ``inputs``. Reads pieces of vehicles' histories. A live piece is what arrived since the excursion or the last
reading evaluated. A deferred one is older than that but may not have been stored before. A reread one is what lies
around readings that arrived too late; it is evaluated as a whole and never notifies anybody. Live pieces are first and
short, so that a backlog of any length waits for them and not they for it. Pieces are cut by the devices' own time,
their rows have the corrected one (``pieces``). Evaluates nothing, writes nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import psycopg

from voltd.database import queries
from voltd.rules import late_episodes, model, observation, rule_state
from voltd.rules.cycle import pieces, preceding

_WATCHES = [f"{metric} {direction}" for metric in model.TELEMETRY for direction in "<>"]  # ``model.Rule.watches``
_EXCURSIONS = 20_000
_LATE_EXCURSIONS = 200
_ROWS_A_PIECE = 50_000
_ROWS_BEFORE = 5_000  # of a past episode that continues; a longer one continues as another
_ROWS_AHEAD = 20  # one of these usually ends a past episode
_ROWS_A_CYCLE = 100_000  # no further piece is begun beyond these
_AHEAD = dt.timedelta(days=1)  # the longest that a reading may be dated ahead
_DAY = dt.timedelta(days=1)

_Connection = psycopg.Connection[Any]


class Telemetry(NamedTuple):
    """What one cycle evaluates.

    Attributes:
        rows: readings, each with how it arrived.
        evaluated_at: newest reading evaluated before, if that is known.
        valued_at: of vehicles with excursions, the newest that had a value, by metric.
        excursions: numbers of the excursions that this covers.
    """

    rows: list[observation.Observation]
    evaluated_at: dict[observation.DeviceKey, dt.datetime]
    valued_at: dict[observation.DeviceKey, dict[model.Metric, dt.datetime]]
    excursions: list[int]


class _Progress(NamedTuple):
    """Of a vehicle with a state: up to when it has been evaluated, and since when it has new readings."""

    evaluated_at: dt.datetime
    since: dt.datetime


class _Excursion(NamedTuple):
    number: int
    vehicle_id: str
    since: dt.datetime
    until: dt.datetime
    received_at: dt.datetime
    late: bool


class TelemetryReader:
    """Reads telemetry.

    Args:
        rules: those in force.
    """

    def __init__(self, rules: Iterable[model.Rule]) -> None:
        used = [rule for rule in rules if rule.metric in model.TELEMETRY]
        forms = [one for rule in used for one in rule.variants()]
        self._rules = [rule.name for rule in used]
        self._late_after = dt.timedelta(seconds=max((one.late_after_s for one in forms), default=900.0))
        for_s = max((one.for_s for one in forms), default=0.0)
        self.around = min(_DAY, self._late_after + dt.timedelta(seconds=for_s))
        self._words = next((one.charging for one in forms if one.clear_when_charging), None)
        self._confirming = [one for one in forms if one.alone_after_intervals]

    def read(
        self,
        connection: _Connection,
        states: observation.States,
        now: dt.datetime,
        behind_s: Mapping[observation.DeviceKey, float],
        *,
        busy: bool,
    ) -> Telemetry:
        """What is new, as much as one cycle can take; the next one finds the rest.

        Args:
            connection: in the cycle's transaction.
            states: all of them.
            now: the time of the cycle.
            behind_s: how far clocks are certainly behind.
            busy: leave late excursions for a later cycle.
        """
        limits = {"at_most": _EXCURSIONS, "at_most_late": 0 if busy else _LATE_EXCURSIONS}
        excursions = [_Excursion(*row) for row in connection.execute(queries.text("excursions"), limits)]
        live = [one for one in excursions if not one.late]
        progress: dict[str, _Progress] = {}
        found = connection.execute(queries.text("vehicles_with_news"), {"watches": _WATCHES})
        for vehicle, evaluated_at, since, filled_since in found:
            progress[vehicle] = _Progress(evaluated_at, min(one for one in (since, filled_since) if one is not None))
        for vehicle in {one.vehicle_id for one in live}:
            self._extend(vehicle, states, progress)
        behind = _ClockOffsets(behind_s)
        parts = self._live(live, progress, now, behind)
        parts += self._late(connection, [one for one in excursions if one.late], now, behind)
        if not parts:
            return Telemetry([], {}, {}, [])
        read = _read(connection, parts)
        charging_since = preceding.charging_since(connection, read, self._words)
        before = preceding.rows(connection, read, states, self._confirming)
        evaluated: dict[observation.DeviceKey, dt.datetime] = {
            ("vehicle", name): one.evaluated_at for name, one in progress.items()
        }
        valued: dict[observation.DeviceKey, dict[model.Metric, dt.datetime]] = {}
        first: dict[str, dt.datetime] = {}
        for one in live:
            first[one.vehicle_id] = min(one.received_at, first.get(one.vehicle_id, one.received_at))
        rows: list[observation.Observation] = []
        for place, (piece, raw) in enumerate(read):
            converted = pieces.rows(piece, raw, self._words, charging_since.get(place), now)
            if piece.vehicle_id in first and not piece.reread:
                key: observation.DeviceKey = ("vehicle", piece.vehicle_id)
                newest = pieces.evaluated_before(converted, first[piece.vehicle_id], valued.setdefault(key, {}))
                if newest is not None and piece.vehicle_id not in progress:
                    evaluated[key] = max(newest, evaluated.get(key, newest))
            rows += before.get(place, ())
            rows += converted
        return Telemetry(rows, evaluated, valued, [number for piece, _ in read for number in piece.excursions])

    def _extend(self, vehicle: str, states: observation.States, progress: dict[str, _Progress]) -> None:
        """Reads a vehicle with an excursion from where its states end, since the table of current values may lag."""
        for rule in self._rules:
            one = states.get((rule, "vehicle", vehicle))
            if one is not None and one.evaluated_at is not None:
                since = min(one.evaluated_at, one.valued_at or one.evaluated_at)
                known = progress.get(vehicle, _Progress(one.evaluated_at, since))
                progress[vehicle] = _Progress(min(known.evaluated_at, one.evaluated_at), min(known.since, since))

    def _live(
        self,
        excursions: Sequence[_Excursion],
        progress: Mapping[str, _Progress],
        now: dt.datetime,
        behind: _ClockOffsets,
    ) -> list[pieces.Piece]:
        """Live pieces, then deferred ones; those that have waited longest are first."""
        since = {name: one.since - behind[name] for name, one in progress.items()}
        numbers: dict[str, list[int]] = {}
        for one in excursions:
            since[one.vehicle_id] = min(one.since, since.get(one.vehicle_id, one.since))
            numbers.setdefault(one.vehicle_id, []).append(one.number)
        live, deferred = [], []
        for vehicle, begin in sorted(since.items(), key=lambda one: one[1]):
            done = tuple(numbers.get(vehicle, ()))
            again_until = progress[vehicle].evaluated_at if vehicle in progress and not done else None
            piece = pieces.Piece(
                vehicle, begin, now + _AHEAD, behind_s=behind.seconds(vehicle), again_until=again_until
            )
            window = now - self._late_after - pieces.DEFERRED_AFTER - behind[vehicle]
            if begin >= window:
                live.append(piece._replace(excursions=done))
            else:
                live.append(piece._replace(since=window))
                deferred.append(
                    piece._replace(since=max(begin, now - behind[vehicle] - _DAY), until=window, excursions=done)
                )
        return live + deferred

    def _late(
        self, connection: _Connection, excursions: Sequence[_Excursion], now: dt.datetime, behind: _ClockOffsets
    ) -> list[pieces.Piece]:
        """Of each vehicle the first piece, and what lies around it: it may be part of a longer episode."""
        found: dict[str, pieces.Piece] = {}
        for one in sorted(excursions, key=lambda one: (one.vehicle_id, one.since)):
            piece = found.get(one.vehicle_id)
            if piece is None:
                found[one.vehicle_id] = pieces.Piece(
                    one.vehicle_id, one.since, one.until, reread=True, excursions=(one.number,),
                    behind_s=behind.seconds(one.vehicle_id),
                )  # fmt: skip
            elif one.since - piece.until <= self.around:
                until, numbers = max(piece.until, one.until), (*piece.excursions, one.number)
                found[one.vehicle_id] = piece._replace(until=until, excursions=numbers)
        if not found:
            return []
        parts = list(found.values())
        asked: dict[str, Any] = preceding.starts((one.vehicle_id, one.since) for one in parts)
        asked |= {"untils": [one.until for one in parts], "behind": [one.behind_s for one in parts]}
        asked |= {"rules": self._rules, "around": self.around, "at_most": _ROWS_BEFORE}
        asked |= {"ahead": _ROWS_AHEAD, "gap": late_episodes.GAP}
        around = {place: (begin, end) for place, begin, end in connection.execute(queries.text("past_around"), asked)}
        return [
            one._replace(since=around[place][0], until=min(now, around[place][1])) for place, one in enumerate(parts, 1)
        ]


def watches_telemetry(one: rule_state.State) -> bool:
    """Whether its vehicle is read in every cycle that has new readings of it, even if its rule is gone."""
    return one.watches in _WATCHES


def _read(connection: _Connection, parts: Sequence[pieces.Piece]) -> list[pieces.PieceRows]:
    """As many of the pieces, from the first on, as one cycle can take, with their readings."""
    found = [pieces.PieceRows(one, []) for one in parts]
    asked: dict[str, Any] = preceding.starts((one.vehicle_id, one.since) for one in parts)
    asked |= {"untils": [one.until for one in parts], "oldest": min(asked["sinces"]), "at_most": _ROWS_A_PIECE}
    with connection.cursor("vehicle_rows") as cursor:
        cursor.itersize = 10_000
        cursor.execute(queries.text("vehicle_rows"), asked)
        for count, row in enumerate(cursor):
            place = row[0] - 1
            if count >= _ROWS_A_CYCLE and not found[place][1]:
                return found[:place]
            found[place][1].append(row)
    return found


class _ClockOffsets:
    """How far vehicles' clocks are behind."""

    def __init__(self, behind_s: Mapping[observation.DeviceKey, float]) -> None:
        self._behind_s = behind_s

    def seconds(self, vehicle: str) -> float:
        return self._behind_s.get(("vehicle", vehicle), 0.0)

    def __getitem__(self, vehicle: str) -> dt.timedelta:
        return dt.timedelta(seconds=self.seconds(vehicle))
