"""What a check passes on to the writers: what they need not look for, whose clocks are behind, and which past is open.

Part of ``check``. The writer of this daemon is told at once, those of others read the table of clocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg

from voltd.database import queries
from voltd.pipeline.write import excursions as write_excursions
from voltd.rules import evaluate
from voltd.rules.cycle import memory as check_memory
from voltd.rules.cycle import read as check_read
from voltd.rules.cycle import vehicles as check_vehicles


def tell(excursions: write_excursions.Excursions, memory: check_memory.Memory) -> None:
    """After a check was committed."""
    firing: dict[str, set[str]] = {metric.value: set() for metric in check_read.TELEMETRY}
    for key in memory.episodes:
        if check_vehicles.of_readings(one := memory.states[key]):
            firing[one.watches.split()[0]].add(key[2])
    for column, names in firing.items():
        excursions.leave_out(frozenset(names), column)
    excursions.correct(vehicles(memory.behind_s))
    excursions.look_around(memory.past)


def save_clocks(
    connection: psycopg.Connection[Any], behind_s: Mapping[evaluate.Key, float], memory: check_memory.Memory
) -> None:
    """Writes how far clocks are behind, where that is not what the database has.

    Args:
        connection: in the check's transaction.
        behind_s: as of this check.
        memory: as the database has it; changed to this.
    """
    if behind_s == memory.behind_s:
        return
    changed = [key for key, one in behind_s.items() if memory.behind_s.get(key) != one]
    gone = [key for key in memory.behind_s if key not in behind_s]
    for query, keys in (("upsert_device_clocks", changed), ("delete_device_clocks", gone)):
        if keys:
            asked: dict[str, Any] = {"device_types": [one[0] for one in keys], "device_ids": [one[1] for one in keys]}
            asked["behind_s"] = [behind_s.get(one) for one in keys]
            connection.execute(queries.text(query), asked)
    memory.behind_s = dict(behind_s)


def vehicles(behind_s: Mapping[evaluate.Key, float]) -> dict[str, float]:
    """Of vehicles alone, by name."""
    return {key[1]: one for key, one in behind_s.items() if key[0] == "vehicle"}
