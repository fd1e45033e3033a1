"""The publisher, the simulator and the replay against a real broker: order, counts, a broker that goes away."""

import argparse
import collections
import datetime as dt
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from support import harness
from voltd import errors
from voltd.commands import simulate as command
from voltd.simulate.fleet.run import SimulateOptions, simulate
from voltd.simulate.publish import connection
from voltd.simulate.publish.publication import Publication
from voltd.simulate.publish.publisher import Publisher
from voltd.simulate.publish.target import MqttTarget

PATIENCE_S = 45


class _Subscriber:
    """Remembers (topic, payload) of everything under ``filters``, in order of arrival."""

    def __init__(self, broker, *filters):
        self.received = []
        self._more = threading.Condition()
        subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.on_message = self._on_message
        self._client.on_connect = lambda client, *_: client.subscribe([(name, 1) for name in filters])
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        assert subscribed.wait(PATIENCE_S)

    def _on_message(self, _client, _data, message):
        with self._more:
            self.received.append((message.topic, message.payload))
            self._more.notify_all()

    def wait_for(self, count):
        self.wait_until(lambda received: len(received) >= count)

    def wait_until(self, complete):
        with self._more:
            assert self._more.wait_for(lambda: complete(self.received), PATIENCE_S), len(self.received)

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def subscribe(broker):
    subscribers = []

    def subscribe_to(*filters):
        subscribers.append(_Subscriber(broker, *filters))
        return subscribers[-1]

    yield subscribe_to
    for subscriber in subscribers:
        subscriber.close()


@pytest.fixture
def prefix():
    """Ids that no other test uses on the same broker."""
    return f"t{secrets.token_hex(3)}-"


def _publication(prefix, device, number):
    return Publication(f"volt/vehicle/{prefix}{device}/telemetry", b'{"soc":%d}' % number, vehicle=1)


def test_order_and_count(broker, subscribe, prefix):
    """Every publication arrives, is counted once acknowledged, and a device's readings keep their order."""
    subscriber = subscribe("volt/vehicle/+/telemetry")
    with Publisher(broker.host, broker.port, connections=3, window=50) as publisher:
        for number in range(2000):
            assert publisher.publish(_publication(prefix, number % 20, number))
        assert publisher.drain(PATIENCE_S)
        tally = publisher.tally()
    assert (tally.vehicle, tally.messages, tally.in_flight, tally.resent) == (2000, 2000, 0, 0)
    subscriber.wait_for(2000)
    by_device = collections.defaultdict(list)
    for topic, payload in subscriber.received:
        if prefix in topic:
            by_device[topic].append(json.loads(payload)["soc"])
    assert len(by_device) == 20
    assert all(numbers == sorted(numbers) and len(numbers) == 100 for numbers in by_device.values())


def test_throughput(broker, prefix):
    """5,000 messages a second by a wide margin where nothing else runs; half of it suffices, and less on a busy one."""
    payload = b"x" * 190
    publications = [Publication(f"volt/vehicle/{prefix}{n % 500}/telemetry", payload, vehicle=1) for n in range(10_000)]
    with Publisher(broker.host, broker.port) as publisher:
        began = time.monotonic()
        for publication in publications:
            publisher.publish(publication)
        assert publisher.drain(PATIENCE_S)
        assert 10_000 / (time.monotonic() - began) > 2500 / harness.contention()


def test_broker_away_and_back(broker, subscribe, prefix):
    """While the broker is away publishing waits; afterwards everything accepted is acknowledged and counted once."""
    if not broker.controllable:
        pytest.skip("the broker belongs to somebody else")
    with Publisher(broker.host, broker.port) as publisher:
        accepted = sum(publisher.publish(_publication(prefix, number % 5, number)) for number in range(500))
        broker.kill()
        try:
            # In flight or not, some are taken until the connection is known to be down; then it gives up in time.
            while publisher.publish(_publication(prefix, 0, 500), timeout_s=0.3):
                accepted += 1
        finally:
            broker.start()
        subscriber = subscribe("volt/vehicle/+/telemetry")
        for number in range(600, 1200):
            accepted += publisher.publish(_publication(prefix, number % 5, number))
        assert publisher.drain(PATIENCE_S)
        tally = publisher.tally()
    assert (tally.vehicle, tally.in_flight) == (accepted, 0)
    subscriber.wait_until(
        lambda received: (
            set(range(600, 1200)) <= {json.loads(payload)["soc"] for topic, payload in received if prefix in topic}
        )
    )


def test_what_devices_are_asked_for(broker, prefix):
    """Topic and payload of what others publish to the devices, each once."""
    with Publisher(broker.host, broker.port) as other:
        publisher = Publisher(broker.host, broker.port)
        publisher.listen(f"{prefix}/NCMD/+")
        with publisher:
            found = []

            def heard():
                other.publish(Publication(f"{prefix}/NCMD/n", b"now"))  # again until the subscription is there
                other.publish(Publication(f"{prefix}/DCMD/n", b"no"))
                found.extend(publisher.commands())
                return found

            harness.wait_for(heard, PATIENCE_S)
            assert other.drain(PATIENCE_S)
    assert set(found) == {(f"{prefix}/NCMD/n", b"now")}


def test_no_broker():
    """No broker there is said at once, with a hint."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(errors.BrokerUnavailable, match=f":{port}") as refused, Publisher("127.0.0.1", port):
        pass
    assert refused.value.hint


def test_no_mqtt_there(monkeypatch):
    """Something that accepts connections but is no broker is recognised."""
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        publisher = Publisher("127.0.0.1", deaf.getsockname()[1], connections=1)
        with pytest.raises(errors.BrokerUnavailable, match="does not answer"):
            publisher.__enter__()


def test_unreadable_tls_files(broker):
    """A certificate that is not there is a configuration error."""
    with (
        pytest.raises(errors.ConfigurationError, match="TLS"),
        Publisher(broker.host, broker.port, tls=True, ca_file="/nonexistent/ca.pem"),
    ):
        pass


def test_simulated_fleet(broker, subscribe, prefix):
    """What the tally says is what arrives, reading by reading."""
    subscriber = subscribe("volt/vehicle/+/telemetry", "volt/meter/+/telemetry", "volt/ingest")
    tally = simulate(
        SimulateOptions(
            MqttTarget(broker.host, broker.port), vehicles=20, meters=20, speed=600.0, duration_s=2.0, bad_share=0.05,
            duplicate_share=0.05, offline_share=0.05, prefix=prefix,
        ),
        stop=threading.Event(),
    )  # fmt: skip
    assert tally.vehicle >= 380
    assert tally.bad > 10
    assert tally.duplicates > 10
    assert tally.in_flight == 0
    subscriber.wait_for(tally.messages)
    assert len(subscriber.received) == tally.messages


def _command(broker, *words):
    environ = {**os.environ, "VOLTD_MQTT__HOST": broker.host, "VOLTD_MQTT__PORT": str(broker.port)}
    return subprocess.Popen(
        [sys.executable, "-c", "import sys; from voltd import cli; sys.exit(cli.main())", *words],
        env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal(broker, subscribe, prefix, number):
    """Ctrl-C and SIGTERM end the command in order: exit 0 and the tally."""
    subscriber = subscribe("volt/vehicle/+/telemetry")
    process = _command(broker, "simulate", "--speed", "600", "--prefix", prefix)
    try:
        subscriber.wait_for(10)
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert out.startswith("published ")


def test_replay_command(broker, subscribe, prefix, tmp_path):
    """Replaying from the command line: exit 0, broken lines named, the shift printed, the rows there."""
    subscriber = subscribe("volt/vehicle/+/telemetry")
    recording = tmp_path / "recording.csv"
    recording.write_text(f"vehicleId,timestamp,soc\n{prefix}1,2021-03-29T11:00:00Z,50\nbroken\n")
    process = _command(broker, "replay", "--fast", "--now", str(recording))
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert "published 1 vehicle and 0 meter readings: 1 messages" in out
    assert f"{recording}:3: not published" in err
    assert "--shift " in err
    subscriber.wait_for(1)
    (payload,) = (json.loads(payload) for topic, payload in subscriber.received if prefix in topic)
    age = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(payload["timestamp"])
    assert dt.timedelta() <= age < dt.timedelta(seconds=PATIENCE_S)


def test_device_families(broker, subscribe, prefix):
    """The settings that take the fleet are printed before it publishes, and what their readings cannot say."""
    subscriber = subscribe("tele/+/+", "ovms/voltd/+/metric/#")
    words = ["--as", "tasmota", "--as", "ovms,voltd", "--prefix", prefix, "--speed", "60", "--for", "2"]
    process = _command(broker, "simulate", "--vehicles", "9", "--meters", "9", *words)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert out.startswith("published ")
    assert '[devices.tasmota]\ntopics = ["tele/{id}"]\nzone = "Etc/GMT-1"\n' in err
    assert '[devices.ovms]\ntopics = ["ovms/voltd/{id}"]\n' in err
    assert "ovms: without times of their own" in err
    subscriber.wait_until(
        lambda received: {"SENSOR", "LWT", "soc"} <= {one.split("/")[-1] for one, _ in received if prefix in one}
    )


def test_wrong_arguments(broker):
    """Arguments that make no sense are usage errors: exit 2, nothing on stdout."""
    for words in (
        ["simulate", "--speed", "0"],
        ["simulate", "--as", "tasmoto"],
        ["replay", "absent.csv"],
        ["simulate", "--start", "noon"],
    ):
        process = _command(broker, *words)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, out) == (2, ""), err


def test_defaults_of_the_commands():
    """Both parsers accept no options and no option is lost on the way."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    args = vars(parser.parse_args([]))
    assert (args["vehicles"], args["meters"], args["speed"], args["bad_share"]) == (200, 200, 1.0, 0.001)
