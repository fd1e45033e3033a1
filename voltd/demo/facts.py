"""The figures of the demo: the daemon's retained status from the broker, and rows from the database.

Stored readings and dead letters are counted in the tables, never taken from the daemon's counters.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import Any, Self

import psycopg
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from voltd.database import queries
from voltd.pipeline.consume import clients
from voltd.simulate.publish.publication import Tally


@dataclasses.dataclass(frozen=True, slots=True)
class Counts:
    """Rows in the tables."""

    vehicle: int
    meter: int
    dead_letters: int

    @property
    def fates(self) -> int:
        """Readings that are stored or dead-lettered."""
        return self.vehicle + self.meter + self.dead_letters


class Facts:
    """A context manager: one connection to the database and one to the broker."""

    def __init__(self, dsn: str, host: str, port: int, instance: str) -> None:
        self._dsn = dsn
        self._address = (host, port)
        self._topic = clients.status_topic(instance)
        self.status: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._connection = psycopg.connect(self._dsn, autocommit=True, application_name="voltd demo")
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe(self._topic, qos=1)
        self._client.on_message = self._arrived
        self._client.connect(*self._address)
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self._connection.close()

    @property
    def online(self) -> bool:
        """Whether the daemon's status is online."""
        return bool(self.status.get("status") == "online")

    def counts(self) -> Counts:
        """Rows in the tables."""
        return Counts(*(self._connection.execute(queries.text("demo_counts")).fetchone() or (0, 0, 0)))

    def charging_now(self) -> list[tuple[Any, ...]]:
        """Up to five vehicles that charge: meter, vehicle, begin of their last hour, its DC, AC, %, quality."""
        return self._connection.execute(queries.text("demo_charging_now")).fetchall()

    def alerts(self) -> list[str]:
        """Episodes by rule, for example ``soc_low 3 open, 12 over``; empty when all is well."""
        rows = self._connection.execute(queries.text("demo_alerts")).fetchall()
        return [f"{rule} {still_open} open, {over} over" for rule, still_open, over in rows]

    def newest_alerts(self) -> list[str]:
        """Up to three lines: the messages of the newest episodes, open ones first."""
        return [str(row[0]) for row in self._connection.execute(queries.text("demo_newest_alerts"))]

    def dead_letter_reasons(self) -> list[tuple[str, int]]:
        """Every reason with its count, the most frequent first."""
        return self._connection.execute(queries.text("demo_dead_letter_reasons")).fetchall()

    def efficiency_rows(self) -> int:
        """Vehicle-hours of the run that have an efficiency, from raw readings until now; takes seconds."""
        row = self._connection.execute(queries.text("demo_efficiency_rows")).fetchone()
        return int(row[0]) if row else 0

    def summary(self, published: Tally, edition: str) -> dict[str, Any]:
        """The numbers of the whole run, in readings, as ``--summary`` writes them."""
        counts = self.counts()
        return {
            "edition": edition,
            "published": {"vehicle": published.vehicle, "meter": published.meter, "bad": published.bad},
            "stored": {"vehicle": counts.vehicle, "meter": counts.meter},
            "filled": self.status.get("readings_filled_total", 0),
            "duplicates": published.duplicates,
            "dead_letters": counts.dead_letters,
            "efficiency_rows": self.efficiency_rows(),
            "p99_ms": self.status.get("latency_p99_ms"),
        }

    def _arrived(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        with contextlib.suppress(ValueError):
            fresh = json.loads(message.payload)
            self.status = {**self.status, **fresh}  # the last rates stay when the daemon goes offline


def difference(summary: dict[str, Any]) -> int:
    """Readings published minus readings with a known fate: 0 when the numbers add up."""
    published, stored = summary["published"], summary["stored"]
    fates = stored["vehicle"] + stored["meter"] + summary["dead_letters"] + summary["duplicates"] + summary["filled"]
    return int(published["vehicle"] + published["meter"] + published["bad"] - fates)
