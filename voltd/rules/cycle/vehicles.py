"""Telemetry that a check of the rules has to judge: of vehicles with excursions, and of those with a state and news.

Part of ``cycle.read``. Reads pieces of vehicles' histories, and each piece says what its readings are. A live piece is
what came since the excursion or the last reading judged; a held one what is older than that but may not have been
stored before; a late one is the past around readings that came too late, evaluated as a whole, of which nobody is
notified whatever is in it. Live pieces come first and are short, so a backlog, however long, waits for them and not
they for it. Pieces are cut by the devices' own time, their rows have the corrected one (``cycle.vehicle_rows``).
Judges nothing, writes nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import psycopg

from voltd.database import queries
from voltd.rules import confirm, evaluate, model, state, step
from voltd.rules.cycle import charging_words, vehicle_rows

METRICS = frozenset(model.OF_READINGS)

_OF_READINGS = [f"{metric} {direction}" for metric in METRICS for direction in "<>"]  # ``model.Rule.watches``
_EXCURSIONS = 20_000
_ROWS_A_PIECE = 50_000
_ROWS_BEFORE = 5_000  # of a past episode that goes on; a longer one goes on as another
_ROWS_AHEAD = 20  # one of these ends a past episode, as a rule
_ROWS_A_CHECK = 100_000  # no further piece is begun beyond these
_AHEAD = dt.timedelta(days=1)  # the longest that a reading may be dated ahead
_DAY = dt.timedelta(days=1)
_HELD = vehicle_rows.HELD

_Connection = psycopg.Connection[Any]
_Row = vehicle_rows.Raw
_Piece = vehicle_rows.Piece


class Telemetry(NamedTuple):
    """What one check has to judge.

    Attributes:
        rows: readings, each with what is known of how it came.
        judged_at: newest reading judged before, where that is known.
        valued_at: of vehicles with excursions, the newest that had a value, by metric.
        excursions: numbers of those that are dealt with by this.
    """

    rows: list[evaluate.Observation]
    judged_at: dict[evaluate.Key, dt.datetime]
    valued_at: dict[evaluate.Key, dict[model.Metric, dt.datetime]]
    excursions: list[int]


class _News(NamedTuple):
    """Of a vehicle with a state: up to when it has been judged, and since when there is something to judge."""

    judged_at: dt.datetime
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
        late_excursions: how many of these one check takes on.
    """

    def __init__(self, rules: Iterable[model.Rule], late_excursions: int) -> None:
        kept = [rule for rule in rules if rule.metric in METRICS]
        forms = [one for rule in kept for one in rule.variants()]
        self._rules = [rule.name for rule in kept]
        self._late_excursions = late_excursions
        self._late_after = dt.timedelta(seconds=max((one.late_after_s for one in forms), default=900.0))
        for_s = max((one.for_s for one in forms), default=0.0)
        self.around = min(_DAY, self._late_after + dt.timedelta(seconds=for_s))
        self._words = next((one.charging for one in forms if one.clear_when_charging), None)
        self._confirming = [one for one in forms if one.alone_after_intervals]
        self._confirmed = frozenset(one.metric for one in self._confirming)

    def read(
        self,
        connection: _Connection,
        states: Mapping[evaluate.StateKey, state.State],
        now: dt.datetime,
        behind_s: Mapping[evaluate.Key, float],
        *,
        busy: bool,
    ) -> Telemetry:
        """What is new, as much as one check can take; the rest is found by the next one.

        Args:
            connection: in the check's transaction.
            states: all that is remembered.
            now: the time of the check.
            behind_s: how far clocks are certainly behind.
            busy: leave late excursions for later.
        """
        limits = {"at_most": _EXCURSIONS, "at_most_late": 0 if busy else self._late_excursions}
        excursions = [_Excursion(*row) for row in connection.execute(queries.text("excursions"), limits)]
        live = [one for one in excursions if not one.late]
        news: dict[str, _News] = {}
        found = connection.execute(queries.text("vehicles_with_news"), {"watches": _OF_READINGS})
        for vehicle, judged_at, since, filled_since in found:
            news[vehicle] = _News(judged_at, min(one for one in (since, filled_since) if one is not None))
        for vehicle in {one.vehicle_id for one in live}:
            self._all_of(vehicle, states, news)
        behind = _Behind(behind_s)
        pieces = self._live(live, news, now, behind)
        pieces += self._late(connection, [one for one in excursions if one.late], now, behind)
        if not pieces:
            return Telemetry([], {}, {}, [])
        read = _read(connection, pieces)
        charging_since = self._charging_before(connection, read)
        before = self._rows_before(connection, read, states)
        judged: dict[evaluate.Key, dt.datetime] = {("vehicle", name): one.judged_at for name, one in news.items()}
        valued: dict[evaluate.Key, dict[model.Metric, dt.datetime]] = {}
        first: dict[str, dt.datetime] = {}
        for one in live:
            first[one.vehicle_id] = min(one.received_at, first.get(one.vehicle_id, one.received_at))
        rows: list[evaluate.Observation] = []
        for place, (piece, raw) in enumerate(read):
            converted = vehicle_rows.rows(piece, raw, self._words, charging_since.get(place), now)
            if piece.vehicle_id in first and not piece.late:
                key: evaluate.Key = ("vehicle", piece.vehicle_id)
                newest = vehicle_rows.judged_before(converted, first[piece.vehicle_id], valued.setdefault(key, {}))
                if newest is not None and piece.vehicle_id not in news:
                    judged[key] = max(newest, judged.get(key, newest))
            rows += before.get(place, ())
            rows += converted
        return Telemetry(rows, judged, valued, [number for piece, _ in read for number in piece.excursions])

    def _all_of(self, vehicle: str, states: Mapping[evaluate.StateKey, state.State], news: dict[str, _News]) -> None:
        """A vehicle with an excursion is read from where its states end: the current state may trail."""
        for rule in self._rules:
            one = states.get((rule, "vehicle", vehicle))
            if one is not None and one.judged_at is not None:
                since = min(one.judged_at, one.valued_at or one.judged_at)
                known = news.get(vehicle, _News(one.judged_at, since))
                news[vehicle] = _News(min(known.judged_at, one.judged_at), min(known.since, since))

    def _live(
        self,
        excursions: Sequence[_Excursion],
        news: Mapping[str, _News],
        now: dt.datetime,
        behind: _Behind,
    ) -> list[_Piece]:
        """Live pieces, then held ones; those that have waited longest are the first."""
        since = {name: one.since - behind[name] for name, one in news.items()}
        numbers: dict[str, list[int]] = {}
        for one in excursions:
            since[one.vehicle_id] = min(one.since, since.get(one.vehicle_id, one.since))
            numbers.setdefault(one.vehicle_id, []).append(one.number)
        live, held = [], []
        for vehicle, begin in sorted(since.items(), key=lambda one: one[1]):
            done = tuple(numbers.get(vehicle, ()))
            again_until = news[vehicle].judged_at if vehicle in news and not done else None
            piece = _Piece(vehicle, begin, now + _AHEAD, behind_s=behind.seconds(vehicle), again_until=again_until)
            window = now - self._late_after - _HELD - behind[vehicle]
            if begin >= window:
                live.append(piece._replace(excursions=done))
            else:
                live.append(piece._replace(since=window))
                held.append(
                    piece._replace(since=max(begin, now - behind[vehicle] - _DAY), until=window, excursions=done)
                )
        return live + held

    def _late(
        self, connection: _Connection, excursions: Sequence[_Excursion], now: dt.datetime, behind: _Behind
    ) -> list[_Piece]:
        """Of each vehicle the first piece, with what is around it: it may be part of something longer."""
        found: dict[str, _Piece] = {}
        for one in sorted(excursions, key=lambda one: (one.vehicle_id, one.since)):
            piece = found.get(one.vehicle_id)
            if piece is None:
                found[one.vehicle_id] = _Piece(
                    one.vehicle_id, one.since, one.until, late=True, excursions=(one.number,),
                    behind_s=behind.seconds(one.vehicle_id),
                )  # fmt: skip
            elif one.since - piece.until <= self.around:
                until, numbers = max(piece.until, one.until), (*piece.excursions, one.number)
                found[one.vehicle_id] = piece._replace(until=until, excursions=numbers)
        if not found:
            return []
        pieces = list(found.values())
        asked: dict[str, Any] = _pairs((one.vehicle_id, one.since) for one in pieces)
        asked |= {"untils": [one.until for one in pieces], "behind": [one.behind_s for one in pieces]}
        asked |= {"rules": self._rules, "around": self.around, "at_most": _ROWS_BEFORE}
        asked |= {"ahead": _ROWS_AHEAD, "gap": step.PAST_GAP}
        around = {place: (begin, end) for place, begin, end in connection.execute(queries.text("past_around"), asked)}
        return [
            one._replace(since=around[place][0], until=min(now, around[place][1]))
            for place, one in enumerate(pieces, 1)
        ]

    def _rows_before(
        self,
        connection: _Connection,
        read: Sequence[vehicle_rows.Read],
        states: Mapping[evaluate.StateKey, state.State],
    ) -> dict[int, list[evaluate.Observation]]:
        """By place, what says how often the device reports, where a reading may wait to be confirmed."""
        pieces = [piece for piece, _ in read]
        places = [place for place, one in enumerate(read) if one.piece.excursions or self._may_wait(one, states)]
        if not places or not self._confirmed:
            return {}
        asked: dict[str, Any] = _pairs((pieces[place].vehicle_id, pieces[place].since) for place in places)
        asked |= {
            "oldest": min(asked["sinces"]),
            "at_most": confirm.LOOKS_BACK,
            "soc": model.Metric.SOC_PCT in self._confirmed,
            "speed": model.Metric.SPEED_KMH in self._confirmed,
            "temp": model.Metric.BATTERY_TEMP_C in self._confirmed,
        }
        found: dict[int, list[evaluate.Observation]] = {}
        for number, *raw in connection.execute(queries.text("rows_before"), asked):
            place = places[number - 1]
            found.setdefault(place, []).append(vehicle_rows.before(pieces[place], raw))
        return {place: rows[::-1] for place, rows in found.items()}

    def _may_wait(self, one: vehicle_rows.Read, states: Mapping[evaluate.StateKey, state.State]) -> bool:
        """Whether something begins in it that has to be confirmed: no excursion says so of a vehicle with a state."""
        for form in self._confirming:
            known = states.get((form.name, "vehicle", one.piece.vehicle_id), state.State())
            column = vehicle_rows.COLUMN[form.metric]
            if known.idle and any(row[column] is not None and form.over(row[column]) for row in one.rows):
                return True
        return False

    def _charging_before(self, connection: _Connection, read: Sequence[vehicle_rows.Read]) -> dict[int, dt.datetime]:
        """When a word that holds was said before the piece, by place; only where its first reading has none."""
        places = [place for place, (_, rows) in enumerate(read) if rows and rows[0][6] is None]
        if not places or self._words is None:
            return {}
        asked: dict[str, Any] = _pairs((read[place][0].vehicle_id, read[place][1][0][1]) for place in places)
        asked |= {"oldest": min(asked["sinces"]), "newest": max(asked["sinces"])}
        said = connection.execute(queries.text("charging_before"), asked).fetchall()
        words = {
            places[number - 1]: charging_words.Said(asked["ids"][number - 1], word, at, asked["sinces"][number - 1])
            for number, word, at in said
            if word is not None
        }
        return charging_words.still_charging(connection, self._words, words)


def of_readings(one: state.State) -> bool:
    """Whether its vehicle is read at every check that finds something newer, be its rule still in force or not."""
    return one.watches in _OF_READINGS


def _read(connection: _Connection, pieces: Sequence[_Piece]) -> list[vehicle_rows.Read]:
    """As many of the pieces, from the first on, as one check can take, with their readings."""
    found = [vehicle_rows.Read(one, []) for one in pieces]
    asked: dict[str, Any] = _pairs((one.vehicle_id, one.since) for one in pieces)
    asked |= {"untils": [one.until for one in pieces], "oldest": min(asked["sinces"]), "at_most": _ROWS_A_PIECE}
    with connection.cursor("vehicle_rows") as cursor:
        cursor.itersize = 10_000
        cursor.execute(queries.text("vehicle_rows"), asked)
        for count, row in enumerate(cursor):
            place = row[0] - 1
            if count >= _ROWS_A_CHECK and not found[place][1]:
                return found[:place]
            found[place][1].append(row)
    return found


class _Behind:
    """How far vehicles' clocks are behind."""

    def __init__(self, behind_s: Mapping[evaluate.Key, float]) -> None:
        self._behind_s = behind_s

    def seconds(self, vehicle: str) -> float:
        return self._behind_s.get(("vehicle", vehicle), 0.0)

    def __getitem__(self, vehicle: str) -> dt.timedelta:
        return dt.timedelta(seconds=self.seconds(vehicle))


def _pairs(wanted: Iterable[tuple[str, dt.datetime]]) -> dict[str, list[Any]]:
    ids, sinces = (list(column) for column in zip(*wanted, strict=True))
    return {"ids": ids, "sinces": sinces}
