"""The MQTT session: paho's callbacks, and the state that they set for the loop of ``consumer``.

The network thread runs every callback. Messages go into the window as they arrive; connection, subscription and
takeover become attributes. Must not block.
"""

from __future__ import annotations

import datetime as dt
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from paho.mqtt import client as paho
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from voltd import config, errors, metrics, models
from voltd.pipeline.consume import ack_order, clients, pseudonyms, stream, window
from voltd.pipeline.consume.client_id import closes

_log = structlog.get_logger()

_READ_BYTES = 256 << 10
_SESSION_TAKEN_OVER = 0x8E  # MQTT 5, 3.14.2.1
# MQTT 5, 3.2.2.2: protocol version, client id, credentials, authorisation, banned, authentication method
_REFUSED_FOR_GOOD = frozenset({0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C})
# 3.9.3: authorisation, topic filter, shared subscriptions, subscription identifiers, wildcards
_SUBSCRIPTION_REFUSED_FOR_GOOD = frozenset({0x87, 0x8F, 0x9E, 0xA1, 0xA2})


class Session:
    """The session; it outlives connections.

    Attributes:
        client: paho's client.
        accepted: number of the open connection that has received CONNACK; 0: none.
        subscribed: set while the broker has confirmed our subscriptions on this connection.
        expected: whether the broker should have a session of this client; if it has none, messages may be lost.
        fatal: the error that ends the daemon; ``Consumer.run`` raises it.
        closing: whether we close the connection ourselves.
        order: of the acks, where device families hold messages back; None: they leave as they come.
    """

    def __init__(
        self,
        settings: config.Settings,
        window: window.Window,
        counters: metrics.Metrics,
        on_subscribed: Callable[[], None],
        contested: Callable[[], None],
        *,
        filters: Sequence[str] = (),
        renamed: pseudonyms.Pseudonyms | None = None,
    ) -> None:
        self._settings = settings
        self._window = window
        self._counters = counters
        self._on_subscribed = on_subscribed
        self._connection = self._ended = 0
        self._subscriptions = clients.subscriptions(settings.mqtt, filters)
        self._replaced = clients.replaced_filters(settings.mqtt, filters)
        self.order = ack_order.AckOrder() if filters else None
        self.accepted = 0
        self.subscribed = threading.Event()
        self.expected = False
        self.closing = False
        self._contested = contested
        self._pseudonyms = renamed
        self._closes = closes.Closes()
        self._accepted_at = 0.0
        self.fatal: errors.VoltdError | None = None
        self._was_subscribed = False
        self._refusal: errors.BrokerUnavailable | None = None
        self.client = clients.create(settings)
        self.client.on_connect = self._connected
        self.client.on_disconnect = self._disconnected
        self.client.on_subscribe = self._suback
        self.client.on_message = self._message
        # With this set paho only queues packets, and the loop writes them: one thread owns the socket.
        self.client.on_socket_register_write = lambda *_: None

    def connect(self) -> None:
        """Opens a connection and sends CONNECT; the broker's answer arrives in a callback.

        Raises:
            BrokerUnavailable: no connection; unacked messages stay with the broker.
        """
        mqtt = self._settings.mqtt
        self._connection += 1
        self._stream = stream.PublishStream(self._connection)
        if self.order is not None:
            self.order.clear()
        try:
            self.client.connect(
                mqtt.host,
                mqtt.port,
                keepalive=mqtt.keepalive_s,
                clean_start=False,
                properties=clients.connect_properties(mqtt),
            )
        except (OSError, ValueError, paho.WebsocketConnectionError) as error:
            hint = "check that the broker runs, and mqtt.host, mqtt.port and mqtt.transport; voltd check tests them"
            raise errors.BrokerUnavailable(f"{mqtt.host}:{mqtt.port}: {error}", hint=hint) from error

    def receive(self, sock: Any) -> None:
        """Reads at most 256 KiB from the socket: messages go into the window, other packets to paho.

        Raises:
            BrokerUnavailable: the broker refuses the subscription for now; unacked messages stay with it.
        """
        try:
            data = sock.recv(_READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError as error:
            _log.debug("broker.read_failed", error=str(error))
            data = b""
        if not data:
            self.client.end()
            return
        try:
            for part in self._stream.feed(data, dt.datetime.now(dt.UTC)):
                if isinstance(part, bytes):
                    self.client.give(part)
                else:
                    self._take(part)
        except ValueError as error:
            _log.error("broker.not_understood", error=str(error))
            self.client.end()
        if self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            self.drop()
            raise refusal

    @staticmethod
    def discard(sock: Any) -> bool:
        """Reads and drops: unacked messages stay with the broker. False once it has closed the connection."""
        try:
            return bool(sock.recv(_READ_BYTES))
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False

    def _take(self, messages: list[models.Message]) -> None:
        self._counters.messages_received_total += len(messages)
        self._counters.messages_redelivered_total += sum(message.redelivered for message in messages)
        if self.order is not None:
            self.order.received(messages)
        if self._pseudonyms is not None:
            messages = [self._pseudonyms.message(message) for message in messages]
        self._window.put_many(messages)

    def drop(self) -> None:
        """Closes the connection without DISCONNECT."""
        sock = self.client.socket()
        if sock is not None:
            sock.close()
        self.client.loop_misc()

    def stands(self, now: float) -> bool:
        """Whether this connection has lasted too long to have been evicted by another client."""
        return bool(self.accepted) and now - self._accepted_at > closes.SHORT_S

    def ended(self) -> None:
        """Records that the connection has ended."""
        self.accepted = 0
        self.subscribed.clear()

    def _connected(
        self, client: paho.Client, _userdata: Any, flags: paho.ConnectFlags, reason: ReasonCode, _p: Properties | None
    ) -> None:
        if reason.is_failure:
            if reason.value in _REFUSED_FOR_GOOD and not self._counters.broker_connects_total:
                self.fatal = errors.BrokerRefused(
                    f"the broker refused the connection: {reason}",
                    hint="compare mqtt.username, the password file and mqtt.client_id with the broker's configuration",
                )
            else:
                _log.warning("broker.refused", reason=str(reason))
            return
        if self.expected and not flags.session_present:
            self._counters.session_lost_total += 1
            _log.error("session.lost", hint="messages queued at the broker may be lost: check its persistence")
        if flags.session_present:
            self._window.reconnected()
        self.accepted, self._accepted_at = self._connection, time.monotonic()
        self.expected = True
        self._counters.broker_connects_total += 1
        if self._replaced and flags.session_present:
            client.unsubscribe(self._replaced)
        client.subscribe(self._subscriptions)
        _log.info("broker.connected", session_present=flags.session_present, client_id=self._settings.client_id)

    def _suback(
        self, _client: paho.Client, _userdata: Any, _mid: int, reasons: list[ReasonCode], _p: Properties | None
    ) -> None:
        refused = {name: code for (name, _), code in zip(self._subscriptions, reasons, strict=False) if code.is_failure}
        if refused:
            each = ", ".join(f"{name} ({code})" for name, code in refused.items())
            text = f"the broker refused the subscription to {each}"
            hint = "allow this client to read these topics in the broker's access list"
            for_good = any(code.value in _SUBSCRIPTION_REFUSED_FOR_GOOD for code in refused.values())
            if for_good and not self._was_subscribed:
                self.fatal = errors.BrokerRefused(text, hint=hint)
            else:  # it was allowed before: the broker's access list may be unavailable for a while
                self._refusal = errors.BrokerUnavailable(text, hint=hint)
            return
        self._was_subscribed = True
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
        accepted, recorded = bool(self.accepted), self._ended == self._connection
        self.ended()
        self._ended = self._connection
        if self.closing or recorded:  # paho reports the end of a connection that timed out twice
            return
        now, taken_over = time.monotonic(), reason.value == _SESSION_TAKEN_OVER
        if taken_over:
            _log.warning("broker.session_taken_over", client_id=self._settings.client_id)
        else:
            _log.warning("broker.disconnected", reason=str(reason))
        if not accepted:
            return
        self._closes.note(now, stood_s=now - self._accepted_at, taken_over=taken_over)
        if self._closes.hopeless:  # no daemon answers our questions, so the other client is none of this version
            self.fatal = errors.ClientIdTaken(
                f"another client takes over the session of client id {self._settings.client_id!r} again and again",
                hint="give each client its own client id: set instance (or mqtt.client_id)",
            )
        elif self._closes.contested:
            self._contested()

    def _message(self, _client: paho.Client, _userdata: Any, arrived: paho.MQTTMessage) -> None:
        """Takes a QoS 2 message, which needs a subscription by another program; paho does the handshake."""
        payload = bytes(arrived.payload)
        message = models.Message(
            arrived.topic,
            payload,
            arrived.mid,
            dt.datetime.now(dt.UTC),
            arrived.qos,
            bool(arrived.retain),
            bool(arrived.dup),
            self._connection,
            len(payload),
        )
        self._take([message])
