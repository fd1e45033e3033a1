"""An edge node of Sparkplug B with a real broker: aliases, rebirths on demand, daemons that start in the middle."""

import json
import threading
import time

import psycopg
import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from support import harness
from support import sparkplug as sp

ALIASES = {1: "Wh_received", 2: "Volts"}


class EdgeNode:
    """A node with one meter, whose data have aliases only; it is born again when it is asked to."""

    def __init__(self, broker, group):
        self._topic = f"spBv1.0/{group}"
        self.rebirths = self._seq = self._at_ms = 0
        self._lock = threading.Lock()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.on_message = self._command
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        self._client.subscribe(f"{self._topic}/NCMD/edge", 1)
        assert subscribed.wait(10)

    def data(self, wh):
        """A reading of now, without names, at QoS 0 as the standard has it."""
        with self._lock:
            self._publish("DDATA/edge/m", sp.metric(None, float(wh), alias=1), sp.metric(None, 230.0, alias=2))

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()

    def _command(self, _client, _userdata, message):
        assert message.payload == sp.REBIRTH
        with self._lock:
            self.rebirths += 1
            self._seq = 0
            self._publish("NBIRTH/edge", sp.metric("bdSeq", 3, sp.INT64))
            named = [sp.metric(name, None, sp.DOUBLE, alias=alias, null=True) for alias, name in ALIASES.items()]
            self._publish("DBIRTH/edge/m", *named)

    def _publish(self, topic, *metrics):
        self._at_ms = max(self._at_ms + 1, time.time_ns() // 1_000_000)  # a device measures once a moment
        payload = sp.payload(*metrics, seq=self._seq, at_ms=self._at_ms)
        self._seq = (self._seq + 1) % 256
        self._client.publish(f"{self._topic}/{topic}", payload)


@pytest.fixture
def node(broker, daemon):
    made = EdgeNode(broker, daemon.name)
    yield made
    made.close()


@pytest.fixture
def daemon(make_daemon):
    made = make_daemon()
    family = {"topics": [f"spBv1.0/{made.name}"], "id": "{node}/{device}"}
    made.env["VOLTD_DEVICES"] = json.dumps({"sparkplug": family})
    return made.start()


def _registers(dsn):
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            "SELECT meter_id, ac_register_kwh::float, voltage_v::float FROM volt.meter_reading ORDER BY recorded_at"
        ).fetchall()


def test_a_daemon_that_starts_in_the_middle_asks_for_a_rebirth(daemon, node, database):
    """Also after kill -9: what arrived before the births is read with them, and no message is a dead letter."""
    for wh in (1000, 2000):
        node.data(wh)
    stored = [("edge/m", 1.0, 230.0), ("edge/m", 2.0, 230.0)]
    harness.wait_for(lambda: _registers(database) == stored)
    assert node.rebirths == 1
    daemon.kill()
    daemon.start()
    node.data(3000)
    harness.wait_for(lambda: _registers(database) == [*stored, ("edge/m", 3.0, 230.0)])
    assert node.rebirths == 2
    node.data(4000)
    harness.wait_for(lambda: len(_registers(database)) == 4)
    assert node.rebirths == 2
    assert harness.count(database, "dead_letter") == 0
    with psycopg.connect(database) as connection:
        heard = connection.execute("SELECT meter_id FROM volt.meter_current").fetchall()
    assert heard == [("edge/m",)]
