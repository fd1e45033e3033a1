"""Publishes at QoS 1 from a few connections, with a bounded number of messages in flight, and counts acknowledgements.

``fleet.run`` and ``replay.run`` pass it one publication at a time. A publication counts once the broker has
acknowledged it. A device always uses the same connection, so that its readings stay in order.
"""

from __future__ import annotations

import dataclasses
import queue
import secrets
import threading
import time
import zlib
from collections.abc import Iterator
from typing import Any, Protocol, Self

from voltd.simulate.publish.connection import POLL_S, PublishConnection
from voltd.simulate.publish.publication import Publication, Tally
from voltd.simulate.publish.target import MqttTarget

PROGRESS_S = 1.0  # between two calls of on_progress, about
WINDOW = 1000  # in flight per connection; the broker's Receive Maximum may lower it


class Publishes(Protocol):
    """The part of ``Publisher`` that a run uses, with the same contracts."""

    def publish(
        self, publication: Publication, *, stop: threading.Event | None = None, timeout_s: float | None = None
    ) -> bool:
        """Sends one publication."""

    def drain(self, timeout_s: float) -> bool:
        """Waits for the acknowledgements."""

    def tally(self) -> Tally:
        """The acknowledged publications so far."""


class Publisher:
    """Connections to one broker; a context manager. ``publish`` and ``drain`` are for one thread."""

    def __init__(self, host: str, port: int, *, connections: int = 2, window: int = WINDOW, **how: Any) -> None:
        """Prepares; ``__enter__`` connects.

        Args:
            host: the broker's.
            port: the broker's.
            connections: how many to open.
            window: limit of messages in flight on each.
            how: further fields of ``MqttTarget`` (username, password, tls, ...).
        """
        target = MqttTarget(host, port, **how)
        self._arrived = threading.Condition()
        self._commands: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self._tally = Tally()
        name = f"voltd-publish-{secrets.token_hex(4)}"
        self._connections = [
            PublishConnection(target, f"{name}-{index}", window, self._arrived, self._tally)
            for index in range(connections)
        ]

    @classmethod
    def to(cls, target: MqttTarget, *, connections: int = 2, window: int = WINDOW) -> Self:
        """A publisher to ``target``."""
        return cls(connections=connections, window=window, **dataclasses.asdict(target))

    def listen(self, topic_filter: str) -> None:
        """Takes what others publish there for ``commands``; before ``__enter__``."""
        self._connections[0].listen(topic_filter, lambda topic, payload: self._commands.put((topic, payload)))

    def commands(self) -> Iterator[tuple[str, bytes]]:
        """What has been published to ``listen``'s topics since the last call: topic and payload."""
        while not self._commands.empty():
            yield self._commands.get()

    def __enter__(self) -> Self:
        """Connects; blocks for up to ten seconds a connection.

        Raises:
            BrokerUnavailable: not reachable. BrokerRefused: the broker refuses the connection.
        """
        try:
            for connection in self._connections:
                connection.connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def publish(
        self, publication: Publication, *, stop: threading.Event | None = None, timeout_s: float | None = None
    ) -> bool:
        """Sends one publication; blocks while the window is full or the connection is down.

        Returns:
            True once it is sent (or counted as ``oversize``). False if ``stop`` was set or ``timeout_s`` passed before
            it could be sent: it was not published.

        Raises:
            BrokerRefused: the broker refuses this topic, or a new connection.
        """
        sender = publication.device or publication.topic
        connection = self._connections[zlib.crc32(sender.encode()) % len(self._connections)]
        ends = None if timeout_s is None else time.monotonic() + timeout_s
        with self._arrived:
            while not connection.ready():
                if (stop is not None and stop.is_set()) or (ends is not None and time.monotonic() >= ends):
                    return False
                self._arrived.wait(POLL_S)
        connection.send(publication)
        return True

    def drain(self, timeout_s: float = 30.0) -> bool:
        """Waits until every publication is acknowledged; False if that takes longer than ``timeout_s``.

        Raises:
            BrokerRefused: as for ``publish``.
        """
        ends = time.monotonic() + timeout_s
        with self._arrived:
            while sum(connection.busy() for connection in self._connections):
                left_s = ends - time.monotonic()
                if left_s <= 0:
                    return False
                self._arrived.wait(min(left_s, POLL_S))
        return True

    def tally(self) -> Tally:
        """A copy of the tally so far."""
        with self._arrived:
            in_flight = sum(connection.in_flight for connection in self._connections)
            return dataclasses.replace(self._tally, in_flight=in_flight)

    def close(self) -> None:
        """Disconnects; publications that are not acknowledged stay uncounted."""
        for connection in self._connections:
            connection.close()
