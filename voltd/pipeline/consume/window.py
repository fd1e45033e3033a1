"""The window: messages taken from the broker that no batch has taken yet, between ``consume`` and ``flush``.

One thread puts (the network thread), one takes (the flusher); no lock is held per message. How many messages may be
here is the broker's business (Receive Maximum); how many bytes is answered by ``full``.
"""

from __future__ import annotations

import collections
import threading
import time

from voltd import models

_OVERHEAD_BYTES = 512  # what a held message costs beside topic and payload, about
MOST_COMMAS = 400_000  # in the arrays of one batch: a bound on readings and dead letters before they are decoded
_LINES_BYTES = 500  # what is smaller has not many lines
_REDELIVERY_S = 5.0  # after this long the broker has sent again what it is going to send again


class Window:
    """Messages in the order received, counted in messages and bytes until they are released.

    Args:
        max_bytes: memory that may be held before ``full``, in bytes: topics, payloads and 512 bytes a message.
        receive_maximum: with so many held the broker sends no more, so nobody need linger for company.
    """

    def __init__(self, max_bytes: int, receive_maximum: int = 65535) -> None:
        self._max_bytes = max_bytes
        self._receive_maximum = receive_maximum
        self._all_here = threading.Event()
        self._waiting: collections.deque[models.Message] = collections.deque()
        self._arrived = threading.Event()
        self._stale: dict[int, models.Message] = {}
        self._stale_until = 0.0
        # Each counter has one writing thread, so the differences need no lock.
        self._put_messages = self._put_bytes = 0
        self._superseded_messages = self._superseded_bytes = 0
        self._released_messages = self._released_bytes = 0

    @property
    def held(self) -> int:
        """Messages put and neither released nor superseded: waiting or in a batch."""
        return self._put_messages - self._superseded_messages - self._released_messages

    @property
    def held_bytes(self) -> int:
        """About how much memory the held messages take."""
        return self._put_bytes - self._superseded_bytes - self._released_bytes

    @property
    def full(self) -> bool:
        """Whether the network thread must stop reading."""
        return self.held_bytes >= self._max_bytes

    def put(self, message: models.Message) -> None:
        """Takes one message in; see ``put_many``."""
        self.put_many([message])

    def put_many(self, messages: list[models.Message]) -> None:
        """Takes messages in, in their order (network thread). Never blocks."""
        if self._stale:
            for message in messages:
                self._supersede(message)
        self._put_messages += len(messages)
        self._put_bytes += sum(map(_cost, messages))
        self._waiting.extend(messages)
        if not self._arrived.is_set():
            self._arrived.set()
        if self.held >= self._receive_maximum and not self._all_here.is_set():
            self._all_here.set()

    def reconnected(self) -> None:
        """The session goes on over a new connection (network thread): the broker sends again what is not acked.

        What waits here is set aside until its redelivery replaces it, so that repeated reconnects during an outage
        of the database do not pile up copies. What is not sent again (a broker that forgot it in a crash, QoS 0)
        goes back in line: it is dropped by nobody.
        """
        self._restore_stale()
        kept: list[models.Message] = []
        while True:
            try:
                message = self._waiting.popleft()
            except IndexError:
                break
            if message.qos == 0 or message.packet_id in self._stale:
                kept.append(message)
            else:
                self._stale[message.packet_id] = message
        self._waiting.extend(kept)
        self._stale_until = time.monotonic() + _REDELIVERY_S

    def tick(self) -> None:
        """Puts back what was set aside once its redelivery is overdue (network thread, now and then)."""
        if self._stale and time.monotonic() >= self._stale_until:
            self._restore_stale()

    def take(self, max_messages: int, max_bytes: int, linger_s: float, timeout_s: float) -> list[models.Message]:
        """The next messages in order (flusher); waits up to ``timeout_s`` for the first, then ``linger_s`` for more.

        It does not linger where no more can come.

        Returns:
            1 to ``max_messages`` messages of together at most ``max_bytes`` payload and a bounded number of array
            elements (one larger message comes alone), or an empty list when none arrived in time.
        """
        if not self._arrived.wait(timeout_s):
            return []
        if linger_s and len(self._waiting) < max_messages:
            self._all_here.clear()
            if self.held < self._receive_maximum:
                self._all_here.wait(linger_s)
        self._arrived.clear()
        taken: list[models.Message] = []
        size = elements = 0
        waiting = self._waiting
        while len(taken) < max_messages:
            try:
                message = waiting.popleft()
            except IndexError:
                return taken
            size += len(message.payload)
            elements += parts(message.payload)
            if taken and (size > max_bytes or elements > MOST_COMMAS):
                waiting.appendleft(message)
                break
            taken.append(message)
        self._arrived.set()
        return taken

    def release(self, messages: list[models.Message]) -> None:
        """The messages have met their fate (flusher)."""
        self._released_messages += len(messages)
        self._released_bytes += sum(map(_cost, messages))

    def _supersede(self, message: models.Message) -> None:
        old = self._stale.get(message.packet_id) if message.qos else None
        if old is not None and old.payload == message.payload and old.topic == message.topic:
            del self._stale[message.packet_id]
            self._superseded_messages += 1
            self._superseded_bytes += _cost(old)
        elif message.qos and not message.redelivered:
            # MQTT 5, 4.4.0-1: unacknowledged messages are sent again first, in their order; this one is new.
            self._restore_stale()

    def _restore_stale(self) -> None:
        if self._stale:
            self._waiting.extend(self._stale.values())
            self._stale = {}
            self._arrived.set()


def parts(payload: bytes) -> int:
    """At most so many readings are in an array or in objects one a line; 0 for a single object."""
    if payload[:1] != b"{":  # an array, perhaps behind white space
        return payload.count(b",")
    return payload.count(b"\n") if len(payload) > _LINES_BYTES else 0


def _cost(message: models.Message) -> int:
    return len(message.payload) + len(message.topic) + _OVERHEAD_BYTES
