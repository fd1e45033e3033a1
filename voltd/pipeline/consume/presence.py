"""The daemon's second, small connection to the broker: it asks who has the client id, and answers when asked.

A thread of its own, under a client id of its own, so that it hears a question while the window is full or the database
is away. ``consume`` connects under the shared client id only when ``come`` says so. What is decided is
``consume.claim``'s; here are socket, clock and words for people.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from voltd import backoff, config, errors
from voltd.daemon import identity
from voltd.pipeline.consume import claim as consume_claim
from voltd.pipeline.consume import client as consume_client

_log = structlog.get_logger()

_HANDSHAKE_S = 10.0
_RECONNECT_MAX_S = 5.0
_IDLE_S, _ASKING_S = 0.5, 0.05
# A broker may let one connection in and not two. Who waits for the second then takes nothing for ever.
_GIVEN_UP_AFTER = 10
_SAY_AGAIN_S = 60.0
_REFUSALS = 3  # by then a daemon that the broker does not want at all has ended
_REFUSED = 0x80  # and above: a SUBACK's reason code (MQTT 5, 3.9.3)


class Presence:
    """``run`` is its thread; everything else may be called from any.

    Args:
        settings: broker and client id.
        me: this process.
        in_use: whether a connection under the client id stands.
        on_news: called in the thread when ``come`` may have another answer; must not block.
        heartbeat: a living daemon with this client id by another witness, for a broker that lets no questions pass; may
            block for some seconds. Its argument: only one that started before this time counts; None: any.
    """

    def __init__(
        self,
        settings: config.Settings,
        me: identity.Identity | None = None,
        *,
        in_use: Callable[[], bool] = lambda: False,
        on_news: Callable[[], None] = lambda: None,
        heartbeat: Callable[[dt.datetime | None], identity.Identity | None] = lambda _before: None,
    ) -> None:
        self._settings = settings
        self._me = me or identity.own()
        self._claim = consume_claim.Claim(settings.client_id, self._me)
        self._topics = consume_claim.topics(settings.client_id)
        self._status_topic = consume_client.status_topic(settings.instance)
        self._in_use, self._on_news, self._heartbeat = in_use, on_news, heartbeat
        self._closing = threading.Event()
        self._doubted = threading.Event()
        self._changed = threading.Condition()
        self._open = False
        self._problem: errors.BrokerUnavailable | None = None
        self._failures = 0
        self._subscribed = self._refused = self._ended = False
        self._asked_at = 0.0
        self._refusals = 0
        self._told_unheard = False
        self._told_contested_at = float("-inf")
        self.beat = time.monotonic()

    # -- from other threads

    def come(self, timeout_s: float) -> bool:
        """Whether to connect under the client id now; waits up to so long for a yes.

        Raises:
            BrokerUnavailable: the broker cannot be reached; said once for each attempt.
        """
        with self._changed:
            if not self._open and self._problem is None:
                self._changed.wait(timeout_s)
            problem, self._problem = self._problem, None
            if self._open:
                return True
            if problem is not None:
                raise problem
            return False

    def doubt(self) -> None:
        """Connections under the client id do not last: another client may have it."""
        self._doubted.set()

    @property
    def undecided(self) -> bool:
        """Whether nothing is known yet: neither who has the client id, nor that the broker is away."""
        with self._changed:
            return not self._open and self._problem is None and not self._failures

    def close(self) -> None:
        """Ends ``run`` within a second; for last, when the connection under the client id has ended."""
        self._closing.set()

    # -- the thread

    def run(self) -> None:
        """Asks and answers until ``close``.

        Raises:
            ClientIdTaken: another daemon has the client id; nothing more may be taken under it.
        """
        delays = backoff.Backoff(0.25, min(self._settings.mqtt.reconnect_max_s, _RECONNECT_MAX_S))
        while not self._closing.is_set():
            try:
                self._serve(delays)
            except (OSError, ValueError, paho.WebsocketConnectionError) as error:
                self._failed(f"{self._settings.mqtt.host}:{self._settings.mqtt.port}: {error}")
            self._closing.wait(delays.next_s())
            self.beat = time.monotonic()

    def _serve(self, delays: backoff.Backoff) -> None:
        """One connection."""
        mqtt = self._settings.mqtt
        self._subscribed = self._refused = self._ended = False
        self._claim.lose()
        client = consume_client.presence(self._settings)
        client.on_connect, client.on_subscribe = self._connected, self._suback
        client.on_message, client.on_disconnect = self._message, self._disconnected
        client.connect(mqtt.host, mqtt.port, keepalive=mqtt.keepalive_s)
        handshake_ends = time.monotonic() + _HANDSHAKE_S
        try:
            while not self._ended and not self._closing.is_set():
                asking = not self._subscribed or self._claim.state is consume_claim.State.CLAIMING
                if client.loop(_ASKING_S if asking else _IDLE_S) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                    break
                now = self.beat = time.monotonic()
                if self._subscribed:
                    delays.reset()
                    self._turn(client, now)
                elif self._refused or now > handshake_ends:
                    break
        finally:
            client.disconnect()
            if self._subscribed:
                self._set_open(open_=False)
        if self._refused:  # the daemon's own connection finds out by itself whether that is for good
            self._refusals += 1
            self._go_unheard(say=self._refusals >= _REFUSALS)
        elif not self._subscribed and not self._closing.is_set():
            self._failed(f"{mqtt.host}:{mqtt.port}: no answer to CONNECT")

    def _turn(self, client: paho.Client, now: float) -> None:
        claim, before = self._claim, self._claim.state
        if self._doubted.is_set():
            self._doubted.clear()
            self._look_around(now)
        claim.tick(now)
        while claim.outbox:
            client.publish(*claim.outbox.popleft())
        if claim.state is consume_claim.State.TAKEN:
            self._give_way(claim.other)
        if claim.state is consume_claim.State.HOLDING and before is not claim.state:
            _log.debug("client_id.held", waited_s=round(now - self._asked_at, 3))
            client.unsubscribe(self._status_topic)  # ours, from now on
        if claim.state is consume_claim.State.UNHEARD:
            self._go_unheard(say=True)
        else:
            self._set_open(open_=claim.state is consume_claim.State.HOLDING)

    def _go_unheard(self, *, say: bool) -> None:
        """Nobody can be asked: goes on unless another witness knows better."""
        if say:
            self._say_unheard()
        if not self._open:
            self._give_way(self._heartbeat(None))
            self._set_open(open_=True)

    def _look_around(self, now: float) -> None:
        if now - self._told_contested_at > _SAY_AGAIN_S:
            self._told_contested_at = now
            _log.warning(
                "client_id.contested",
                client_id=self._settings.client_id,
                hint="the broker closes connections right after it has accepted them: looking for another daemon with "
                "this client id; if none is found, look for another MQTT client that uses it",
            )
        if self._claim.state is consume_claim.State.UNHEARD:
            self._give_way(self._heartbeat(self._me.started_at))
        self._claim.doubt(now)

    def _give_way(self, other: identity.Identity | None) -> None:
        if other is None:
            return
        self._set_open(open_=False)
        raise errors.ClientIdTaken(
            f"another daemon has client id {self._settings.client_id!r}: {other}",
            hint="each daemon needs its own: set instance (or mqtt.client_id) differently for each, or end the "
            "other one; where brokers are bridged, keep voltd/client/# out of the bridge",
        )

    def _say_unheard(self) -> None:
        if not self._told_unheard:
            self._told_unheard = True
            _log.warning(
                "client_id.unheard",
                topics=list(self._topics),
                hint="the broker does not let voltd ask whether another daemon has its client id: allow its user a "
                "second connection, and to read and write voltd/client/# in the broker's access list",
            )

    def _set_open(self, *, open_: bool) -> None:
        with self._changed:
            news = open_ is not self._open
            self._open = open_
            if open_:
                self._problem, self._failures = None, 0
            if news:
                self._changed.notify_all()
        if news:
            self._on_news()

    def _failed(self, text: str) -> None:
        hint = "is the broker up, and are mqtt.host, mqtt.port and mqtt.transport right? try: voltd check"
        with self._changed:
            self._problem = errors.BrokerUnavailable(text, hint=hint)
            self._failures += 1
            self._open = self._failures >= _GIVEN_UP_AFTER
            self._changed.notify_all()
        self._on_news()

    # -- paho's callbacks

    def _connected(
        self, client: paho.Client, _userdata: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        if reason.is_failure:
            _log.debug("client_id.not_asked", reason=str(reason))
            self._refused = True
            return
        self._refusals = 0
        wanted = [(name, SubscribeOptions(qos=0, retainHandling=2)) for name in self._topics]
        if not self._in_use():
            wanted.append((self._status_topic, SubscribeOptions(qos=0, retainHandling=0)))
        client.subscribe(wanted)

    def _suback(self, _client: Any, _userdata: Any, _mid: int, reasons: list[ReasonCode], _properties: Any) -> None:
        self._subscribed, self._asked_at = True, time.monotonic()
        _log.debug("client_id.asked", client_id=self._settings.client_id)
        self._claim.begin(self._asked_at, in_use=self._in_use())
        if any(reason.value >= _REFUSED for reason in reasons[: len(self._topics)]):
            self._claim.refuse()

    def _disconnected(self, _client: Any, _userdata: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        self._ended = True
        _log.debug("client_id.asked_no_more", reason=str(reason))

    def _message(self, _client: Any, _userdata: Any, message: paho.MQTTMessage) -> None:
        now, payload = time.monotonic(), bytes(message.payload)
        if message.topic == self._status_topic:
            self._claim.note_status(payload)
        elif message.retain:  # nobody's who is there
            return
        elif message.topic == self._topics.ask:
            self._claim.hear_ask(payload, now)
        elif message.topic == self._topics.answer:
            self._claim.hear_answer(payload, now)
