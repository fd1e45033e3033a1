"""What a stream of invented topics, ids and names may leave in memory: bounded in bytes, not in number alone."""

from __future__ import annotations

import json
import sys
import tracemalloc

import pytest

from support import families as support
from support import sparkplug as sp
from voltd.doctor import listen
from voltd.pipeline import room
from voltd.pipeline.consume import pseudonyms, stream
from voltd.pipeline.decode import decoder, topic
from voltd.pipeline.decode.devices import claims, families, ocpp

LONG = 60_000  # characters: MQTT's longest topic has 65,535
MOST = 1 << 20


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Caches of 1 MiB, so that it takes few messages to fill them."""
    monkeypatch.setattr(topic, "_MOST_CACHED_BYTES", MOST)
    monkeypatch.setattr(stream, "_CACHED_BYTES", MOST)
    monkeypatch.setattr(pseudonyms, "_CACHED_BYTES", MOST)
    monkeypatch.setattr(claims, "_MOST_BYTES", MOST)


def grown(use, count=100):
    """Bytes that stay after ``use`` was called so often, beyond what the first calls leave."""
    for number in range(3):
        use(number)
    tracemalloc.start()
    try:
        for number in range(3, count):
            use(number)
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_room():
    """Neither too many entries nor too many bytes, and no single large one."""
    cache: dict[int, int] = {}
    bounds = room.Room(10, 100_000)
    sizes = []
    for number in range(100):
        if bounds.take(cache, number * 10):
            cache[number] = 0
            sizes.append(len(cache))
    assert max(sizes) == 10
    assert max(cache) == 80, "larger ones would leave no room for others"


@pytest.mark.parametrize(
    "name",
    [
        "{0}{1}/events/rpc",
        "ovms/{0}{1}/EV1/metric/v/b/soc",
        "ocpp/cp/{0}{1}",
        "zigbee2mqtt/{0}{1}",
        "spBv1.0/{0}{1}/NBIRTH/n",
    ],
)
def test_long_topics(name):
    """They are decoded, and nothing of them stays."""
    given = support.settings(shelly={}, ovms={}, ocpp={}, zigbee2mqtt={}, sparkplug={})
    heard = families.of(given, ask=lambda _topic, _payload: None)
    reader = decoder.Decoder(given.mqtt.topics, given.limits, 90, given.timestamps, heard)
    payload = (
        b'{"method":"NotifyStatus","connectorId":1,"transactionId":7,"params":{"ts":1,"em:0":{"total_current":1}}}'
    )

    def use(number):
        sent = support.message(name.format("x" * LONG, number), sp.birth() if "spBv" in name else payload)
        assert len(reader.decode([sent]).messages) == 1

    assert grown(use) < 2 * MOST


def test_long_topics_of_the_network_thread():
    parser, renamed = stream.PublishStream(1), pseudonyms.Pseudonyms(b"k" * 32, "1")

    def use(number):
        name = b"x" * LONG + b"%d" % number
        packet = b"\x30" + sp.varint(len(name) + 3) + len(name).to_bytes(2) + name + b"\x00"
        for messages in parser.feed(packet, support.NOW):
            assert isinstance(messages, list)
            renamed.message(messages[0])

    assert grown(use, 60) < 2 * MOST


def test_connectors_of_invented_stations(monkeypatch):
    monkeypatch.setattr(ocpp, "_MOST", 10)
    reader = support.decoder_of(support.settings(ocpp={}))
    for number in range(100):
        payloads = [json.dumps({"connectorId": connector}) for connector in range(1, 9)]
        reader.decode([support.message(f"ocpp/cp/S{number % 3}", payload) for payload in payloads])
    (entry,) = (one for one in reader._topics.families._others if one.topic.text == "ocpp/cp/{id}")
    assert isinstance(entry.route.reader, ocpp.OcppReader)
    assert 0 < sum(len(one) for one in entry.route.reader._connectors.values()) <= 10


def test_names_of_aliases(monkeypatch):
    """Names and devices count, however few they are; births that repeat do not count twice."""
    nodes = sys.modules["voltd.pipeline.decode.devices.sparkplug.nodes"]
    monkeypatch.setattr(nodes, "_MOST_BYTES", 20_000)
    known = nodes.Nodes(lambda _topic, _payload: None)
    for number in range(100):
        metrics = [sp.metric("n" * 400 + str(alias), 1, sp.INT32, alias=alias) for alias in range(5)]
        for kind, device in (("NBIRTH", ""), ("DBIRTH", "/d" * 100), ("DBIRTH", "/d" * 100)):
            known.hear(kind, support.message(f"spBv1.0/g/{kind}/n{number}{device}", sp.birth(*metrics)))
        assert known._held == sum(one.held for one in known._nodes.values()) <= 20_000
        assert known._aliases == sum(one.size for one in known._nodes.values())


def test_what_the_doctor_keeps(monkeypatch):
    monkeypatch.setattr(listen, "_MOST_BYTES_IN_ALL", MOST)
    heard = listen.Heard(1.0)
    for number in range(1000):
        heard.add(support.message(f"t/{number % 100}", b"x" * 50_000))
    kept = sum(len(one.payload) for found in heard.topics.values() for one in found.samples)
    assert kept == heard.kept_bytes < 2 * MOST
    assert len(heard.topics) == 100
