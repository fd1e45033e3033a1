"""The bounds of the rules in force, passed on in the database from the daemon that evaluates rules to every writer.

So a daemon with alerts switched off, or with another rules file, records what the evaluation cycle has to see: ``jobs``
publishes every two seconds, ``write`` learns in its own transactions, from its first batch on. Knows no rules.
"""

from __future__ import annotations

import json
import math
import time
from typing import Any

import psycopg

from voltd import models
from voltd.database import queries
from voltd.pipeline.write.excursions import ColumnRange, Excursions

_LEARN_EVERY_S = 2.0


class Bounds:
    """Publishes and learns.

    Args:
        excursions: publishes its own bounds, and gets those of others.
    """

    def __init__(self, excursions: Excursions) -> None:
        self._excursions = excursions
        self._learned_at = -math.inf

    def publish(self, connection: psycopg.Connection[Any]) -> None:
        """Publishes what the rules of this daemon concern; only for the one that evaluates them.

        Raises:
            psycopg.Error: as it comes; nothing was published.
        """
        bounds, late_after_s = self._excursions.own
        values = [(one.column, _finite(one.below), _finite(one.above)) for one in bounds]
        connection.execute(queries.text("publish_bounds"), {"bounds": json.dumps(values), "late_after_s": late_after_s})

    def learn(self, cursor: psycopg.Cursor[Any]) -> None:
        """Takes over what is published; asks only now and then, in the transaction of a batch.

        Raises:
            psycopg.Error: as it comes; the caller wraps it, and nothing of the batch is stored.
        """
        now = time.monotonic()
        if now - self._learned_at < _LEARN_EVERY_S:
            return
        row = cursor.execute(queries.text("published_bounds")).fetchone()
        text, late_after_s, behind_s = row or ("[]", 0.0, None)
        bounds = [
            ColumnRange(column, -math.inf if below is None else below, math.inf if above is None else above)
            for column, below, above in json.loads(text)
            if column in models.VehicleReading._fields  # a later version may know more
        ]
        self._excursions.also_look_for(bounds, late_after_s)
        if row is not None:
            self._excursions.correct(json.loads(behind_s or "{}"))
        self._learned_at = now


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
