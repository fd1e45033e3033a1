"""What precedes the pieces that a cycle reads: how often the device reports, and whether it was charging.

Part of ``telemetry``. Reads only.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg

from voltd.database import queries
from voltd.rules import charging_status, confirmation, model, observation, rule_state
from voltd.rules.cycle import last_charging_word, pieces

_Connection = psycopg.Connection[Any]


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
    asked |= {
        "oldest": min(asked["sinces"]),
        "at_most": confirmation.LOOKS_BACK,
        "soc": model.Metric.SOC_PCT in metrics,
        "speed": model.Metric.SPEED_KMH in metrics,
        "temp": model.Metric.BATTERY_TEMP_C in metrics,
    }
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
    places = [place for place, one in enumerate(read) if one.rows and one.rows[0][6] is None]
    if not places or words is None:
        return {}
    asked = starts((read[place].piece.vehicle_id, read[place].rows[0][1]) for place in places)
    asked |= {"oldest": min(asked["sinces"]), "newest": max(asked["sinces"])}
    found = connection.execute(queries.text("charging_before"), asked).fetchall()
    last_words = {
        places[number - 1]: last_charging_word.LastWord(asked["ids"][number - 1], word, at, asked["sinces"][number - 1])
        for number, word, at in found
        if word is not None
    }
    return last_charging_word.still_charging(connection, words, last_words)


def starts(wanted: Iterable[tuple[str, dt.datetime]]) -> dict[str, Any]:
    """Vehicles, and since when each is read, as the queries' ``ids`` and ``sinces``."""
    ids, sinces = (list(column) for column in zip(*wanted, strict=True))
    return {"ids": ids, "sinces": sinces}
