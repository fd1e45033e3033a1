"""Messages of Sparkplug B that are written like an earlier one: the quick way says what the thorough one says."""

import datetime as dt
import itertools
import math
import random

import pytest
from google.protobuf import message

from support import sparkplug as sp
from voltd import config, models
from voltd.pipeline.decode import decoder
from voltd.pipeline.decode.devices import families, gather
from voltd.pipeline.decode.devices.sparkplug import nodes, payload

NOW = dt.datetime(2026, 5, 1, 12, 0, tzinfo=dt.UTC)
MS = int(NOW.timestamp() * 1000)
NAMES = ("Wh_received", "Wh_delivered", "Watts_total", "Volts", "Amps", "Uptime", "Another")
ALIASES = dict(zip(NAMES, (1, 2, 3, 200, 70_000, 6, 7), strict=True))


class Host:
    """The decoder of a daemon's stream; without ``quick`` it takes the thorough way only."""

    def __init__(self, *, quick):
        settings = config.Settings(devices={"sparkplug": config.DeviceFamily()})
        self.asked = []
        others = families.of(settings, ask=lambda *command: self.asked.append(command))
        self._decoder = decoder.Decoder(config.Topics(), config.Limits(), 90, others=others)
        self._gathering = gather.Gather()
        listener = self._decoder._topics.route("spBv1.0/g/DDATA/n/d").family.listener
        assert isinstance(listener, nodes._Listener)
        self.nodes = listener._nodes
        self.hits = 0
        self._usual = self.nodes.quick if quick else lambda _message: None
        self.nodes.quick = self._quick

    def _quick(self, message):
        found = self._usual(message)
        self.hits += found is not None
        return found

    def hear(self, topic, content, **more):
        sent = models.Message(f"spBv1.0/g/{topic}", content, 1, NOW, size=len(content), **more)
        return self._decoder.decode([sent], gathering=self._gathering)

    @property
    def knows_names(self):
        return all(node.born for node in self.nodes._nodes.values())

    def born(self):
        self.hear("NBIRTH/n", sp.birth(at_ms=MS))
        metrics = [sp.metric(name, 1.5, alias=alias) for name, alias in ALIASES.items()]
        return self.hear("DBIRTH/n/d", sp.payload(*metrics, seq=1, at_ms=MS))


@pytest.fixture
def host():
    made = Host(quick=True)
    made.born()
    return made


def _said(batch):
    """What a batch says; payloads by what is in them, as the order of fields may differ."""
    letters = [(one.reason, one.detail, one.field, one.partial, _content(one.payload)) for one in batch.dead_letters]
    messages = [(one.topic, one.retained, one.size, _content(one.payload)) for one in batch.messages]
    return batch.meters, batch.vehicles, letters, messages, batch.alive, batch.alive_sources, batch.retained


def _content(content):
    try:
        return payload.Payload.FromString(content).SerializeToString(deterministic=True)
    except message.DecodeError:
        return content


def _data(watts, seq, at_ms=MS, **more):
    return sp.payload(sp.metric(None, watts, alias=3, at_ms=at_ms, **more), seq=seq, at_ms=at_ms)


def test_other_numbers_at_another_time(host):
    """The second message of a device is read by the layout of the first: value, time, number, and the name put in."""
    host.hear("DDATA/n/d", _data(1000.0, 2))
    batch = host.hear("DDATA/n/d", _data(2500.0, 3, MS + 7001))
    assert host.hits == 1
    (reading,) = batch.meters
    assert (reading.meter_id, reading.power_kw) == ("g/n/d", 2.5)
    assert reading.recorded_at == NOW + dt.timedelta(milliseconds=7001)
    assert batch.messages[0].payload == sp.payload(
        sp.metric("Watts_total", 2500.0, alias=3, at_ms=MS + 7001), seq=3, at_ms=MS + 7001
    )


def test_numbers_of_two_bytes(host):
    """127 to 128, and 255 to 0: none is a gap; a gap is one."""
    for seq in (*range(2, 256), 0, 1, 2):
        assert len(host.hear("DDATA/n/d", _data(1000.0, seq)).meters) == 1
    assert host.hits > 250
    assert host.asked == []
    assert host.hear("DDATA/n/d", _data(1000.0, 4)).messages == []
    assert len(host.asked) == 1


def test_a_new_birth_ends_layouts(host):
    """Its aliases may mean something else."""
    for seq in (2, 3):
        host.hear("DDATA/n/d", _data(1000.0, seq))
    host.hear("NBIRTH/n", sp.birth(at_ms=MS))
    host.hear("DBIRTH/n/d", sp.payload(sp.metric("Volts", 1.5, alias=3), seq=1, at_ms=MS))
    (reading,) = host.hear("DDATA/n/d", _data(230.0, 2)).meters
    assert (reading.power_kw, reading.voltage_v) == (None, 230.0)
    host.hear("NDEATH/n", sp.payload(sp.metric("bdSeq", 1, sp.INT64)))
    assert host.hear("DDATA/n/d", _data(230.0, 3)).messages == []


@pytest.mark.parametrize("datatype", [sp.INT8, sp.INT16, sp.INT32, sp.INT64, sp.UINT32, sp.UINT64])
def test_integers(host, datatype):
    """Signed ones by their data type; others of their length."""
    thorough = Host(quick=False)
    thorough.born()
    for seq, watts in enumerate((100, 101, 127, 0, -100, -101, 70, 300, 301), 2):
        content = sp.payload(sp.metric("Watts_total", watts, datatype), seq=seq, at_ms=MS + seq)
        assert _said(host.hear("DDATA/n/d", content)) == _said(thorough.hear("DDATA/n/d", content))
    assert host.hits >= 4


def test_messages_of_one_length(host):
    """Another layout takes the place of one that no longer fits."""
    both = [sp.payload(sp.metric(None, 5.0, alias=alias), at_ms=MS) for alias in (1, 3)]
    for _ in range(3):
        host.hear("DDATA/n/d", both[0])
    assert host.hits == 2
    for _ in range(40):
        assert [one.power_kw for one in host.hear("DDATA/n/d", both[1]).meters] == [0.005]
    assert 3 < host.hits < 12


def test_layouts_do_not_fill_the_memory(host, monkeypatch):
    """Neither lengths nor nodes; and they go with their node."""
    for length in range(100):
        host.hear("DDATA/n/d", sp.payload(sp.metric("x" * length, 1.0), at_ms=MS))
    (node,) = host.nodes._nodes.values()
    assert len(node.layouts["spBv1.0/g/DDATA/n/d"]) == 16
    assert host.nodes._layout_bytes == node.layout_bytes > 16_000
    monkeypatch.setattr("voltd.pipeline.decode.devices.sparkplug.nodes._MOST_LAYOUT_BYTES", 40_000)
    for number in range(50):
        host.hear(f"NBIRTH/n{number}", sp.birth(at_ms=MS))
        host.hear(f"NDATA/n{number}", sp.payload(sp.metric("Volts", 1.0), seq=1, at_ms=MS))
    assert host.nodes._layout_bytes < 43_000
    for number in range(50):
        host.hear(f"NDEATH/n{number}", sp.payload(sp.metric("bdSeq", 1, sp.INT64)))
    host.hear("NBIRTH/n", sp.birth(at_ms=MS))
    assert host.nodes._layout_bytes == 0


def _metric(rng, name):
    """A metric as a device may write it; mostly a number."""
    alias = ALIASES[name]
    value = rng.choice([230.5, 0.0, -0.0, -5.0, 1e12, float("nan"), float("inf"), 7, 100, 127, 128, 300, -1, -300])
    datatype = rng.choice([sp.DOUBLE, sp.DOUBLE, sp.FLOAT, sp.INT16, sp.INT32, sp.INT64, sp.UINT32, sp.UINT64])
    if datatype not in (sp.DOUBLE, sp.FLOAT):
        value = 0 if not math.isfinite(value) else int(value)
    how = {"alias": alias} if rng.random() < 0.7 else {}
    if rng.random() < 0.05:
        value, datatype = rng.choice([("text", sp.STRING), (None, datatype)])
    if rng.random() < 0.05:
        how |= rng.choice([{"null": True}, {"historical": True}])
    at_ms = rng.choice([None, MS, MS + 1, MS + 1, 1])
    named = None if how.get("alias") and rng.random() < 0.8 else name
    return lambda moved: (named, value, datatype, {**how, "at_ms": at_ms and at_ms + moved})


def _other(rng, value):
    """A number in the place of another one."""
    if not isinstance(value, int | float) or rng.random() < 0.3:
        return value
    return value + rng.choice([0, 1, 0.5]) if isinstance(value, float) else value + rng.choice([0, 1, 2])


def test_whatever_devices_write_both_ways_say_the_same():
    """Random shapes, each some times with other numbers, some with bytes gone wrong."""
    rng = random.Random(11)
    pair = Host(quick=True), Host(quick=False)
    numbers = itertools.count(2)
    for host in pair:
        host.born()
    for _ in range(300):
        shape = [_metric(rng, name) for name in rng.sample(NAMES, rng.randint(1, 5))]
        sent = rng.choice([None, 0, 0, 5])
        numbered = rng.random() < 0.8
        for moved in range(rng.randint(2, 8)):
            seq = next(numbers) % 256
            if rng.random() < 0.01:
                next(numbers)
            metrics = []
            for one in shape:
                name, value, datatype, how = one(moved)
                metrics.append(sp.metric(name, _other(rng, value), datatype, **how))
            at_ms = None if sent is None else MS + moved + sent
            content = sp.payload(*metrics, seq=seq if numbered else None, at_ms=at_ms)
            if rng.random() < 0.1:
                flipped = bytearray(content)
                flipped[rng.randrange(len(flipped))] = rng.randrange(256)
                content = bytes(flipped)
            more = {"redelivered": True} if rng.random() < 0.02 else {"retained": True} if rng.random() < 0.02 else {}
            ours, theirs = (_said(host.hear("DDATA/n/d", content, **more)) for host in pair)
            # As texts, in which NaN is itself; 0 may lose its sign.
            assert repr(ours).replace("-0.0,", "0.0,") == repr(theirs).replace("-0.0,", "0.0,"), content
            assert pair[0].asked == pair[1].asked
            if not pair[0].knows_names:
                for host in pair:
                    host.born()
                numbers = itertools.count(2)
    assert pair[0].hits > 100


def test_the_thorough_way_is_taken_where_a_value_needs_more_than_its_bounds(host):
    """Beyond its bounds it is a bad field, and the message has been given its names all the same."""
    host.hear("DDATA/n/d", sp.payload(sp.metric(None, 5.0, alias=200), seq=2, at_ms=MS))
    batch = host.hear("DDATA/n/d", sp.payload(sp.metric(None, 5e9, alias=200), seq=3, at_ms=MS))
    (letter,) = batch.dead_letters
    assert letter.field == "voltage"
    assert b"Volts" in letter.payload
    assert host.hits == 1
