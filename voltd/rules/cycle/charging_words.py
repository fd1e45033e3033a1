"""Words on charging that were said before the readings that matter: whether they still hold.

Part of ``cycle.vehicles`` (live) and ``history`` (``voltd rules test``). Reads only.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import psycopg

from voltd.database import queries
from voltd.rules import charging as chargings

_Connection = psycopg.Connection[Any]


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
