"""The latest state of each vehicle on ``voltd/live/<fleet_id>/<vehicle_id>``, for maps and dashboards.

``current.state`` calls ``publish`` after each merge, so at most once per interval a vehicle; what is beyond
``live.max_per_second`` is left out (the table has it). The payload is the event ``telemetry.update`` as JSON. QoS 0,
not retained: a lost update is replaced by the next one.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from voltd.pipeline.consume import consumer

UNASSIGNED = "unassigned"  # the fleet of a vehicle that is in none, or not registered
_LEVEL_LENGTH = 64
# MQTT 5, 1.5.4 and 4.7: what a topic level must not hold, and what brokers refuse as malformed.
_NOT_IN_TOPIC = re.compile("[/+#\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]|[\U0001fffe-\U0010ffff]")
_HIDDEN = frozenset({"updated_at", "diagnostics", "diagnostics_at"})


class LivePublisher:
    """Turns merged rows of ``volt.vehicle_current`` into messages.

    Args:
        send: takes a message for the broker; does not block.
        max_per_second: how many messages leave per second at most.
        interval_s: how often ``publish`` is called.
    """

    def __init__(self, send: Callable[[consumer.Outgoing], None], max_per_second: int, interval_s: float) -> None:
        self._send = send
        self._budget = max(1, round(max_per_second * max(interval_s, 0.05)))
        self._fleets: Mapping[str, str] = {}
        self._offset = 0

    def set_fleets(self, fleets: Mapping[str, str]) -> None:
        """Which fleet each registered vehicle belongs to."""
        self._fleets = fleets

    def pick(self, count: int) -> slice:
        """Which of so many rows to publish: of more than the budget another part each time."""
        start = self._offset if self._offset < count else 0
        self._offset = start + self._budget
        return slice(start, min(count, start + self._budget))

    def publish(self, names: Sequence[str], rows: list[tuple[Any, ...]]) -> None:
        """Publishes states, given as columns and rows."""
        for values in rows:
            row = dict(zip(names, values, strict=True))
            vehicle_id = row["vehicle_id"]
            fleet_id = self._fleets.get(vehicle_id) or UNASSIGNED
            topic = f"voltd/live/{level(fleet_id)}/{level(vehicle_id)}"
            self._send(consumer.Outgoing(topic, _payload(fleet_id, row)))


def level(name: str) -> str:
    """An id as one topic level: a device must not be able to break the daemon's own connection with its name."""
    return _NOT_IN_TOPIC.sub("_", name)[:_LEVEL_LENGTH]


def _payload(fleet_id: str, row: dict[str, Any]) -> bytes:
    state = {
        name: value.isoformat() if isinstance(value, dt.datetime) else value
        for name, value in row.items()
        if value is not None and name not in _HIDDEN
    }
    return json.dumps({"event": "telemetry.update", "fleet_id": fleet_id, **state}).encode()
