"""Signs of life: messages without a measurement update ``last_seen_at`` in the current tables.

``current.state`` owns one: ``note`` is called with each committed batch, ``merge`` once per interval. The hypertables
have no row of a message in which nothing was measured. A device that has never measured anything has no current state
and gets none: there is no value and no time of its own to put into it.
"""

from __future__ import annotations

import datetime as dt
import threading
from typing import Any

import psycopg

from voltd import models
from voltd.database import queries

_MOST = 200_000  # devices; more ids than that are made up


class Alive:
    """What waits to be merged, by device."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[models.DeviceType, dict[str, dt.datetime]] = {one: {} for one in models.DeviceType}

    def note(self, batch: models.Batch) -> None:
        """Takes the signs of life of a committed batch; does not block."""
        if not batch.alive:
            return
        with self._lock:
            for device_type, device_id, received_at in batch.alive:
                seen = self._seen[device_type]
                if len(seen) < _MOST or device_id in seen:
                    seen[device_id] = max(seen.get(device_id, received_at), received_at)

    def merge(self, connection: psycopg.Connection[Any]) -> None:
        """Writes them, each device type in a transaction of its own: rows are locked in the order of their ids.

        Raises:
            psycopg.Error: as it comes; what was not written stays for the next time.
        """
        for device_type in models.DeviceType:
            with self._lock:
                seen, self._seen[device_type] = self._seen[device_type], {}
            if not seen:
                continue
            try:
                arguments = {"ids": list(seen), "seen_ats": list(seen.values())}
                with connection.transaction():
                    connection.execute(queries.text(f"touch_{device_type}_current"), arguments)
            except psycopg.Error:
                with self._lock:
                    self._seen[device_type] = seen | self._seen[device_type]
                raise
