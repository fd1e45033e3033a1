"""What precedes the readings of a vehicle: how often it reports, and whether it was charging.

Part of ``telemetry``; ``still_charging`` also of ``backtest.history``. Reads only.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import psycopg

from voltd.database import queries
from voltd.rules import charging_status, confirmation, model, observation, rule_state
from voltd.rules.cycle import pieces

_Connection = psycopg.Connection[Any]


_KeyT = TypeVar("_KeyT")


class LastWord(NamedTuple):
    """A vehicle's last word on charging before a time that matters."""

    vehicle_id: str
    word: str
    at: dt.datetime
    before: dt.datetime


def rows(
    connection: _Connection,
    read: Sequence[pieces.PieceRows],
    states: observation.States,
    confirming: Sequence[model.Rule],
) -> dict[int, list[observation.Observation]]:
    """By place the readings before a piece, if a reading in it may wait to be confirmed by one of these rules."""
    places = [place for place, one in enumerate(read) if one.piece.excursions or _may_wait(one, states, confirming)]
    if not places or not confirming:
        return {}
    metrics = {one.metric for one in confirming}
    asked = starts((read[place].piece.vehicle_id, read[place].piece.since) for place in places)
    asked |= {"oldest": min(asked["sinces"]), "at_most": confirmation.LOOKS_BACK}
    asked |= {metric.value: metric in metrics for metric in model.TELEMETRY}
    found: dict[int, list[observation.Observation]] = {}
    for number, *raw in connection.execute(queries.text("rows_before"), asked):
        place = places[number - 1]
        found.setdefault(place, []).append(pieces.context(read[place].piece, raw))
    return {place: every[::-1] for place, every in found.items()}


def _may_wait(one: pieces.PieceRows, states: observation.States, confirming: Sequence[model.Rule]) -> bool:
    """Whether an excursion begins in it that has to be confirmed: none is noted of a vehicle with a state."""
    for form in confirming:
        state = states.get((form.name, "vehicle", one.piece.vehicle_id), rule_state.State())
        column = pieces.COLUMN[form.metric]
        if state.idle and any(row[column] is not None and form.over(row[column]) for row in one.rows):
            return True
    return False


def charging_since(
    connection: _Connection, read: Sequence[pieces.PieceRows], words: charging_status.Charging | None
) -> dict[int, dt.datetime]:
    """By place the time of a valid word for charging before the piece, if its first reading has no word."""
    places = [place for place, one in enumerate(read) if one.rows and one.rows[0][pieces.WORD] is None]
    if not places or words is None:
        return {}
    asked = starts((read[place].piece.vehicle_id, read[place].rows[0][1]) for place in places)
    asked |= {"oldest": min(asked["sinces"]), "newest": max(asked["sinces"])}
    found = connection.execute(queries.text("charging_before"), asked).fetchall()
    last_words = {
        places[number - 1]: LastWord(asked["ids"][number - 1], word, at, asked["sinces"][number - 1])
        for number, word, at in found
        if word is not None
    }
    return still_charging(connection, words, last_words)


def still_charging(
    connection: _Connection, words: charging_status.Charging, last_words: Mapping[_KeyT, LastWord]
) -> dict[_KeyT, dt.datetime]:
    """The time of each word that means charging and has not been contradicted by a drive since."""
    stale = dt.timedelta(seconds=words.charging_stale_s)
    valid = {
        key: one for key, one in last_words.items() if words.means_charging(one.word) and one.before - one.at <= stale
    }
    if not valid:
        return {}
    asked = {
        "ids": [one.vehicle_id for one in valid.values()],
        "sinces": [one.at for one in valid.values()],
        "untils": [one.before for one in valid.values()],
        "oldest": min(one.at for one in valid.values()),
        "above": words.moving_above_kmh,
    }
    keys = list(valid)
    moved = {keys[place - 1] for (place,) in connection.execute(queries.text("moved_between"), asked)}
    return {key: one.at for key, one in valid.items() if key not in moved}


def starts(wanted: Iterable[tuple[str, dt.datetime]]) -> dict[str, Any]:
    """Vehicles, and since when each is read, as the queries' ``ids`` and ``sinces``."""
    ids, sinces = (list(column) for column in zip(*wanted, strict=True))
    return {"ids": ids, "sinces": sinces}
