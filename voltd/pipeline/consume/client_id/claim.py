"""Which daemon may use a client id: the questions and answers between daemons, and the decision.

A broker disconnects a client when a second one connects with the same client id, so two daemons would evict each other
for ever. A daemon therefore asks on a topic of the client id before it connects with it. Only an answer with the nonce
of its own question decides anything: retained, outdated or forged messages can delay a daemon, but not stop it.
Pure: ``presence`` has the connection and the clock.

Every daemon applies the same rule. A daemon that holds the client id keeps it, as long as its connection for questions
or its connection with the client id lasts. If several hold it, after a network partition, the one that has held it
longest keeps it. If several ask for it, the one that started first gets it.
"""

from __future__ import annotations

import collections
import enum
import json
import secrets
import time
import urllib.parse
from typing import Any, NamedTuple

from voltd.host import identity

QUIET_S = 0.5  # the client id is free when no other daemon answers or asks for so long
_ROUND_TRIPS = 4.0  # a slow broker delays answers as much as it delays our own question
_AGAIN_S, _SOON_S = 0.4, 0.05
# How long to wait for a daemon whose status is online. A running one answers at once, unless it is reconnecting.
_PATIENCE_S = {identity.Liveness.DEAD: QUIET_S, identity.Liveness.HERE: 1.5, identity.Liveness.ELSEWHERE: 10.0}
_ECHO_S = 1.5  # a broker that permits these topics has returned our own question by then
_POSTPONED_S = 2.0  # questions of others delay the decision by at most this
_RETRY_S = 60.0
_RECHECK_S = 1.0  # least time between two rechecks
_NONCES = 4
_KNOWN_RUNS = 32
_LARGEST_BYTES, _LONGEST_NONCE = 65_536, 64


class ClaimState(enum.Enum):
    """State of a claim.

    CLAIMING: the question is open. HOLDING: this daemon has the client id. UNHEARD: the broker does not pass questions
    on, so the owner is unknown. TAKEN: another daemon has it; this state is final.
    """

    CLAIMING = "claiming"
    HOLDING = "holding"
    UNHEARD = "unheard"
    TAKEN = "taken"


class ClaimTopics(NamedTuple):
    """Where daemons of one client id ask and answer."""

    ask: str
    answer: str


def topics(client_id: str) -> ClaimTopics:
    """The topics of a client id; characters with a meaning in topics are percent-encoded."""
    base = f"voltd/client/{urllib.parse.quote(client_id, safe='')}"
    return ClaimTopics(f"{base}/ask", f"{base}/answer")


class ClientIdClaim:
    """A claim on one client id.

    Attributes:
        state: its state.
        other: the daemon that has the client id, once the state is TAKEN.
        outbox: (topic, payload) to be published at QoS 0, in this order.
    """

    def __init__(self, client_id: str, me: identity.Identity) -> None:
        self._topics = topics(client_id)
        self._client_id, self._me = client_id, me
        self.state = ClaimState.CLAIMING
        self.other: identity.Identity | None = None
        self.outbox: collections.deque[tuple[str, bytes]] = collections.deque(maxlen=1000)
        self._held_since = 0.0
        self._nonces: collections.deque[str] = collections.deque(maxlen=_NONCES)
        self._known: collections.deque[str] = collections.deque(maxlen=_KNOWN_RUNS)
        self._began_at = float("inf")
        self._asked_at = self._other_asked_at = self._rechecked_at = float("-inf")
        self._echoed = False
        self._patience_s = QUIET_S

    def begin(self, now: float, *, in_use: bool = False) -> None:
        """Asks; the connection is open and the topics are subscribed to.

        Args:
            now: seconds of the monotonic clock, here and below.
            in_use: this daemon is connected with the client id. The broker allows one such connection, so no other
                daemon has it.
        """
        self._began_at = now
        if in_use and self._held_since:
            self.state = ClaimState.HOLDING
        self._ask(now)

    def lose(self) -> None:
        """Gives the client id up; the connection for questions has ended. ``begin`` may restore it."""
        if self.state is not ClaimState.TAKEN:
            self.state = ClaimState.CLAIMING
        self._echoed = False
        self._patience_s, self._other_asked_at = QUIET_S, float("-inf")
        self._known.clear()
        self._nonces.clear()
        self.outbox.clear()

    def note_status(self, payload: bytes) -> None:
        """Reads the retained status of our instance; if another daemon is online there, it gets time to answer."""
        found = parse(payload)
        if found.get("status") == "online" and found.get("client_id", self._client_id) == self._client_id:
            process = found.get("process")
            other = identity.parse({**found, **(process if isinstance(process, dict) else {})})
            if other is None:  # written by an earlier version, or by no daemon at all
                fate = identity.Liveness.HERE if found.get("host") == self._me.host else identity.Liveness.ELSEWHERE
            elif other.run == self._me.run:
                return
            else:
                fate = identity.liveness(other, self._me)
            self._patience_s = max(self._patience_s, _PATIENCE_S[fate])

    def receive_question(self, payload: bytes, now: float) -> None:
        """Answers a question, our own included; another daemon's question makes us ask again, too."""
        question = parse(payload)
        nonce, run = question.get("nonce"), question.get("run")
        valid = isinstance(nonce, str) and isinstance(run, str) and len(nonce) <= _LONGEST_NONCE
        if self.state is ClaimState.TAKEN or not valid:
            return
        self.outbox.append((self._topics.answer, json.dumps({"nonce": nonce, **self._state()}).encode()))
        if run == self._me.run:
            return
        if self.state is ClaimState.CLAIMING:
            if run not in self._known:
                self._other_asked_at = now
                self._asked_at = min(self._asked_at, now - _AGAIN_S + _SOON_S)
        elif question.get("state") == ClaimState.HOLDING.value:  # both hold it: one must yield
            self.recheck(now)

    def receive_answer(self, payload: bytes, now: float) -> None:
        """Evaluates an answer; only answers to our own questions count."""
        answer = parse(payload)
        if answer.get("nonce") not in self._nonces:
            return
        other = identity.parse(answer)
        if other is None:
            return
        if other.run == self._me.run:
            if self.state is ClaimState.UNHEARD:  # the broker passes them on now
                self.state = ClaimState.CLAIMING
                self._began_at = now
            elif not self._echoed:
                slow_s = min(_ROUND_TRIPS * (now - self._began_at), _PATIENCE_S[identity.Liveness.HERE])
                self._patience_s = max(self._patience_s, slow_s)
            self._echoed = True
            return
        self._known.append(other.run)
        if self._yields_to(other, answer):
            self.state, self.other = ClaimState.TAKEN, other

    def tick(self, now: float) -> None:
        """Asks again, or takes the client id when no other daemon has answered. Call it often while CLAIMING."""
        if self.state is ClaimState.CLAIMING:
            ends = self._began_at + self._patience_s
            ends = max(ends, min(self._other_asked_at + QUIET_S, ends + _POSTPONED_S))
            if self._echoed and now >= ends:
                self.state, self._held_since = ClaimState.HOLDING, time.time()
                self._ask(now)  # another daemon that holds it too learns of us
            elif not self._echoed and now - self._began_at > _ECHO_S:
                self.state = ClaimState.UNHEARD
            elif now - self._asked_at > _AGAIN_S:
                self._repeat(now)
        elif self.state is ClaimState.UNHEARD and now - self._asked_at > _RETRY_S:
            self._ask(now)

    def refuse(self) -> None:
        """The broker refused the subscription to these topics."""
        if self.state is not ClaimState.TAKEN:
            self.state = ClaimState.UNHEARD

    def recheck(self, now: float) -> None:
        """Asks again, because another client may use this client id; at most once a second."""
        if now - self._rechecked_at >= _RECHECK_S and self.state is not ClaimState.TAKEN:
            self._rechecked_at = now
            self._ask(now)

    def _yields_to(self, other: identity.Identity, answer: dict[str, Any]) -> bool:
        theirs, ours = answer.get("state"), self.state is ClaimState.HOLDING
        if (theirs == ClaimState.HOLDING.value) != ours:
            return not ours
        if ours:
            since = answer.get("held_since")
            return isinstance(since, int | float) and (since, other.run) < (self._held_since, self._me.run)
        return (other.started_at, other.run) < (self._me.started_at, self._me.run)

    def _state(self) -> dict[str, Any]:
        return {**self._me.facts(), "state": self.state.value, "held_since": self._held_since}

    def _ask(self, now: float) -> None:
        self._nonces.append(secrets.token_hex(16))
        self._repeat(now)

    def _repeat(self, now: float) -> None:
        self._asked_at = now
        question = {"nonce": self._nonces[-1], **self._state()}
        self.outbox.append((self._topics.ask, json.dumps(question).encode()))


def parse(payload: bytes) -> dict[str, Any]:
    """Parses a message that anybody may have published; an empty dict where it is no JSON object."""
    try:
        found = json.loads(payload) if len(payload) <= _LARGEST_BYTES else None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
