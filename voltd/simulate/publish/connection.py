"""One MQTT 5 connection to publish on: with a window of messages in flight and a tally shared by all connections.

``publisher`` opens several and assigns devices to them. It reconnects with backoff; paho then sends unacknowledged
messages again, which are counted, because the broker may have passed them on already. Must not wait for the window:
the caller does.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from voltd import errors
from voltd.simulate.publish.publication import Publication, Tally
from voltd.simulate.publish.target import MqttTarget

CONNECT_TIMEOUT_S = 10.0
RETRY_S = (0.2, 5.0)  # first and longest wait between two attempts to reconnect
POLL_S = 0.2  # longest wait of a blocked caller for a notification
MOST_HEADER_BYTES = 16  # of a PUBLISH without properties, beside topic and payload
NO_MATCHING_SUBSCRIBERS = 0x10  # MQTT 5, 3.4.2.1: accepted, but there is no subscriber
Heard = Callable[[str, bytes], None]
REFUSALS = {0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C}  # protocol, client id, password, authorisation, banned, method


class PublishConnection:
    """One connection. Its network thread runs the callbacks; ``arrived`` guards everything shared with it."""

    def __init__(
        self, target: MqttTarget, client_id: str, window: int, arrived: threading.Condition, tally: Tally
    ) -> None:
        self._target = target
        self._arrived = arrived
        self._tally = tally
        self._window = self._most = window
        self._most_bytes = 1 << 28
        self._connected = False
        self._failure: errors.VoltdError | None = None
        self._sent: dict[int, Publication] = {}
        # Acknowledged before publish() returned the id; whether there was a subscriber.
        self._early: dict[int, bool] = {}
        self._listens: dict[str, Heard] = {}
        self.in_flight = 0
        self._client = client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5, transport=target.transport
        )
        if target.transport == "websockets":
            client.ws_set_options(path=target.websocket_path)
        client.max_inflight_messages_set(0)  # the window here is the limit; paho's would queue without bound
        client.reconnect_delay_set(*RETRY_S)  # type: ignore[arg-type] # int by annotation, any number in fact
        client.connect_timeout = CONNECT_TIMEOUT_S
        if target.username is not None:
            client.username_pw_set(target.username, target.password)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish

    def listen(self, topic_filter: str, heard: Heard) -> None:
        """Calls ``heard`` with topic and payload of what others publish there; before ``connect``.

        The network thread calls it, so it must not block.
        """
        self._listens[topic_filter] = heard
        self._client.message_callback_add(
            topic_filter, lambda _client, _data, one: heard(one.topic, bytes(one.payload))
        )

    def connect(self) -> None:
        """Connects and waits for CONNACK, up to ten seconds. Raises as ``Publisher.__enter__``."""
        where = f"{self._target.host}:{self._target.port}"
        try:
            if self._target.tls:
                self._client.tls_set_context(_tls_context(self._target))
            self._client.connect(self._target.host, self._target.port, keepalive=30)
        except OSError as error:
            raise errors.BrokerUnavailable(
                f"no broker at {where}: {error}", hint="start it, or set another one (host, port, TLS)"
            ) from error
        self._client.loop_start()
        ends = time.monotonic() + CONNECT_TIMEOUT_S
        with self._arrived:
            while not self._connected:
                self._raise_failure()
                if time.monotonic() > ends:
                    raise errors.BrokerUnavailable(
                        f"{where} accepts connections but does not answer as an MQTT 5 broker",
                        hint="check the port and the TLS settings",
                    )
                self._arrived.wait(POLL_S)

    def ready(self) -> bool:
        """Whether one more may be sent now. The caller has the lock."""
        self._raise_failure()
        return self._connected and self.in_flight < self._window

    def busy(self) -> bool:
        """Whether acknowledgements are missing. The caller has the lock."""
        self._raise_failure()
        return self.in_flight > 0

    def send(self, publication: Publication) -> None:
        """Passes it to the network thread; only when ``ready``."""
        with self._arrived:
            if len(publication.topic) + len(publication.payload) + MOST_HEADER_BYTES > self._most_bytes:
                self._tally.oversize += 1
                return
            self.in_flight += 1
        # Not under the lock: paho holds its own lock while it calls _on_publish, which takes ours.
        topic, payload = publication.topic, publication.payload
        mid = self._client.publish(topic, payload, qos=1, retain=publication.retain).mid
        with self._arrived:
            if mid in self._early:
                self._count(publication, delivered=self._early.pop(mid))
            else:
                self._sent[mid] = publication

    def close(self) -> None:
        """Disconnects; messages that are not acknowledged stay uncounted."""
        self._client.disconnect()
        self._client.loop_stop()

    def _count(self, publication: Publication, *, delivered: bool) -> None:
        tally = self._tally
        if not delivered:
            tally.undelivered += publication.vehicle + publication.meter + publication.bad
            tally.undelivered_topic = tally.undelivered_topic or publication.topic
        tally.vehicle += publication.vehicle
        tally.meter += publication.meter
        tally.bad += publication.bad
        tally.duplicates += publication.duplicate
        tally.messages += 1
        self.in_flight -= 1
        self._arrived.notify_all()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _fail(self, what: str, reason: ReasonCode) -> None:
        self._failure = errors.BrokerRefused(
            f"{self._target.host}:{self._target.port} {what}: {reason}",
            hint="check user name, password and the broker's access rules",
        )
        self._arrived.notify_all()

    def _on_connect(
        self,
        _client: paho.Client,
        _data: Any,
        _flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        with self._arrived:
            if reason.is_failure:
                # Anything else (server busy, shutting down) is worth another attempt.
                if reason.value in REFUSALS:
                    self._fail("refused the connection", reason)
                return
            # MQTT 5, 3.2.2.3.3: more in flight than this and the broker closes the connection.
            self._window = min(self._most, getattr(properties, "ReceiveMaximum", 65_535))
            # MQTT 5, 3.2.2.3.6: it would do so for a larger packet as well, each time it is sent again.
            self._most_bytes = getattr(properties, "MaximumPacketSize", 1 << 28)
            # paho sends these again by itself, right after this callback.
            self._tally.resent += sum(sent.vehicle + sent.meter + sent.bad for sent in self._sent.values())
            self._connected = True
            self._arrived.notify_all()
        for topic_filter in self._listens:  # not under the lock, see ``send``
            self._client.subscribe(topic_filter, 1)

    def _on_disconnect(self, *_: Any) -> None:
        with self._arrived:
            self._connected = False

    def _on_publish(
        self, _client: paho.Client, _data: Any, mid: int, reason: ReasonCode, _properties: Properties
    ) -> None:
        with self._arrived:
            if reason.is_failure:
                self._fail("refused a message", reason)
                return
            delivered = reason.value != NO_MATCHING_SUBSCRIBERS
            publication = self._sent.pop(mid, None)
            if publication is None:
                self._early[mid] = delivered
            else:
                self._count(publication, delivered=delivered)


def _tls_context(target: MqttTarget) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=target.ca_file)
        if target.cert_file is not None:
            context.load_cert_chain(target.cert_file, target.key_file)
    except OSError as error:
        raise errors.ConfigurationError(
            f"TLS files cannot be used: {error}", hint="check the paths of the CA, certificate and key files"
        ) from error
    return context
