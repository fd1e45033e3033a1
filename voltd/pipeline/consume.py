"""Consume: the broker's side of the daemon, one network thread around paho's client.

Takes messages into the window, sends the acks that ``flush`` hands over after COMMIT, publishes status and live
state, and reconnects with backoff. paho speaks MQTT; the loop around it is ours, so that reading can stop while the
window is full and the acks of one batch leave together. Must not decode, and must not wait for the database.
"""

from __future__ import annotations

import collections
import datetime as dt
import os
import select
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog
from paho.mqtt import client as paho
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from voltd import backoff, config, errors, metrics, models
from voltd.pipeline import consume_client, consume_window

_log = structlog.get_logger()

_SESSION_TAKEN_OVER = 0x8E  # MQTT 5, 3.14.2.1
# MQTT 5, 3.2.2.2: protocol version, client id, credentials, authorisation, banned, authentication method
_REFUSED_FOR_GOOD = frozenset({0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C})
_FAILURE = 0x80
_HANDSHAKE_S = 10.0
_OUTBOX_LIMIT = 20_000
_READS_PER_TURN = 256


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
    """

    def __init__(
        self,
        settings: config.Settings,
        window: consume_window.Window,
        counters: metrics.Metrics,
        *,
        on_subscribed: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._window = window
        self._counters = counters
        self._on_subscribed = on_subscribed
        self._client = self._make_client()
        self._acks: collections.deque[list[models.Message]] = collections.deque()
        self._outbox: collections.deque[Outgoing] = collections.deque(maxlen=_OUTBOX_LIMIT)
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._backoff = backoff.Backoff(0.25, settings.mqtt.reconnect_max_s)
        self._connection = 0
        self._accepted = 0  # the connection that has had its CONNACK and still stands; 0: none
        self._full_at = float("-inf")
        self._session_expected = False
        self._fatal: errors.VoltdError | None = None
        self._paused = False
        self._closing = threading.Event()
        self.subscribed = threading.Event()
        self.beat = time.monotonic()

    # -- from other threads

    def expect_session(self, *, expected: bool) -> None:
        """Whether the broker should know this client: if it then does not, messages may be lost. Before ``run``."""
        self._session_expected = expected

    def ack(self, messages: list[models.Message]) -> None:
        """Tells the broker that these messages are stored, in this order. Never blocks.

        Messages of an earlier connection are left out: their packet ids mean nothing on this one.
        """
        self._acks.append(messages)
        os.eventfd_write(self._wake, 1)

    def publish(self, outgoing: Outgoing) -> None:
        """Sends a message of voltd's own, at most once; while there is no connection it may be forgotten."""
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
        while not self._closing.is_set():
            try:
                self._connect()
                self._serve()
            except errors.BrokerUnavailable as error:
                _log.warning(
                    "broker.unavailable", error=str(error), hint=error.hint, attempt=self._backoff.attempts + 1
                )
            finally:
                self._accepted = 0
                self.subscribed.clear()
            if self._fatal:
                raise self._fatal
            if not self._closing.is_set():
                self._pause(self._backoff.next_s())

    def _make_client(self) -> paho.Client:
        client = consume_client.create(self._settings)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_subscribe = self._suback
        client.on_message = self._message
        # With this set paho only queues packets, and the loop below writes them: one thread owns the socket.
        client.on_socket_register_write = lambda *_: None
        return client

    def _connect(self) -> None:
        mqtt = self._settings.mqtt
        self._connection += 1
        try:
            self._client.connect(
                mqtt.host,
                mqtt.port,
                keepalive=mqtt.keepalive_s,
                clean_start=False,
                properties=consume_client.connect_properties(mqtt),
            )
        except (OSError, ValueError, paho.WebsocketConnectionError) as error:
            hint = "is the broker up, and are mqtt.host, mqtt.port and mqtt.transport right? try: voltd check"
            raise errors.BrokerUnavailable(f"{mqtt.host}:{mqtt.port}: {error}", hint=hint) from error

    def _serve(self) -> None:
        client = self._client
        handshake_ends = time.monotonic() + _HANDSHAKE_S
        next_misc = 0.0
        while (sock := client.socket()) is not None and not self._fatal:
            now = self.beat = time.monotonic()
            if now >= next_misc:
                next_misc = now + 0.5
                self._window.tick()
                self._counters.in_flight = self._window.held
                self._keep_alive(now)
                if client.socket() is not sock:
                    continue
            if not self._accepted and now > handshake_ends:
                self._drop_connection()
                raise errors.BrokerUnavailable("no answer to CONNECT", hint="does an MQTT 5 broker listen there?")
            self._send_acks()
            self._send_outbox()
            if self._closing.is_set():
                self._say_goodbye()
                return
            self._turn(sock)

    def _keep_alive(self, now: float) -> None:
        """Lets paho ping, but not while the window is full by bytes: their answers cannot be read behind the messages.

        The broker then knows us alive by the status that is published every few seconds.
        """
        if self._window.full:
            self._full_at = now
        if now - self._full_at > self._settings.mqtt.keepalive_s:
            self._client.loop_misc()

    def _turn(self, sock: Any) -> None:
        """Waits for the socket or a wake-up, reads a bounded number of packets, writes what is queued."""
        client = self._client
        reading = not (self._accepted and (self._paused or self._window.full))
        interest = (select.POLLIN if reading else 0) | (select.POLLOUT if client.want_write() else 0)
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        poller.register(sock, interest)
        buffered = reading and _buffered(sock)
        events = dict(poller.poll(0 if buffered else 500))
        if self._wake in events:
            os.eventfd_read(self._wake)
        ready = events.get(sock.fileno(), 0)
        if ready & (select.POLLERR | select.POLLHUP) and not reading:
            client.loop_read()  # finds out what is wrong with the connection
        elif reading and (buffered or ready & (select.POLLIN | select.POLLERR | select.POLLHUP)):
            self._read(sock)
        if client.socket() is not None and client.want_write():
            client.loop_write()

    def _read(self, sock: Any) -> None:
        client = self._client
        more = select.poll()
        more.register(sock, select.POLLIN)
        for _ in range(_READS_PER_TURN):
            client.loop_read()
            if client.socket() is not sock or (self._accepted and self._window.full):
                return
            if not _buffered(sock) and not more.poll(0):
                return

    def _send_acks(self) -> None:
        client = self._client
        while self._acks:
            for message in self._acks.popleft():
                if message.qos == 0:
                    continue
                if message.connection == self._accepted:
                    client.ack(message.packet_id, message.qos)
                else:
                    self._counters.acks_voided_total += 1

    def _send_outbox(self) -> None:
        if not self.subscribed.is_set():
            return
        while self._outbox:
            outgoing = self._outbox.popleft()
            try:
                self._client.publish(*outgoing)
            except ValueError as error:  # not a topic, or too large
                _log.warning("message.not_published", topic=outgoing.topic, error=str(error))

    def _say_goodbye(self) -> None:
        topic = consume_client.status_topic(self._settings.instance)
        self._client.publish(topic, consume_client.offline_payload("stopped"), qos=0, retain=True)
        self._client.disconnect()
        ends = time.monotonic() + 2.0
        while (sock := self._client.socket()) is not None and time.monotonic() < ends:
            select.select([], [sock], [], 0.1)
            self._client.loop_write()

    def _drop_connection(self) -> None:
        sock = self._client.socket()
        if sock is not None:
            sock.close()
        self._client.loop_misc()

    def _pause(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while not self._closing.is_set() and (left := ends - time.monotonic()) > 0:
            self.beat = time.monotonic()
            self._closing.wait(min(left, 0.5))
            self._window.tick()

    # -- paho's callbacks, all in the network thread

    def _connected(
        self, client: paho.Client, _userdata: Any, flags: paho.ConnectFlags, reason: ReasonCode, _p: Properties | None
    ) -> None:
        if reason.is_failure:
            error = f"the broker refused the connection: {reason}"
            if reason.value in _REFUSED_FOR_GOOD and not self._counters.broker_connects_total:
                hint = "check mqtt.username, the password file and mqtt.client_id against the broker's settings"
                self._fatal = errors.BrokerRefused(error, hint=hint)
            else:
                _log.warning("broker.refused", reason=str(reason))
            return
        if self._session_expected and not flags.session_present:
            self._counters.session_lost_total += 1
            _log.error("session.lost", hint="messages queued at the broker may be lost: check its persistence")
        if flags.session_present:
            self._window.reconnected()
        self._accepted = self._connection
        self._session_expected = True
        self._counters.broker_connects_total += 1
        client.subscribe(consume_client.subscriptions(self._settings.mqtt.topics))
        _log.info("broker.connected", session_present=flags.session_present, client_id=self._settings.client_id)

    def _suback(
        self, _client: paho.Client, _userdata: Any, _mid: int, reasons: list[ReasonCode], _p: Properties | None
    ) -> None:
        asked = [topic_filter for topic_filter, _ in consume_client.subscriptions(self._settings.mqtt.topics)]
        refused = [f for f, code in zip(asked, reasons, strict=False) if code.value >= _FAILURE]
        if refused:
            self._fatal = errors.BrokerRefused(
                f"the broker refused the subscription to {', '.join(refused)}",
                hint="allow this client to read these topics in the broker's access list",
            )
            return
        self._backoff.reset()
        self.subscribed.set()
        self._on_subscribed()

    def _disconnected(
        self,
        _client: paho.Client,
        _userdata: Any,
        _flags: paho.DisconnectFlags,
        reason: ReasonCode,
        _p: Properties | None,
    ) -> None:
        self._accepted = 0
        self.subscribed.clear()
        if self._closing.is_set():
            return
        if reason.value == _SESSION_TAKEN_OVER:
            self._fatal = errors.ClientIdTaken(
                f"another client took over the session of client id {self._settings.client_id!r}",
                hint="each daemon needs its own: set instance (or mqtt.client_id) differently for each",
            )
        else:
            _log.warning("broker.disconnected", reason=str(reason))

    def _message(self, _client: paho.Client, _userdata: Any, arrived: paho.MQTTMessage) -> None:
        payload = bytes(arrived.payload)
        counters = self._counters
        counters.messages_received_total += 1
        counters.messages_redelivered_total += arrived.dup
        kept = self._settings.limits.max_payload_bytes + 1
        self._window.put(
            models.Message(
                arrived.topic,
                payload if len(payload) <= kept else payload[:kept],
                arrived.mid,
                dt.datetime.now(dt.UTC),
                arrived.qos,
                bool(arrived.retain),
                bool(arrived.dup),
                self._connection,
                len(payload),
            )
        )


def _buffered(sock: Any) -> bool:
    """Whether TLS or the websocket holds bytes that poll cannot see."""
    return hasattr(sock, "pending") and bool(sock.pending())
