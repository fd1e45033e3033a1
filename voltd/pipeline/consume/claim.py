"""Who may use a client id: the questions and answers between daemons, and what follows from them.

The session at the broker hangs on the client id, and of two clients with one id the broker throws out the one that is
there: two daemons would evict each other for ever. So a daemon asks on a topic of the client id before it connects
under it. Only an answer to its own question, with the question's nonce, decides anything: retained, stale and invented
messages can make it ask or wait a little, and no more. Pure: ``consume.presence`` has the connection and the clock.

The rule, which all that ask come to alike: who holds the client id keeps it. A daemon holds it from the end of its
question for as long as its connection for these questions lasts, or the one under the client id. Of several that hold
it, which takes a network that was cut for a while, the one that has done so longest stays; of several that ask, the one
that started first.
"""

from __future__ import annotations

import collections
import enum
import json
import secrets
import time
import urllib.parse
from typing import Any, NamedTuple

from voltd.daemon import identity

QUIET_S = 0.5  # so long nobody else has spoken
_ROUND_TRIPS = 4.0  # where our own question takes long to come back, others' answers do, too
_AGAIN_S, _SOON_S = 0.4, 0.05
# The status says that another one is online. One that is alive answers at once, unless it is just reconnecting.
_PATIENCE_S = {identity.Liveness.DEAD: QUIET_S, identity.Liveness.HERE: 1.5, identity.Liveness.ELSEWHERE: 10.0}
_ECHO_S = 1.5  # our own question has come back by then, if the broker lets these topics pass
_POSTPONED_S = 2.0  # by others who ask, at most
_RETRY_S = 60.0
_DOUBT_S = 1.0  # not more often
_NONCES = 4
_STRANGERS = 32
_LARGEST_BYTES, _LONGEST_NONCE = 65_536, 64


class State(enum.Enum):
    """Where a claim is.

    CLAIMING: asks, and does not know yet. HOLDING: nobody else has it. UNHEARD: the broker does not let the questions
    pass, so nothing is known. TAKEN: another daemon has it; the end.
    """

    CLAIMING = "claiming"
    HOLDING = "holding"
    UNHEARD = "unheard"
    TAKEN = "taken"


class Topics(NamedTuple):
    """Where daemons of one client id ask and answer."""

    ask: str
    answer: str


def topics(client_id: str) -> Topics:
    """The topics of a client id, whose characters may mean something in a topic: those are percent-encoded."""
    base = f"voltd/client/{urllib.parse.quote(client_id, safe='')}"
    return Topics(f"{base}/ask", f"{base}/answer")


class Claim:
    """A claim on one client id.

    Attributes:
        state: where it is.
        other: the daemon that has the client id, once the state is TAKEN.
        outbox: (topic, payload) to be published at QoS 0, in this order.
    """

    def __init__(self, client_id: str, me: identity.Identity) -> None:
        self._topics = topics(client_id)
        self._client_id, self._me = client_id, me
        self.state = State.CLAIMING
        self.other: identity.Identity | None = None
        self.outbox: collections.deque[tuple[str, bytes]] = collections.deque(maxlen=1000)
        self._held_since = 0.0
        self._nonces: collections.deque[str] = collections.deque(maxlen=_NONCES)
        self._known: collections.deque[str] = collections.deque(maxlen=_STRANGERS)
        self._began_at = float("inf")
        self._asked_at = self._spoken_at = self._doubted_at = float("-inf")
        self._echoed = False
        self._patience_s = QUIET_S

    def begin(self, now: float, *, in_use: bool = False) -> None:
        """The connection stands and the topics are subscribed to: asks.

        Args:
            now: seconds of the monotonic clock, here and below.
            in_use: a connection under the client id still stands. The broker allows one, so nobody else has it.
        """
        self._began_at = now
        if in_use and self._held_since:
            self.state = State.HOLDING
        self._ask(now)

    def lose(self) -> None:
        """The connection has gone, and with it what was held, unless ``begin`` knows better."""
        if self.state is not State.TAKEN:
            self.state = State.CLAIMING
        self._echoed = False
        self._patience_s, self._spoken_at = QUIET_S, float("-inf")
        self._known.clear()
        self._nonces.clear()
        self.outbox.clear()

    def note_status(self, payload: bytes) -> None:
        """The retained status of our instance: another daemon that it calls online gets time to answer."""
        found = parse(payload)
        if found.get("status") == "online" and found.get("client_id", self._client_id) == self._client_id:
            process = found.get("process")
            other = identity.parse({**found, **(process if isinstance(process, dict) else {})})
            if other is None:  # an earlier version's, or no daemon's word at all
                fate = identity.Liveness.HERE if found.get("host") == self._me.host else identity.Liveness.ELSEWHERE
            elif other.run == self._me.run:
                return
            else:
                fate = identity.liveness(other, self._me)
            self._patience_s = max(self._patience_s, _PATIENCE_S[fate])

    def hear_ask(self, payload: bytes, now: float) -> None:
        """A question, our own among them: it is answered; another daemon's makes us ask it, too."""
        question = parse(payload)
        nonce, run = question.get("nonce"), question.get("run")
        understood = isinstance(nonce, str) and isinstance(run, str) and len(nonce) <= _LONGEST_NONCE
        if self.state is State.TAKEN or not understood:
            return
        self.outbox.append((self._topics.answer, json.dumps({"nonce": nonce, **self._word()}).encode()))
        if run == self._me.run:
            return
        if self.state is State.CLAIMING:
            if run not in self._known:
                self._spoken_at = now
                self._asked_at = min(self._asked_at, now - _AGAIN_S + _SOON_S)
        elif question.get("state") == State.HOLDING.value:  # one of the two has to go
            self.doubt(now)

    def hear_answer(self, payload: bytes, now: float) -> None:
        """An answer; only one to our own question counts."""
        answer = parse(payload)
        if answer.get("nonce") not in self._nonces:
            return
        other = identity.parse(answer)
        if other is None:
            return
        if other.run == self._me.run:
            if self.state is State.UNHEARD:  # the broker lets them pass now
                self.state = State.CLAIMING
                self._began_at = now
            elif not self._echoed:
                slow_s = min(_ROUND_TRIPS * (now - self._began_at), _PATIENCE_S[identity.Liveness.HERE])
                self._patience_s = max(self._patience_s, slow_s)
            self._echoed = True
            return
        self._known.append(other.run)
        if self._gives_way_to(other, answer):
            self.state, self.other = State.TAKEN, other

    def tick(self, now: float) -> None:
        """Time has passed: asks again, or takes silence for an answer. To be called often while CLAIMING."""
        if self.state is State.CLAIMING:
            ends = self._began_at + self._patience_s
            ends = max(ends, min(self._spoken_at + QUIET_S, ends + _POSTPONED_S))
            if self._echoed and now >= ends:
                self.state, self._held_since = State.HOLDING, time.time()
                self._ask(now)  # who thinks the same of itself hears it now
            elif not self._echoed and now - self._began_at > _ECHO_S:
                self.state = State.UNHEARD
            elif now - self._asked_at > _AGAIN_S:
                self._repeat(now)
        elif self.state is State.UNHEARD and now - self._asked_at > _RETRY_S:
            self._ask(now)

    def refuse(self) -> None:
        """The broker refuses the topics."""
        if self.state is not State.TAKEN:
            self.state = State.UNHEARD

    def doubt(self, now: float) -> None:
        """Something speaks for another client with this client id: asks again, unless it has just been done."""
        if now - self._doubted_at >= _DOUBT_S and self.state is not State.TAKEN:
            self._doubted_at = now
            self._ask(now)

    def _gives_way_to(self, other: identity.Identity, answer: dict[str, Any]) -> bool:
        theirs, ours = answer.get("state"), self.state is State.HOLDING
        if (theirs == State.HOLDING.value) != ours:
            return not ours
        if ours:
            since = answer.get("held_since")
            return isinstance(since, int | float) and (since, other.run) < (self._held_since, self._me.run)
        return (other.started_at, other.run) < (self._me.started_at, self._me.run)

    def _word(self) -> dict[str, Any]:
        return {**self._me.facts(), "state": self.state.value, "held_since": self._held_since}

    def _ask(self, now: float) -> None:
        self._nonces.append(secrets.token_hex(16))
        self._repeat(now)

    def _repeat(self, now: float) -> None:
        self._asked_at = now
        word = {"nonce": self._nonces[-1], **self._word()}
        self.outbox.append((self._topics.ask, json.dumps(word).encode()))


def parse(payload: bytes) -> dict[str, Any]:
    """A message of these topics, or a status, which anybody may have written: a JSON object, empty where it is none."""
    try:
        found = json.loads(payload) if len(payload) <= _LARGEST_BYTES else None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
