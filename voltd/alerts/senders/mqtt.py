"""Open episodes as retained messages on ``voltd/alerts/<fleet_id>/<device_id>/<rule>``, cleared when they resolve.

An open episode is published again every quarter of an hour, and its topic expires an hour after that (MQTT 5,
3.3.2.3.3): a topic that voltd cannot clear, because it was killed or has no such channel any more, does not stay.

The sender has its own connection to the broker of [mqtt], as the daemon's is busy with readings. It closes the
connection after some time without messages, and opens another after an error. QoS 1; it waits for each PUBACK.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Sequence

from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from voltd import config, errors
from voltd.alerts import notifications
from voltd.alerts.senders import sender
from voltd.pipeline.consume import clients
from voltd.pipeline.current import live

_CONNECT_S = 5.0
_PUBACK_S = 10.0
_AT_ONCE = 500
_IDLE_S = 50.0
_AGAIN_S = 900.0
_EXPIRES_S = 3600
_NEVER = (b"", 0.0)


def topic(row: notifications.AlertTransition) -> str:
    """The topic of this alert."""
    levels = (row.fleet_id or live.UNASSIGNED, row.device_id, row.rule)
    return "/".join(("voltd/alerts", *map(live.level, levels)))


def payload(row: notifications.AlertTransition) -> bytes:
    """The episode as JSON; once it is resolved empty, which clears the topic."""
    if row.resolved:
        return b""
    times = {"opened_at": row.opened_at, "last_seen_at": row.last_seen_at, "acknowledged_at": row.acknowledged_at}
    return json.dumps(
        {
            "alert_id": row.alert_id,
            "rule": row.rule,
            "severity": row.severity,
            "device_type": row.device_type,
            "device_id": row.device_id,
            "fleet_id": row.fleet_id,
            **{name: None if at is None else at.isoformat() for name, at in times.items()},
            "peak_value": row.peak_value,
            "message": row.message,
        }
    ).encode()


class MqttSender:
    """Publishes to the daemon's broker.

    Args:
        settings: which broker, and how to reach it.
    """

    def __init__(self, settings: config.Settings) -> None:
        self._settings = settings
        self._client: paho.Client | None = None
        self._connected = threading.Event()
        self._answered = threading.Event()  # the broker took the connection, or ended it
        self._problem = ""
        self._used_at = 0.0
        self._shown: dict[str, tuple[bytes, float]] = {}  # what was published, and when

    def send(self, what: notifications.Notification) -> None:
        """See ``sender.Sender``."""
        self._publish((topic(row), payload(row)) for row in what.rows)
        for row in what.rows:
            if row.alert_id is None:  # sent from memory, the database may not have it yet: ``show`` must not clear it
                self._shown.pop(topic(row), None)

    def show(self, rows: Sequence[notifications.AlertTransition]) -> int:
        """Publishes what has changed or was published long ago, and clears what was resolved without a notification.

        Publishes everything on a new connection: the broker may have lost what it retained.
        """
        wanted = {topic(row): payload(row) for row in rows}
        resolved = [(name, b"") for name in self._shown if name not in wanted]
        idle = not wanted and not resolved and time.monotonic() - self._used_at > _IDLE_S
        if idle or not self._connected.is_set():
            self.close()
        pairs = [*resolved, *(pair for pair in wanted.items() if self._is_due(*pair))]
        self._publish(pairs)
        return len(pairs)

    def _is_due(self, name: str, body: bytes) -> bool:
        last, at = self._shown.get(name, _NEVER)
        return last != body or time.monotonic() - at >= _AGAIN_S

    def close(self) -> None:
        """See ``sender.Sender``."""
        client, self._client = self._client, None
        self._connected.clear()
        self._shown = dict.fromkeys(self._shown, _NEVER)  # what the broker still has of it is unknown
        if client is not None:
            client.disconnect()
            client.loop_stop()

    def _publish(self, pairs: Iterable[tuple[str, bytes]]) -> None:
        every = list(pairs)
        for first in range(0, len(every), _AT_ONCE):
            some = every[first : first + _AT_ONCE]
            try:
                self._publish_some(some)
            except (OSError, ValueError, RuntimeError, errors.VoltdError) as error:
                reason = self._problem or str(error)
                self.close()
                if isinstance(error, sender.ChannelError):
                    raise
                raise sender.ChannelError(f"MQTT broker: {reason}") from error

    def _publish_some(self, pairs: Sequence[tuple[str, bytes]]) -> None:
        client = self._connect()
        self._used_at = time.monotonic()
        ends = time.monotonic() + _PUBACK_S
        expiring = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        expiring.MessageExpiryInterval = _EXPIRES_S
        infos = [client.publish(name, body, qos=1, retain=True, properties=expiring) for name, body in pairs]
        for info in infos:
            if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
                raise sender.ChannelError(f"MQTT broker: {paho.error_string(info.rc)}")
            while not info.is_published():
                if not self._connected.is_set() or time.monotonic() > ends:
                    raise sender.ChannelError(f"MQTT broker: {self._problem or 'no PUBACK in time'}")
                info.wait_for_publish(0.2)
        if self._problem:
            raise sender.ChannelError(f"MQTT broker: {self._problem}")
        for name, body in pairs:
            if body:
                self._shown[name] = (body, time.monotonic())
            else:
                self._shown.pop(name, None)

    def _connect(self) -> paho.Client:
        if self._client is not None and self._connected.is_set():
            return self._client
        self.close()
        self._problem = ""
        client = clients.observer(self._settings)
        client.max_inflight_messages_set(_AT_ONCE)

        def on_connect(_client: object, _data: object, _flags: object, reason: object, _properties: object) -> None:
            if getattr(reason, "is_failure", False):
                self._problem = f"refuses the connection: {reason}"
            else:
                self._connected.set()
            self._answered.set()

        def on_disconnect(_client: object, _data: object, _flags: object, reason: object, _properties: object) -> None:
            if client is self._client:
                self._problem = self._problem or f"connection lost: {reason}"
                self._connected.clear()
                self._answered.set()

        def on_publish(_client: object, _data: object, _mid: int, reason: object, _properties: object) -> None:
            if getattr(reason, "is_failure", False):
                self._problem = f"refuses to take alerts: {reason}"

        client.on_connect, client.on_disconnect, client.on_publish = on_connect, on_disconnect, on_publish
        self._client = client
        self._answered.clear()
        mqtt = self._settings.mqtt
        client.connect(mqtt.host, mqtt.port, keepalive=mqtt.keepalive_s)
        client.loop_start()
        self._answered.wait(_CONNECT_S)
        if not self._connected.is_set():
            raise sender.ChannelError(f"MQTT broker: {self._problem or 'no CONNACK in time'}")
        return client
