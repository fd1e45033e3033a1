"""Telemetry that a check of the rules has to judge: of vehicles with excursions, and of those with a state and news.

Part of ``check_read``. Reads pieces of vehicles' histories, and each piece says what its readings are. A live piece is
what came since the excursion or the last reading judged; a held one what is older than that but may not have been
stored before; a late one is the past around readings that came too late, of which nobody is told whatever is in it.
Live pieces come first and are short, so a backlog, however long, waits for them and not they for it. Judges nothing,
writes nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import psycopg

from voltd.database import queries
from voltd.rules import charging as chargings
from voltd.rules import evaluate, model, state

METRICS = frozenset((model.Metric.SOC_PCT, model.Metric.SPEED_KMH, model.Metric.BATTERY_TEMP_C))

_OF_READINGS = [f"{metric} {direction}" for metric in METRICS for direction in "<>"]  # ``model.Rule.watches``
_EXCURSIONS = 20_000
_ROWS_A_PIECE = 50_000
_ROWS_BEFORE = 5_000  # of a past episode that goes on; a longer one goes on as another
_ROWS_A_CHECK = 100_000  # no further piece is begun beyond these
_AHEAD = dt.timedelta(days=1)  # the longest that a reading may be dated ahead
_DAY = dt.timedelta(days=1)
_HELD = dt.timedelta(seconds=60)

_Connection = psycopg.Connection[Any]
_Row = tuple[Any, ...]  # place, recorded_at, received_at, three values, word on charging, retained


class Telemetry(NamedTuple):
    """What one check has to judge.

    Attributes:
        rows: readings, each with what is known of how it came.
        judged_at: newest reading judged before, where that is known.
        excursions: numbers of those that are dealt with by this.
    """

    rows: list[evaluate.Row]
    judged_at: dict[evaluate.Key, dt.datetime]
    excursions: list[int]


class _Piece(NamedTuple):
    """Part of a vehicle's history, ends included; ``excursions`` are dealt with once it has been judged."""

    vehicle_id: str
    since: dt.datetime
    until: dt.datetime
    late: bool = False
    excursions: tuple[int, ...] = ()


class _Excursion(NamedTuple):
    number: int
    vehicle_id: str
    since: dt.datetime
    until: dt.datetime
    received_at: dt.datetime
    late: bool


class Reader:
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
        self._around = min(_DAY, self._late_after + dt.timedelta(seconds=for_s))
        self._words = next((one.charging for one in forms if one.clear_when_charging), None)

    def read(self, connection: _Connection, now: dt.datetime, *, busy: bool) -> Telemetry:
        """What is new, as much as one check can take; the rest is found by the next one.

        Args:
            connection: in the check's transaction.
            now: the time of the check.
            busy: leave late excursions for later.
        """
        limits = {"at_most": _EXCURSIONS, "at_most_late": 0 if busy else self._late_excursions}
        excursions = [_Excursion(*row) for row in connection.execute(queries.text("excursions"), limits)]
        live = [one for one in excursions if not one.late]
        news = dict(connection.execute(queries.text("vehicles_with_news"), {"watches": _OF_READINGS}).fetchall())
        pieces = [*self._live(live, news, now), *self._late(connection, [one for one in excursions if one.late], now)]
        if not pieces:
            return Telemetry([], {}, [])
        read = _read(connection, pieces)
        since = self._charging_before(connection, read)
        rows = [one for place, piece in enumerate(read) for one in self._rows(*piece, since.get(place), now)]
        judged_at = _judged_before(live, news, read)
        judged_at.update((("vehicle", name), at) for name, at in news.items())
        return Telemetry(rows, judged_at, [number for piece, _ in read for number in piece.excursions])

    def _live(
        self, excursions: Sequence[_Excursion], news: Mapping[str, dt.datetime], now: dt.datetime
    ) -> list[_Piece]:
        """Live pieces, then held ones; those that have waited longest are the first."""
        since = dict(news)
        numbers: dict[str, list[int]] = {}
        for one in excursions:
            since[one.vehicle_id] = min(one.since, since.get(one.vehicle_id, one.since))
            numbers.setdefault(one.vehicle_id, []).append(one.number)
        window = now - self._late_after - _HELD
        live, held = [], []
        for vehicle, begin in sorted(since.items(), key=lambda one: one[1]):
            done = tuple(numbers.get(vehicle, ()))
            if begin >= window:
                live.append(_Piece(vehicle, begin, now + _AHEAD, excursions=done))
            else:
                live.append(_Piece(vehicle, window, now + _AHEAD))
                held.append(_Piece(vehicle, max(begin, now - _DAY), window, excursions=done))
        return live + held

    def _late(self, connection: _Connection, excursions: Sequence[_Excursion], now: dt.datetime) -> list[_Piece]:
        """Of each vehicle the first piece, with what is around it: it may be part of something longer."""
        found: dict[str, _Piece] = {}
        for one in sorted(excursions, key=lambda one: (one.vehicle_id, one.since)):
            piece = found.get(one.vehicle_id)
            if piece is None:
                found[one.vehicle_id] = _Piece(
                    one.vehicle_id, one.since, one.until, late=True, excursions=(one.number,)
                )
            elif one.since - piece.until <= self._around:
                until, numbers = max(piece.until, one.until), (*piece.excursions, one.number)
                found[one.vehicle_id] = piece._replace(until=until, excursions=numbers)
        if not found:
            return []
        pieces = list(found.values())
        asked: dict[str, Any] = _pairs((one.vehicle_id, one.since) for one in pieces)
        asked |= {"rules": self._rules, "within": self._around, "at_most": _ROWS_BEFORE}
        before = dict(connection.execute(queries.text("past_before"), asked).fetchall())
        return [
            one._replace(
                since=self._begin(one.since, before.get(place, one.since)), until=min(now, one.until + self._around)
            )
            for place, one in enumerate(pieces, 1)
        ]

    def _begin(self, since: dt.datetime, past_since: dt.datetime | None) -> dt.datetime:
        """A past episode that goes on is read as a whole, so that it stays one; one too long for that is cut."""
        return since if past_since is None else min(past_since, since - self._around)

    def _charging_before(
        self, connection: _Connection, read: Sequence[tuple[_Piece, list[_Row]]]
    ) -> dict[int, dt.datetime]:
        """When a word that holds was said before the piece, by place; only where its first reading has none."""
        places = [place for place, (_, rows) in enumerate(read) if rows and rows[0][6] is None]
        if not places or self._words is None:
            return {}
        asked: dict[str, Any] = _pairs((read[place][0].vehicle_id, read[place][1][0][1]) for place in places)
        asked |= {"oldest": min(asked["sinces"]), "newest": max(asked["sinces"])}
        said = connection.execute(queries.text("charging_before"), asked).fetchall()
        words = {
            places[number - 1]: Said(asked["ids"][number - 1], word, at, asked["sinces"][number - 1])
            for number, word, at in said
            if word is not None
        }
        return still_charging(connection, self._words, words)

    def _rows(
        self, piece: _Piece, rows: Iterable[_Row], since: dt.datetime | None, now: dt.datetime
    ) -> Iterator[evaluate.Row]:
        """Readings in order, each with whether the vehicle was charging as last known, and with how it came."""
        known = chargings.Known(self._words or chargings.Charging(), since)
        for _, recorded_at, received_at, soc, speed, temp, word, retained in rows:
            # A retained message is history: that it tells of a drive ends nothing.
            charging = known.read(recorded_at, word, None if retained else speed)
            yield evaluate.Row(
                "vehicle", piece.vehicle_id, recorded_at, received_at, soc, speed, temp,
                charging=charging, retained=retained, held=now - received_at > _HELD, past=piece.late,
            )  # fmt: skip


class Said(NamedTuple):
    """A vehicle's last word on charging before a time that matters."""

    vehicle_id: str
    word: str
    at: dt.datetime
    before: dt.datetime


_KeyT = TypeVar("_KeyT")


def still_charging(
    connection: _Connection, words: chargings.Charging, said: Mapping[_KeyT, Said]
) -> dict[_KeyT, dt.datetime]:
    """When it was said, of each word that means charging and has not been belied by a drive since."""
    stale = dt.timedelta(seconds=words.charging_stale_s)
    holds = {key: one for key, one in said.items() if words.says(one.word) and one.before - one.at <= stale}
    if not holds:
        return {}
    asked = {
        "ids": [one.vehicle_id for one in holds.values()],
        "sinces": [one.at for one in holds.values()],
        "untils": [one.before for one in holds.values()],
        "oldest": min(one.at for one in holds.values()),
        "above": words.moving_above_kmh,
    }
    keys = list(holds)
    moved = {keys[place - 1] for (place,) in connection.execute(queries.text("moved_between"), asked)}
    return {key: one.at for key, one in holds.items() if key not in moved}


def of_readings(one: state.State) -> bool:
    """Whether its vehicle is read at every check that finds something newer, be its rule still in force or not."""
    return one.watches in _OF_READINGS


def _read(connection: _Connection, pieces: Sequence[_Piece]) -> list[tuple[_Piece, list[_Row]]]:
    """As many of the pieces, from the first on, as one check can take, with their readings."""
    found: list[tuple[_Piece, list[_Row]]] = [(one, []) for one in pieces]
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


def _judged_before(
    excursions: Sequence[_Excursion],
    news: Mapping[str, dt.datetime],
    read: Sequence[tuple[_Piece, list[_Row]]],
) -> dict[evaluate.Key, dt.datetime]:
    """Of vehicles without a state: what came before the first excursion has been judged, by not being one."""
    first: dict[str, dt.datetime] = {}
    for one in excursions:
        first[one.vehicle_id] = min(one.received_at, first.get(one.vehicle_id, one.received_at))
    found: dict[evaluate.Key, dt.datetime] = {}
    for piece, rows in read:
        if piece.late or piece.vehicle_id in news or piece.vehicle_id not in first:
            continue
        before = [row[1] for row in rows if row[2] < first[piece.vehicle_id] and not row[7]]
        if before:
            key: evaluate.Key = ("vehicle", piece.vehicle_id)
            found[key] = max(before[-1], found.get(key, before[-1]))
    return found


def _pairs(wanted: Iterable[tuple[str, dt.datetime]]) -> dict[str, list[Any]]:
    ids, sinces = (list(column) for column in zip(*wanted, strict=True))
    return {"ids": ids, "sinces": sinces}
