"""The window: messages in flight, taken from the broker and not yet stored; between ``consume`` and ``flush``.

The network thread puts, the flusher takes; there is no lock per message. The broker bounds the number of messages
(Receive Maximum), ``full`` bounds their bytes.
"""

from __future__ import annotations

import collections
import threading
import time

from voltd import models

_OVERHEAD_BYTES = 512  # memory of a message beside topic and payload, about
MOST_COMMAS = 400_000  # in the arrays of one batch: a bound on readings and dead letters before they are decoded
_LINES_BYTES = 500  # a smaller payload has few lines
_REDELIVERY_S = 5.0  # the broker has finished its redelivery after this long


class Window:
    """Messages in the order received, counted in messages and bytes until they are released.

    Args:
        max_bytes: memory of the messages from which on it is ``full``, in bytes: topics, payloads, 512 bytes a message.
        receive_maximum: with so many messages in flight the broker sends no more, so ``take`` need not linger.
    """

    def __init__(self, max_bytes: int, receive_maximum: int = 65535) -> None:
        self._max_bytes = max_bytes
        self.receive_maximum = receive_maximum
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
    def in_flight(self) -> int:
        """Messages in flight: waiting or in a batch, neither released nor superseded."""
        return self._put_messages - self._superseded_messages - self._released_messages

    @property
    def in_flight_bytes(self) -> int:
        """Memory of the messages in flight, about."""
        return self._put_bytes - self._superseded_bytes - self._released_bytes

    @property
    def full(self) -> bool:
        """Whether the network thread must stop reading."""
        return self.in_flight_bytes >= self._max_bytes

    def put(self, message: models.Message) -> None:
        """Adds one message; see ``put_many``."""
        self.put_many([message])

    def put_many(self, messages: list[models.Message]) -> None:
        """Adds messages in their order (network thread). Never blocks."""
        if self._stale:
            for message in messages:
                self._supersede(message)
        self._put_messages += len(messages)
        self._put_bytes += sum(map(_cost, messages))
        self._waiting.extend(messages)
        if not self._arrived.is_set():
            self._arrived.set()
        if self.in_flight >= self.receive_maximum and not self._all_here.is_set():
            self._all_here.set()

    def reconnected(self) -> None:
        """Prepares for the redelivery that follows a reconnect (network thread).

        Waiting messages are set aside until their redelivery replaces them, so that repeated reconnects during an
        outage of the database do not pile up copies. A message that is not redelivered (QoS 0, or lost in a crash of
        the broker) returns to the queue: none is dropped.
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
        """Returns messages to the queue whose redelivery is overdue (network thread, twice a second)."""
        if self._stale and time.monotonic() >= self._stale_until:
            self._restore_stale()

    def take(self, max_messages: int, max_bytes: int, linger_s: float, timeout_s: float) -> list[models.Message]:
        """The next messages in order (flusher); waits up to ``timeout_s`` for the first, then ``linger_s`` for more.

        It does not linger when no more can arrive.

        Returns:
            1 to ``max_messages`` messages of together at most ``max_bytes`` payload and a bounded number of array
            elements (a larger message is returned alone), or an empty list when none arrived in time.
        """
        if not self._arrived.wait(timeout_s):
            return []
        if linger_s and len(self._waiting) < max_messages:
            self._all_here.clear()
            if self.in_flight < self.receive_maximum:
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
        """Removes messages that are stored or spooled (flusher)."""
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
    """An upper bound of the readings in an array or in objects one a line; 0 for a single object."""
    if payload[:1] != b"{":  # an array, perhaps behind white space
        return payload.count(b",")
    return payload.count(b"\n") if len(payload) > _LINES_BYTES else 0


def _cost(message: models.Message) -> int:
    # Its size as published, as long as it is in flight: the payload may be another one by now, longer or shorter.
    return (message.size or len(message.payload)) + len(message.topic) + _OVERHEAD_BYTES
