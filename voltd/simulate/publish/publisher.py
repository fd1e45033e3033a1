"""Publishes at QoS 1 from a few connections, with a bounded number of messages in flight, and counts what arrived.

Called by ``run`` and ``replay`` with one publication at a time; ``connection`` does the talking. A publication counts
as published once the broker has acknowledged it. A device always uses the same connection, so its readings stay in
order. Must not decide what is published or when.
"""

from __future__ import annotations

import dataclasses
import secrets
import threading
import time
import zlib
from typing import Any, Protocol, Self

from voltd.simulate.publish.connection import POLL_S, PublishConnection
from voltd.simulate.publish.publication import Publication, Tally
from voltd.simulate.publish.target import MqttTarget

PROGRESS_S = 1.0  # between two calls of on_progress, about
WINDOW = 1000  # in flight per connection; the broker's Receive Maximum may lower it


class Publishes(Protocol):
    """What a run needs of a ``publish.Publisher``; same contracts."""

    def publish(
        self, publication: Publication, *, stop: threading.Event | None = None, timeout_s: float | None = None
    ) -> bool:
        """Send one."""

    def drain(self, timeout_s: float) -> bool:
        """Wait for the acknowledgements."""

    def tally(self) -> Tally:
        """Acknowledged so far."""


class Publisher:
    """Connections to one broker; a context manager. ``publish`` and ``drain`` are for one thread."""

    def __init__(self, host: str, port: int, *, connections: int = 2, window: int = WINDOW, **how: Any) -> None:
        """Prepare; ``__enter__`` connects.

        Args:
            host: of the broker.
            port: of the broker.
            connections: how many to open.
            window: most messages in flight on each.
            how: any further field of ``MqttTarget`` (username, password, tls, ...).
        """
        target = MqttTarget(host, port, **how)
        self._arrived = threading.Condition()
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

    def __enter__(self) -> Self:
        """Connect; blocks for up to ten seconds a connection.

        Raises:
            BrokerUnavailable: not reachable. BrokerRefused: reachable, but not for us.
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
        """Send one; blocks while the window is full or the connection is down.

        Returns:
            True once it is on its way (or counted as ``oversize``: the broker takes no such). False if ``stop`` was
            set or ``timeout_s`` was over before it could be sent: it was not published.

        Raises:
            BrokerRefused: the broker does not let us publish to this topic, or no longer lets us in.
        """
        connection = self._connections[zlib.crc32(publication.topic.encode()) % len(self._connections)]
        ends = None if timeout_s is None else time.monotonic() + timeout_s
        with self._arrived:
            while not connection.ready():
                if (stop is not None and stop.is_set()) or (ends is not None and time.monotonic() >= ends):
                    return False
                self._arrived.wait(POLL_S)
        connection.send(publication)
        return True

    def drain(self, timeout_s: float = 30.0) -> bool:
        """Wait until everything sent is acknowledged. False if that took longer than ``timeout_s``.

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
        """What has been acknowledged so far; a copy."""
        with self._arrived:
            in_flight = sum(connection.in_flight for connection in self._connections)
            return dataclasses.replace(self._tally, in_flight=in_flight)

    def close(self) -> None:
        """Disconnect; what is not acknowledged by now stays uncounted."""
        for connection in self._connections:
            connection.close()
