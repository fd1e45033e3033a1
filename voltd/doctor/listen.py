"""Listens to everything that the broker lets this login hear, beside the daemon and without taking anything from it.

A session of its own at QoS 0 that ends with the connection: it acks nothing, and is in no share group.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading
import time
from collections.abc import Callable
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.subscribeoptions import SubscribeOptions

from voltd import config, errors, models
from voltd.pipeline.consume import clients, pseudonyms

_MOST_TOPICS = 50_000
MOST_CHARACTERS = 1024  # of a topic; a filter of the settings is no longer
_MOST_SAMPLES = 20  # payloads kept of a topic
_MOST_BYTES = 1 << 16  # of a payload that is kept
_MOST_BYTES_IN_ALL = 256 << 20
_MOST_BYTES_WHEN_FULL = 1 << 12  # of a payload
_HANDSHAKE_S = 10.0
_STEP_S = 0.1


@dataclasses.dataclass(slots=True)
class Topic:
    """What was heard on one topic.

    Attributes:
        live: how many messages, without retained ones.
        retained: how many retained ones.
        samples: the last of them, oldest first.
    """

    live: int = 0
    retained: int = 0
    samples: list[models.Message] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True)
class Heard:
    """What was heard in all.

    Attributes:
        seconds: for how long.
        topics: by name.
        left_out: messages on further topics, and on topics that are too long for the settings.
        kept_bytes: of the payloads that are kept.
    """

    seconds: float
    topics: dict[str, Topic] = dataclasses.field(default_factory=dict)
    left_out: int = 0
    kept_bytes: int = 0

    def add(self, message: models.Message) -> None:
        """Takes one message into account."""
        topic = self.topics.get(message.topic)
        if topic is None:
            if len(self.topics) >= _MOST_TOPICS or len(message.topic) > MOST_CHARACTERS:
                self.left_out += 1
                return
            topic = self.topics[message.topic] = Topic()
        topic.retained += message.retained
        topic.live += not message.retained
        full = self.kept_bytes > _MOST_BYTES_IN_ALL
        if len(message.payload) <= (_MOST_BYTES_WHEN_FULL if full else _MOST_BYTES):
            topic.samples.append(message)
            self.kept_bytes += len(message.payload)
            # One of each topic is kept: without it nobody knows what is published there.
            while len(topic.samples) > 1 and (
                len(topic.samples) > _MOST_SAMPLES or self.kept_bytes > _MOST_BYTES_IN_ALL
            ):
                self.kept_bytes -= len(topic.samples.pop(0).payload)


def listen(settings: config.Settings, seconds: float, tick: Callable[[float], None] = lambda _left: None) -> Heard:
    """Listens for so long; ``tick`` is called with the seconds that are left.

    Raises:
        BrokerUnavailable: it cannot be reached, or it refuses.
    """
    heard = Heard(seconds)
    answered = threading.Event()
    refused: list[str] = []
    client, renamed = clients.observer(settings), pseudonyms.of(settings)

    def on_connect(one: paho.Client, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            refused.append(f"the broker refused the connection: {reason}")
            answered.set()
        else:
            one.subscribe([("#", SubscribeOptions(qos=0, retainHandling=0))])

    def on_subscribe(_client: Any, _userdata: Any, _mid: int, reasons: list[Any], _properties: Any) -> None:
        if reasons[0].is_failure:
            refused.append(f"the broker refused the subscription to #: {reasons[0]}")
        answered.set()

    def on_message(_client: Any, _userdata: Any, one: paho.MQTTMessage) -> None:
        payload, now = bytes(one.payload), dt.datetime.now(dt.UTC)
        message = models.Message(one.topic, payload, 0, now, one.qos, bool(one.retain), size=len(payload))
        heard.add(message if renamed is None else renamed.message(message))

    client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
    mqtt = settings.mqtt
    try:
        client.connect(mqtt.host, mqtt.port, keepalive=mqtt.keepalive_s)
    except (OSError, ValueError, paho.WebsocketConnectionError) as error:
        hint = "check that the broker runs, and mqtt.host, mqtt.port and mqtt.transport; voltd check tests them"
        raise errors.BrokerUnavailable(f"{mqtt.host}:{mqtt.port}: {error}", hint=hint) from error
    client.loop_start()
    try:
        if not answered.wait(_HANDSHAKE_S):
            raise errors.BrokerUnavailable("no answer to CONNECT", hint="check that an MQTT 5 broker listens there")
        if refused:
            hint = "compare mqtt.username, the password and the access list in the broker's configuration"
            raise errors.BrokerUnavailable(refused[0], hint=hint)
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            tick(left)
            time.sleep(min(left, _STEP_S))
    finally:
        client.disconnect()
        client.loop_stop()
    return heard
