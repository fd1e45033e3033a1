"""Whether the last word on charging before some readings is still valid at them.

Part of ``telemetry`` (live) and ``backtest.history`` (``voltd rules test``). Reads only.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import psycopg

from voltd.database import queries
from voltd.rules import charging_status

_Connection = psycopg.Connection[Any]


class LastWord(NamedTuple):
    """A vehicle's last word on charging before a time that matters."""

    vehicle_id: str
    word: str
    at: dt.datetime
    before: dt.datetime


_KeyT = TypeVar("_KeyT")


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
