"""Acks in the order of receipt (MQTT 5, 4.6.0-2), where some messages are stored later than those behind them.

Device families whose values are gathered need it: their messages wait until the reading is complete.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable

from voltd import models


class AckOrder:
    """Packet ids of one connection, between receipt and ack; for the network thread."""

    def __init__(self) -> None:
        self._received: collections.deque[int] = collections.deque()
        self._stored: set[int] = set()

    def clear(self) -> None:
        """A new connection: the packet ids of the last one are void."""
        self._received.clear()
        self._stored.clear()

    def received(self, messages: Iterable[models.Message]) -> None:
        """These have arrived, in this order."""
        self._received.extend(message.packet_id for message in messages if message.qos == 1)

    def stored(self, packet_ids: Iterable[int]) -> list[int]:
        """These are stored: the packet ids that may be acked now, in their order."""
        self._stored.update(packet_ids)
        free = []
        while self._received and self._received[0] in self._stored:
            packet_id = self._received.popleft()
            self._stored.discard(packet_id)
            free.append(packet_id)
        return free
