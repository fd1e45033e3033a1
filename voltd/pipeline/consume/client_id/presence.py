"""The daemon's second connection to the broker: it asks which daemon has the client id, and answers such questions.

It has a thread and a client id of its own, so that it answers while the window is full or the database is away. The
``Consumer`` connects with the shared client id only when ``may_connect`` returns True. ``claim`` decides; this module
has the socket, the clock and the messages for people.
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
from voltd.host import identity
from voltd.pipeline.consume import clients
from voltd.pipeline.consume.client_id import claim

_log = structlog.get_logger()

_HANDSHAKE_S = 10.0
_RECONNECT_MAX_S = 5.0
_IDLE_S, _ASKING_S = 0.5, 0.05
# A broker may allow one connection per user. A daemon that waited for the second would never take anything.
_OPEN_AFTER = 10
_WARN_AGAIN_S = 60.0
_REFUSALS = 3  # a daemon that the broker refuses altogether has ended by then
_REFUSED = 0x80  # and above: a SUBACK's reason code (MQTT 5, 3.9.3)


class Presence:
    """``run`` is its thread; everything else may be called from any.

    Args:
        settings: broker and client id.
        me: this process.
        in_use: whether this daemon is connected with the client id.
        on_change: called in the thread when the answer of ``may_connect`` may have changed; must not block.
        heartbeat: finds a running daemon with this client id in the database, for a broker that does not pass questions
            on; may block for some seconds. With a time it finds only daemons that started before it.
    """

    def __init__(
        self,
        settings: config.Settings,
        me: identity.Identity | None = None,
        *,
        in_use: Callable[[], bool] = lambda: False,
        on_change: Callable[[], None] = lambda: None,
        heartbeat: Callable[[dt.datetime | None], identity.Identity | None] = lambda _before: None,
    ) -> None:
        self._settings = settings
        self._me = me or identity.own()
        self._claim = claim.ClientIdClaim(settings.client_id, self._me)
        self._topics = claim.topics(settings.client_id)
        self._status_topic = clients.status_topic(settings.instance)
        self._in_use, self._on_change, self._heartbeat = in_use, on_change, heartbeat
        self._closing = threading.Event()
        self._recheck = threading.Event()
        self._changed = threading.Condition()
        self._open = False
        self._problem: errors.BrokerUnavailable | None = None
        self._failures = 0
        self._subscribed = self._refused = self._ended = False
        self._asked_at = 0.0
        self._refusals = 0
        self._warned_unheard = False
        self._warned_contested_at = float("-inf")
        self.beat = time.monotonic()

    # -- from other threads

    def may_connect(self, timeout_s: float) -> bool:
        """Whether to connect with the client id now; waits up to ``timeout_s`` until it may.

        Raises:
            BrokerUnavailable: the broker cannot be reached; raised once for each attempt.
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

    def recheck(self) -> None:
        """Asks again: connections with the client id do not last, so another client may use it."""
        self._recheck.set()

    @property
    def undecided(self) -> bool:
        """Whether it is still unknown which daemon has the client id and whether the broker can be reached."""
        with self._changed:
            return not self._open and self._problem is None and not self._failures

    def close(self) -> None:
        """Ends ``run`` within a second. Call it after the connection with the client id has ended."""
        self._closing.set()

    # -- the thread

    def run(self) -> None:
        """Asks and answers until ``close``.

        Raises:
            ClientIdTaken: another daemon has the client id; this one must take no more messages.
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
        client = clients.presence(self._settings)
        client.on_connect, client.on_subscribe = self._connected, self._suback
        client.on_message, client.on_disconnect = self._message, self._disconnected
        client.connect(mqtt.host, mqtt.port, keepalive=mqtt.keepalive_s)
        handshake_ends = time.monotonic() + _HANDSHAKE_S
        try:
            while not self._ended and not self._closing.is_set():
                asking = not self._subscribed or self._claim.state is claim.ClaimState.CLAIMING
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
        if self._refused:  # the main connection finds out whether that is permanent
            self._refusals += 1
            self._go_unheard(warn=self._refusals >= _REFUSALS)
        elif not self._subscribed and not self._closing.is_set():
            self._failed(f"{mqtt.host}:{mqtt.port}: no answer to CONNECT")

    def _turn(self, client: paho.Client, now: float) -> None:
        mine, before = self._claim, self._claim.state
        if self._recheck.is_set():
            self._recheck.clear()
            self._check_contested(now)
        mine.tick(now)
        while mine.outbox:
            client.publish(*mine.outbox.popleft())
        if mine.state is claim.ClaimState.TAKEN:
            self._require_none(mine.other)
        if mine.state is claim.ClaimState.HOLDING and before is not mine.state:
            _log.debug("client_id.held", waited_s=round(now - self._asked_at, 3))
            client.unsubscribe(self._status_topic)  # from now on it is our own
        if mine.state is claim.ClaimState.UNHEARD:
            self._go_unheard(warn=True)
        else:
            self._set_open(open_=mine.state is claim.ClaimState.HOLDING)

    def _go_unheard(self, *, warn: bool) -> None:
        """Continues without an answer, unless the database has a heartbeat of another daemon."""
        if warn:
            self._warn_unheard()
        if not self._open:
            self._require_none(self._heartbeat(None))
            self._set_open(open_=True)

    def _check_contested(self, now: float) -> None:
        if now - self._warned_contested_at > _WARN_AGAIN_S:
            self._warned_contested_at = now
            _log.warning(
                "client_id.contested",
                client_id=self._settings.client_id,
                hint="the broker closes connections right after it has accepted them: asking for another daemon with "
                "this client id; if there is none, find the MQTT client that uses it",
            )
        if self._claim.state is claim.ClaimState.UNHEARD:
            self._require_none(self._heartbeat(self._me.started_at))
        self._claim.recheck(now)

    def _require_none(self, other: identity.Identity | None) -> None:
        if other is None:
            return
        self._set_open(open_=False)
        raise errors.ClientIdTaken(
            f"another daemon has client id {self._settings.client_id!r}: {other}",
            hint="give each daemon its own instance (or mqtt.client_id), or end the other daemon; if brokers are "
            "bridged, exclude voltd/client/# from the bridge",
        )

    def _warn_unheard(self) -> None:
        if not self._warned_unheard:
            self._warned_unheard = True
            _log.warning(
                "client_id.unheard",
                topics=list(self._topics),
                hint="the broker does not let voltd ask whether another daemon has its client id: in the broker's "
                "access list, allow this user a second connection and reading and writing voltd/client/#",
            )

    def _set_open(self, *, open_: bool) -> None:
        with self._changed:
            changed = open_ is not self._open
            self._open = open_
            if open_:
                self._problem, self._failures = None, 0
            if changed:
                self._changed.notify_all()
        if changed:
            self._on_change()

    def _failed(self, text: str) -> None:
        hint = "check that the broker runs, and mqtt.host, mqtt.port and mqtt.transport; voltd check tests them"
        with self._changed:
            self._problem = errors.BrokerUnavailable(text, hint=hint)
            self._failures += 1
            self._open = self._failures >= _OPEN_AFTER
            self._changed.notify_all()
        self._on_change()

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
        elif message.retain:  # not from a daemon that runs now
            return
        elif message.topic == self._topics.ask:
            self._claim.receive_question(payload, now)
        elif message.topic == self._topics.answer:
            self._claim.receive_answer(payload, now)
