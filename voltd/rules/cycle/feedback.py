"""Feedback of a cycle to the writers: what to look for, what to leave out, whose clocks are behind.

Part of ``cycle``. The writer of this daemon is informed at once, those of others read the table of clocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from voltd.database import queries
from voltd.pipeline.write.excursions import ColumnRange, Excursions
from voltd.rules import evaluate, model, observation
from voltd.rules.cycle import state_cache, telemetry


def look_for(excursions: Excursions, rules: Sequence[model.Rule]) -> None:
    """Gives the writer the limits of the rules; called when these change."""
    bounds = [
        ColumnRange(one.metric.value, one.below, one.above)
        for one in evaluate.RuleSet(rules).bounds("vehicle")
        if one.metric in model.TELEMETRY
    ]
    late_after_s = max((one.late_after_s for one in rules if one.metric in model.TELEMETRY), default=900.0)
    excursions.look_for(bounds, late_after_s)


def update(excursions: Excursions, cached: state_cache.StateCache) -> None:
    """Sets what follows from the states, after a cycle was committed."""
    firing: dict[str, set[str]] = {metric.value: set() for metric in model.TELEMETRY}
    for key in cached.episodes:
        if telemetry.watches_telemetry(one := cached.states[key]):
            firing[one.watches.split()[0]].add(key[2])
    for column, names in firing.items():
        excursions.leave_out(frozenset(names), column)
    excursions.correct({key[1]: one for key, one in cached.behind_s.items() if key[0] == "vehicle"})
    excursions.look_around(cached.past)


def save_clocks(
    connection: psycopg.Connection[Any], behind_s: Mapping[observation.DeviceKey, float], cached: state_cache.StateCache
) -> None:
    """Writes how far clocks are behind, if the database does not have it.

    Args:
        connection: in the cycle's transaction.
        behind_s: as of this cycle.
        cached: as the database has it; changed to this.
    """
    if behind_s == cached.behind_s:
        return
    changed = [key for key, one in behind_s.items() if cached.behind_s.get(key) != one]
    gone = [key for key in cached.behind_s if key not in behind_s]
    for query, keys in (("upsert_device_clocks", changed), ("delete_device_clocks", gone)):
        if keys:
            asked: dict[str, Any] = {"device_types": [one[0] for one in keys], "device_ids": [one[1] for one in keys]}
            asked["behind_s"] = [behind_s.get(one) for one in keys]
            connection.execute(queries.text(query), asked)
    cached.behind_s = dict(behind_s)
