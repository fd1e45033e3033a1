"""Asks which daemon has the client id, for ``voltd check``. It claims nothing and answers no question."""

from __future__ import annotations

import json
import secrets
import threading
from typing import Any, NamedTuple

from paho.mqtt import client as paho
from paho.mqtt.subscribeoptions import SubscribeOptions

from voltd import config, errors
from voltd.host import identity
from voltd.pipeline.consume import clients
from voltd.pipeline.consume.client_id import claim

_ECHO_S = 2.0


class ProbeResult(NamedTuple):
    """What the probe found.

    Attributes:
        allowed: whether the broker passes questions and answers on.
        daemon: the daemon that answered; None: none did, or the broker does not allow the question.
    """

    allowed: bool
    daemon: identity.Identity | None


def probe(settings: config.Settings) -> ProbeResult:
    """Asks which daemon has the client id of the settings; blocks for up to three seconds.

    Raises:
        BrokerUnavailable: no connection.
    """
    topics = claim.topics(settings.client_id)
    nonce, run = secrets.token_hex(16), secrets.token_hex(16)
    others: list[identity.Identity] = []
    echoed, answered = threading.Event(), threading.Event()

    def on_connect(client: paho.Client, _userdata: Any, _flags: Any, _reason: Any, _properties: Any) -> None:
        client.subscribe([(name, SubscribeOptions(qos=0, retainHandling=2)) for name in topics])

    def on_subscribe(client: paho.Client, _userdata: Any, _mid: int, _reasons: Any, _properties: Any) -> None:
        client.publish(topics.ask, json.dumps({"nonce": nonce, "run": run, "state": "looking"}))

    def on_message(client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        found = claim.parse(bytes(message.payload))
        if message.retain or found.get("nonce") != nonce:
            return
        if message.topic == topics.ask:
            client.publish(topics.answer, json.dumps({"nonce": nonce, "run": run}))
        elif found.get("run") == run:
            echoed.set()
        elif (other := identity.parse(found)) is not None:
            others.append(other)
            answered.set()

    client = clients.presence(settings)
    client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
    try:
        client.connect(settings.mqtt.host, settings.mqtt.port)
    except (OSError, ValueError, paho.WebsocketConnectionError) as error:
        raise errors.BrokerUnavailable(str(error), hint="start the broker") from error
    client.loop_start()
    if echoed.wait(_ECHO_S):
        answered.wait(claim.QUIET_S)
    client.disconnect()
    client.loop_stop()
    return ProbeResult(echoed.is_set(), others[0] if others else None)
