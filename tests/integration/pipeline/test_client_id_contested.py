"""Another client takes the session away: whatever reason the broker gives, there is reason to ask who it is."""

import secrets
import threading

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from support import harness
from voltd import config, errors, metrics
from voltd.pipeline.consume import consumer as consume
from voltd.pipeline.consume import window


@pytest.fixture
def settings(broker):
    name = f"contested{secrets.token_hex(4)}"
    mqtt = {"host": broker.host, "port": broker.port, "reconnect_max_s": 0.1, "topics": {"vehicle": [name]}}
    return config.Settings(instance=name, mqtt=mqtt)


@pytest.fixture
def evict(settings):
    """A function that connects with the client id once."""
    made = []

    def evict():
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=settings.client_id, protocol=paho.MQTTv5)
        made.append(client)
        client.connect(settings.mqtt.host, settings.mqtt.port, clean_start=False)
        client.loop_start()
        harness.wait_for(client.is_connected, what="the other client's connection")
        client.loop_stop()  # what is evicted stays away

    yield evict
    for client in made:
        client.disconnect()


def test_evicted_again_and_again(settings, evict):
    """Twice is once too often; where the broker names the reason, and nobody answers, six times are the end."""
    contested, ended = threading.Event(), []
    counters = metrics.Metrics()
    consumer = consume.Consumer(settings, window.Window(1 << 20), counters, contested=contested.set)

    def run():
        try:
            consumer.run()
        except errors.ClientIdTaken as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    for round_ in range(6):
        harness.wait_for(lambda: counters.broker_connects_total == round_ + 1, what="the connection")  # noqa: B023
        harness.wait_for(consumer.subscribed.is_set)
        assert contested.is_set() == (round_ > 1)
        evict()
        harness.wait_for(lambda: counters.broker_connects_total == round_ + 2 or ended, what="another")  # noqa: B023
    consumer.close()
    thread.join(10)
    assert not ended or "again and again" in str(ended[0])
