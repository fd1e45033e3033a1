"""The network thread: takes messages from the broker into the window and acks them once they are stored.

It sends the acks that ``flush`` hands over after COMMIT, publishes status and live state, and reconnects with backoff.
paho implements MQTT; the loop around it is voltd's own, so that reading can stop while the window is full and the acks
of a batch leave together. Must not decode, and must not wait for the database.
"""

from __future__ import annotations

import collections
import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import structlog

from voltd import backoff, config, errors, metrics, models
from voltd.pipeline.consume import clients, pseudonyms, session, stream, window

_log = structlog.get_logger()

_HANDSHAKE_S = 10.0
_DISCONNECT_S = 2.0
_WAIT_S = 0.5
_OUTBOX_LIMIT = 20_000


class Outgoing(NamedTuple):
    """A message voltd itself publishes."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


class Consumer:
    """The connection to the broker. ``run`` is its thread; ``ack``, ``publish`` and the stop calls come from others.

    Args:
        settings: broker, topics, client id.
        window: where messages go.
        counters: this thread writes the ``messages_*`` and ``broker_*`` ones.
        on_subscribed: called in the network thread after each successful subscribe; must not block.
        may_connect: whether to connect with the client id now; waits up to the given seconds until it may, and raises
            BrokerUnavailable when the broker cannot be reached.
        contested: called in the network thread when another client may have the client id; must not block.
        filters: topic filters of device families, beside those of the settings.
        renamed: pseudonyms of VINs; None: they stay as they are.
    """

    def __init__(
        self,
        settings: config.Settings,
        window: window.Window,
        counters: metrics.Metrics,
        *,
        on_subscribed: Callable[[], None] = lambda: None,
        may_connect: Callable[[float], bool] = lambda _timeout_s: True,
        contested: Callable[[], None] = lambda: None,
        filters: Sequence[str] = (),
        renamed: pseudonyms.Pseudonyms | None = None,
    ) -> None:
        self._settings = settings
        self._window = window
        self._counters = counters
        self._session = session.Session(
            settings, window, counters, on_subscribed, contested, filters=filters, renamed=renamed
        )
        self._renamed = renamed
        self._may_connect = may_connect
        self._acks: collections.deque[list[models.Message]] = collections.deque()
        self._outbox: collections.deque[Outgoing] = collections.deque(maxlen=_OUTBOX_LIMIT)
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._backoff = backoff.Backoff(0.25, settings.mqtt.reconnect_max_s)
        self._full_at = float("-inf")
        self._paused = False
        self._closing = threading.Event()
        self.subscribed = self._session.subscribed
        self.beat = time.monotonic()

    # -- from other threads

    def expect_session(self, *, expected: bool) -> None:
        """Says before ``run`` whether the broker should have a session of this client; if not, messages may be lost."""
        self._session.expected = expected

    def ack(self, messages: list[models.Message]) -> None:
        """Acks messages that are stored, in this order. Never blocks.

        Messages of an earlier connection are skipped: their packet ids are not valid on this one.
        """
        self._acks.append(messages)
        os.eventfd_write(self._wake, 1)

    def publish(self, outgoing: Outgoing) -> None:
        """Sends a message of voltd's own, at most once; without a connection it may be dropped."""
        self._outbox.append(outgoing)
        os.eventfd_write(self._wake, 1)

    def stop_taking(self) -> None:
        """Reads no more messages; acks still go out."""
        self._paused = True
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Ends ``run``: what is queued is sent, then DISCONNECT, which keeps the session at the broker."""
        self._closing.set()
        os.eventfd_write(self._wake, 1)

    # -- the network thread

    def run(self) -> None:
        """Connects and serves until ``close``.

        Raises:
            BrokerRefused: the broker will never accept this client; nothing was taken on this connection.
            ClientIdTaken: another daemon took over the session; unacked messages go to that one.
        """
        session = self._session
        while not self._closing.is_set():
            try:
                if not self._wait_for_client_id():
                    continue
                session.connect()
                self._serve()
            except errors.BrokerUnavailable as error:
                attempt = self._backoff.attempts + 1
                _log.warning("broker.unavailable", error=str(error), hint=error.hint, attempt=attempt)
            finally:
                session.ended()
            if session.fatal:
                raise session.fatal
            if not self._closing.is_set():
                self._pause(self._backoff.next_s())

    def _wait_for_client_id(self) -> bool:
        """Whether to connect now; waits half a second for it."""
        self.beat = time.monotonic()
        self._window.tick()
        return self._may_connect(_WAIT_S)

    def _serve(self) -> None:
        client = self._session.client
        handshake_ends = time.monotonic() + _HANDSHAKE_S
        next_misc = 0.0
        while (sock := client.socket()) is not None and not self._session.fatal:
            now = self.beat = time.monotonic()
            if now >= next_misc:
                next_misc = now + 0.5
                self._window.tick()
                self._counters.in_flight = self._window.in_flight
                self._keep_alive(now)
                if self.subscribed.is_set() and self._session.stands(now):
                    self._backoff.reset()
                if client.socket() is not sock:
                    continue
            if not self._session.accepted and now > handshake_ends:
                self._session.drop()
                raise errors.BrokerUnavailable("no answer to CONNECT", hint="check that an MQTT 5 broker listens there")
            self._send_acks()
            self._send_outbox()
            if self._closing.is_set():
                self._disconnect()
                return
            self._poll(sock)

    def _keep_alive(self, now: float) -> None:
        """Lets paho ping, except while the window is full: a PINGRESP could not be read behind the messages.

        The status that is published every few seconds then keeps the connection alive.
        """
        if self._window.full:
            self._full_at = now
        if now - self._full_at > self._settings.mqtt.keepalive_s:
            self._session.client.loop_misc()

    def _poll(self, sock: Any) -> None:
        """Waits for the socket or a wake-up, reads a bounded number of packets, writes what is queued."""
        client = self._session.client
        reading = not (self._session.accepted and (self._paused or self._window.full))
        interest = (select.POLLIN if reading else 0) | (select.POLLOUT if client.want_write() else 0)
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        poller.register(sock, interest)
        buffered = reading and _buffered(sock)
        events = dict(poller.poll(0 if buffered else 500))
        if self._wake in events:
            os.eventfd_read(self._wake)
        ready = events.get(sock.fileno(), 0)
        if ready & (select.POLLERR | select.POLLHUP) or (reading and (buffered or ready & select.POLLIN)):
            self._session.receive(sock)
        if client.socket() is not None and client.want_write():
            client.loop_write()

    def _send_acks(self) -> None:
        accepted = self._session.accepted
        while self._acks:
            messages = self._acks.popleft()
            ours = [message for message in messages if message.connection == accepted]
            self._counters.acks_voided_total += len(messages) - len(ours)
            packet_ids = [message.packet_id for message in ours if message.qos == 1]
            if self._session.order is not None:
                packet_ids = self._session.order.stored(packet_ids)
            if packet_ids:
                self._session.client.send_whole(stream.pubacks(packet_ids))
            for message in ours:
                if message.qos == 2:  # noqa: PLR2004
                    self._session.client.ack(message.packet_id, message.qos)

    def _send_outbox(self) -> None:
        if not self.subscribed.is_set():
            return
        while self._outbox:
            outgoing = self._outbox.popleft()
            try:
                self._session.client.publish(*self._addressed(outgoing))
            except ValueError as error:  # an invalid topic, or too large
                _log.warning("message.not_published", topic=outgoing.topic, error=str(error))

    def _addressed(self, outgoing: Outgoing) -> Outgoing:
        """Commands go to a node by its own name, which nobody but this thread knows."""
        if self._renamed is None or "/NCMD/" not in outgoing.topic:
            return outgoing
        return outgoing._replace(topic=self._renamed.original(outgoing.topic))

    def _disconnect(self) -> None:
        """Sends what is queued and DISCONNECT, and waits until the broker closes the connection.

        paho would close at once. With messages still unread that resets the connection, and queued acks are lost.
        """
        session, client = self._session, self._session.client
        session.closing = True
        topic = clients.status_topic(self._settings.instance)
        client.publish(topic, clients.offline_payload("stopped"), qos=0, retain=True)
        client.send_whole(stream.DISCONNECT)
        ends = time.monotonic() + _DISCONNECT_S
        while (sock := client.socket()) is not None and time.monotonic() < ends:
            writing = [sock] if client.want_write() else []
            readable, writable, _ = select.select([sock], writing, [], 0.1)
            if writable:
                client.loop_write()
            if readable and not session.discard(sock):
                break
        session.drop()

    def _pause(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while not self._closing.is_set() and (left := ends - time.monotonic()) > 0:
            self.beat = time.monotonic()
            self._closing.wait(min(left, 0.5))
            self._window.tick()


def _buffered(sock: Any) -> bool:
    """Whether TLS or the websocket has buffered bytes that poll does not report."""
    return hasattr(sock, "pending") and bool(sock.pending())
