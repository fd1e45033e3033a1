"""Who has a client id: what daemons that ask and answer come to, whatever the order and whatever anybody else says."""

import datetime as dt
import json
import random

import pytest

from voltd.host import identity
from voltd.pipeline.consume.client_id.claim import ClaimState, ClientIdClaim, topics

T0 = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
TOPICS = topics("shared")


def _me(number, *, host="here", boot="b", pid=0):
    return identity.Identity(f"run{number}", host, pid, T0 + dt.timedelta(seconds=number), boot=boot)


class Network:
    """Claims and a broker between them, under one clock; messages take their time, in order for each receiver."""

    def __init__(self, seed=0):
        self.now = 100.0
        self._draw = random.Random(seed)
        self._claims, self._since, self._queue = [], {}, []
        self.passes = True

    def add(self, number):
        """Another daemon asks."""
        claim = ClientIdClaim("shared", _me(number))
        claim.lose()
        self._claims.append(claim)
        claim.begin(self.now)
        return claim

    def cut(self, claim):
        """Its connection for questions is gone, and nobody else's."""
        self._claims.remove(claim)
        claim.lose()

    def back(self, claim, **how):
        self._claims.append(claim)
        claim.begin(self.now, **how)

    def run(self, seconds):
        ends = self.now + seconds
        while self.now < ends:
            self.now += 0.01
            for claim in self._claims:
                claim.tick(self.now)
                while claim.outbox:
                    self._send(*claim.outbox.popleft())
            due = [entry for entry in self._queue if entry[0] <= self.now]
            self._queue = [entry for entry in self._queue if entry[0] > self.now]
            for _, claim, topic, payload in due:
                (claim.receive_question if topic == TOPICS.ask else claim.receive_answer)(payload, self.now)

    def _send(self, topic, payload):
        for claim in self._claims if self.passes else []:
            at = max(self.now + self._draw.uniform(0.001, 0.05), self._since.get(id(claim), 0.0))
            self._since[id(claim)] = at
            self._queue.append((at, claim, topic, payload))


def test_alone():
    """Half a second of silence is enough."""
    net = Network()
    claim = net.add(1)
    net.run(0.45)
    assert claim.state is ClaimState.CLAIMING
    net.run(0.3)
    assert claim.state is ClaimState.HOLDING


@pytest.mark.parametrize("number", [0, 2])
def test_newcomer(number):
    """Whatever the clocks say: who is there stays, and the newcomer knows who that is."""
    net = Network()
    first = net.add(1)
    net.run(2)
    for _ in range(3):
        second = net.add(number)
        net.run(2)
        assert (first.state, second.state) == (ClaimState.HOLDING, ClaimState.TAKEN)
        assert second.other == _me(1)


@pytest.mark.parametrize("seed", range(40))
def test_several_at_once(seed):
    """However their questions cross, exactly one stays."""
    net = Network(seed)
    draw = random.Random(seed)
    claims = []
    for number in draw.sample(range(10), 3):
        claims.append(net.add(number))
        net.run(draw.choice([0.0, 0.02, 0.2, 0.49, 0.52]))
    net.run(5)
    assert sorted(claim.state.value for claim in claims) == ["holding", "taken", "taken"]


@pytest.mark.parametrize("seed", range(20))
def test_back_after_a_network_that_was_cut(seed):
    """Whoever came meanwhile holds it and stays; whoever was away ends."""
    net = Network(seed)
    first = net.add(1)
    net.run(2)
    net.cut(first)
    second = net.add(2)
    net.run(2)
    net.back(first)
    net.run(5)
    assert (first.state, second.state) == (ClaimState.TAKEN, ClaimState.HOLDING)


@pytest.mark.parametrize("seed", range(20))
def test_only_the_connection_for_questions_was_cut(seed):
    """Whoever still uses the client id goes on holding it; who came meanwhile ends."""
    net = Network(seed)
    first = net.add(2)
    net.run(2)
    net.cut(first)
    second = net.add(1)
    net.run(0.1 * seed)
    first._held_since, second._held_since = 1000.0, 1001.0 if second._held_since else 0.0
    net.back(first, in_use=True)
    assert first.state is ClaimState.HOLDING
    net.run(5)
    assert (first.state, second.state) == (ClaimState.HOLDING, ClaimState.TAKEN)


@pytest.mark.parametrize("seed", range(20))
def test_both_were_cut_off(seed):
    """After the broker's restart both ask: the one that started first stays."""
    net = Network(seed)
    first = net.add(1)
    net.run(2)
    net.cut(first)
    second = net.add(2)
    net.run(0.1 * (seed % 4))
    net.back(first)
    net.run(5)
    assert (first.state, second.state) == (ClaimState.HOLDING, ClaimState.TAKEN)


def test_both_hold_it():
    """Messages that were not passed on for a while: the one that has held it longest stays, once one of them doubts."""
    net = Network()
    first = net.add(2)
    net.run(2)
    lonely = Network()
    second = lonely.add(1)
    lonely.run(2)
    first._held_since, second._held_since = 1000.0, 1001.0
    net._claims.append(second)
    second.recheck(net.now)
    net.run(2)
    assert (first.state, second.state) == (ClaimState.HOLDING, ClaimState.TAKEN)


def test_broker_that_passes_nothing_on():
    """Known within seconds; and when it does later, the claim is made."""
    net = Network()
    net.passes = False
    claim = net.add(1)
    net.run(1.4)
    assert claim.state is ClaimState.CLAIMING
    net.run(0.3)
    assert claim.state is ClaimState.UNHEARD
    net.passes = True
    net.run(62)
    assert claim.state is ClaimState.HOLDING


def _status(me, **more):
    return json.dumps({"status": "online", "host": me.host, "pid": me.pid, "process": me.facts(), **more}).encode()


@pytest.mark.parametrize(
    ("status", "least_s", "most_s"),
    [
        (b'{"status": "offline"}', 0.0, 1.0),
        (b"nonsense", 0.0, 1.0),
        (b"[" * 4000, 0.0, 1.0),
        (b'"online"', 0.0, 1.0),
        (b'{"status": "online"}', 10.0, 15.0),
        (_status(_me(7, host="far", boot="other", pid=4)), 10.0, 15.0),
        (_status(_me(7, host="far", boot="other", pid=4), client_id="another"), 0.0, 1.0),
        (_status(_me(7, pid=1)), 1.0, 2.0),
        (_status(_me(7)._replace(run="run1")), 0.0, 1.0),
        (_status(_me(7), process={"run": 3, "boot": ["x"]}, host="here"), 1.0, 2.0),
    ],
)
def test_retained_status(status, least_s, most_s):
    """It makes a start wait for an answer, 2 s or 15 s at most, and decides nothing."""
    net = Network()
    claim = net.add(1)
    claim.note_status(status)
    began = net.now
    while claim.state is ClaimState.CLAIMING and net.now < began + 20:
        net.run(0.1)
    assert claim.state is ClaimState.HOLDING
    assert least_s <= net.now - began <= most_s


def test_invented_messages():
    """Without the question's nonce no answer counts; questions from nowhere cost a few seconds at most."""
    net = Network()
    claim = net.add(1)
    answer = {**_me(0).facts(), "state": "holding", "held_since": 0.0}
    for step in range(40):
        claim.receive_answer(json.dumps({**answer, "nonce": f"{step}"}).encode(), net.now)
        claim.receive_answer(json.dumps(answer).encode(), net.now)
        for malformed in (b"", b"{}", b"\xff", b'{"nonce": 1, "run": 2}', b'{"nonce": [], "run": {}}', b"[1]"):
            claim.receive_answer(malformed, net.now)
            claim.receive_question(malformed, net.now)
        claim.receive_question(json.dumps({"nonce": "n", "run": f"r{step}", "state": "holding"}).encode(), net.now)
        net.run(0.1)
    assert claim.state is ClaimState.HOLDING


def test_flood_of_questions():
    """A daemon that holds the client id asks back once a second at most."""
    net = Network()
    claim = net.add(1)
    net.run(2)
    asked = []
    for step in range(200):
        claim.receive_question(json.dumps({"nonce": "n", "run": f"r{step}", "state": "holding"}).encode(), net.now)
        asked += [topic for topic, _ in claim.outbox if topic == TOPICS.ask]
        net.run(0.01)
    assert len(asked) <= 3
    assert claim.state is ClaimState.HOLDING


@pytest.mark.parametrize("client_id", ["a/b", "+", "#", "x%2Fy", "ü", "$SYS", "a b"])
def test_topics_of_odd_client_ids(client_id):
    """One level each, no wildcards, and no two client ids share them."""
    ask = topics(client_id).ask
    assert ask.split("/")[:2] + ask.split("/")[3:] == ["voltd", "client", "ask"]
    assert not set(ask) & set("+#")
    assert ask != topics("a%2Fb" if client_id == "a/b" else "a/b").ask
