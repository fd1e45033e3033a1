"""paho clients for an MQTT 5 broker: the daemon's, its second one, and one that only observes; and their subscriptions.

MQTT 5 only: Receive Maximum bounds the window, and MQTT 3.1.1 has none.
"""

from __future__ import annotations

import json
import secrets
import ssl
from collections.abc import Sequence
from typing import TypeVar

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from voltd import config, errors

_ClientT = TypeVar("_ClientT", bound=paho.Client)


def status_topic(instance: str) -> str:
    """The topic of a daemon's status: retained, and the topic of its last will."""
    return f"voltd/{instance}/status"


def offline_payload(reason: str) -> bytes:
    """The retained status of a daemon that has ended."""
    return json.dumps({"status": "offline", "reason": reason}).encode()


class StreamClient(paho.Client):
    """A paho client that does not read the socket: ``session`` passes it the packets that are not messages.

    Relies on two of paho's internals, ``_sock_recv`` and ``_packet_queue``; a contract test fails when they change.
    """

    _given = b""
    _at_end = False

    def give(self, packet: bytes) -> None:
        """Passes one whole packet to paho; its callbacks run before this returns."""
        self._given = packet
        while self._given and self.socket() is not None:
            self.loop_read()
        self._given = b""

    def end(self) -> None:
        """Reports to paho that the broker has closed the connection; paho calls ``on_disconnect``."""
        self._at_end = True
        try:
            self.loop_read()
        finally:
            self._at_end = False

    def send_whole(self, packets: bytes) -> None:
        """Queues complete packets as one buffer."""
        self._packet_queue(PacketTypes.PUBACK << 4, packets, 0, 1)

    def _sock_recv(self, bufsize: int) -> bytes:
        if self._given:
            part, self._given = self._given[:bufsize], self._given[bufsize:]
            return part
        if self._at_end:
            return b""
        raise BlockingIOError


def create(settings: config.Settings) -> StreamClient:
    """The daemon's client, not connected yet: manual acks, credentials, TLS and the last will.

    Raises:
        ConfigurationError: a TLS file cannot be used; nothing was connected.
    """
    client = _client(StreamClient, settings.mqtt, settings.client_id, manual_ack=True)
    client.will_set(status_topic(settings.instance), offline_payload("connection lost"), qos=1, retain=True)
    return client


def observer(settings: config.Settings) -> paho.Client:
    """A client for a short visit: a client id of its own, and a session that ends with the connection."""
    return _client(paho.Client, settings.mqtt, "", manual_ack=False)


def presence(settings: config.Settings) -> paho.Client:
    """The daemon's second client, for questions about the client id; its own begins with it, for access lists."""
    return _client(paho.Client, settings.mqtt, f"{settings.client_id}.ask-{secrets.token_hex(4)}", manual_ack=False)


def _client(made: type[_ClientT], mqtt: config.Mqtt, client_id: str, *, manual_ack: bool) -> _ClientT:
    client = made(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=paho.MQTTv5,
        transport=mqtt.transport,
        manual_ack=manual_ack,
        reconnect_on_failure=False,
    )
    if mqtt.transport == "websockets":
        client.ws_set_options(path=mqtt.websocket_path)
    if mqtt.username is not None:
        client.username_pw_set(mqtt.username, mqtt.password.get_secret_value() if mqtt.password else None)
    if mqtt.tls:
        client.tls_set_context(_tls_context(mqtt))
    client.connect_timeout = 5.0
    return client


def connect_properties(mqtt: config.Mqtt) -> Properties:
    """A session that outlives connections, the window as Receive Maximum, no topic aliases (MQTT 5, 3.1.2.11)."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho's gap
    properties.SessionExpiryInterval = mqtt.session_expiry_s
    properties.ReceiveMaximum = mqtt.receive_maximum
    properties.TopicAliasMaximum = 0
    return properties


def subscriptions(mqtt: config.Mqtt, others: Sequence[str] = ()) -> list[tuple[str, SubscribeOptions]]:
    """Every filter, and those of device families (``others``), at QoS 1.

    The broker then sends QoS 2 messages as QoS 1, which voltd acks after COMMIT.

    Retained messages arrive once, when the subscription is new (MQTT 5, 3.8.3.1, Retain Handling 1). With a share group
    the broker sends each message to one daemon of the group only (4.8.2).
    """
    prefix = f"$share/{mqtt.share_group}/" if mqtt.share_group else ""
    options = SubscribeOptions(qos=1, retainAsPublished=False, retainHandling=1)
    return [(name if name.startswith("$share/") else prefix + name, options) for name in (*_filters(mqtt), *others)]


def observer_subscriptions(mqtt: config.Mqtt, others: Sequence[str] = ()) -> list[tuple[str, SubscribeOptions]]:
    """The same filters for an observer: outside the share group, whose messages it would take, and nothing retained."""
    options = SubscribeOptions(qos=1, retainAsPublished=False, retainHandling=2)
    return [
        (name.split("/", maxsplit=2)[-1] if name.startswith("$share/") else name, options)
        for name in (*_filters(mqtt), *others)
    ]


def replaced_filters(mqtt: config.Mqtt, others: Sequence[str] = ()) -> list[str]:
    """Filters that a session may have from before the share group was set; the broker would send each message twice."""
    return [name for name in (*_filters(mqtt), *others) if mqtt.share_group and not name.startswith("$share/")]


def _filters(mqtt: config.Mqtt) -> tuple[str, ...]:
    return (*mqtt.topics.vehicle, *mqtt.topics.meter, *mqtt.topics.ingest)


def _tls_context(mqtt: config.Mqtt) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(mqtt.ca_file) if mqtt.ca_file else None)
        if mqtt.cert_file and mqtt.key_file:
            context.load_cert_chain(mqtt.cert_file, mqtt.key_file)
    except (OSError, ssl.SSLError) as error:
        raise errors.ConfigurationError(
            f"mqtt TLS files cannot be used: {error}",
            hint="check mqtt.ca_file, mqtt.cert_file and mqtt.key_file: PEM, readable for the daemon's user",
        ) from error
    return context
