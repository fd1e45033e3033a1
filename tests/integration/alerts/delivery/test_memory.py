"""What was to be sent while the database was away: from memory or from the outbox, but once, and in order."""

import datetime as dt
import threading

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from support import harness
from support.rules import cycle_fakes
from voltd.alerts.senders import sender
from voltd.database import connections
from voltd.pipeline.write.excursions import Excursions
from voltd.rules import load
from voltd.rules.cycle import cycle, interfaces

_BAD, _GOOD = (
    interfaces.Report(100.0, spooling=True, healthy=False),
    interfaces.Report(0.0, spooling=False, healthy=True),
)


@pytest.fixture
def away(delivery):
    """A function that makes an outage."""
    made = []
    yield lambda delivered: made.append(Outage(delivery, delivered)) or made[-1]
    for one in made:
        one.cycle._close()


class Outage:
    """A check whose database was away, so that what it found went to the channels directly."""

    def __init__(self, delivery, delivered):
        self._report = _BAD
        self.cycle = cycle.EvaluationCycle(
            connections.connector(delivery.settings()),
            "t",
            cycle_fakes.ThisDaemon(lambda: self._report),
            delivered,
            Excursions(),
        )
        self.cycle.use(load.load(), delivered.every_channel)
        self.cycle.run_offline()

    def ends(self):
        """The database is back: what was found is written, and then that all is well."""
        self.cycle.run()
        self._report = _GOOD
        self.cycle.run()


def test_sent_while_the_database_was_away(delivery, hook, away):
    """It is not sent again, the table has the time at which it was sent, and its end is sent."""
    outage = away(delivery.deliverer(hook={"url": hook.url}))
    harness.wait_for(lambda: hook.posts, 45, "the message")
    sent = dt.datetime.now(dt.UTC)
    outage.ends()
    delivery.settled()
    first, last = delivery.rows("transition, status, result, sent_at")
    assert first[:3] == ("fired", "sent", "sent while the database was away")
    assert abs(first[3] - sent) < dt.timedelta(seconds=5)
    assert last[:2] == ("resolved", "sent")
    assert len(hook.lines) == len(hook.posts) == 2


def test_a_channel_that_is_down_as_long_as_the_database(delivery, hook, away):
    """The beginning is sent before the end, each once: from the outbox, as memory has given it up."""
    hook.status = 503
    outage = away(delivery.deliverer(hook={"url": hook.url}))
    harness.wait_for(lambda: hook.tried >= 3, 20, "a pause of some seconds")
    hook.status = 200
    outage.ends()
    delivery.settled()
    assert delivery.rows("transition, status, result") == [("fired", "sent", "ok"), ("resolved", "sent", "ok")]
    tried = hook.tried
    threading.Event().wait(3.0)  # what must not happen has no event: memory's next attempt was due by now
    assert hook.tried == tried
    assert len(hook.lines) == 2


def test_sent_from_memory_at_the_moment_the_database_is_back(delivery, hook, away):
    """An attempt whose result is not known yet: the outbox waits for it, and does not send again what arrived."""
    hook.passes.clear()
    outage = away(delivery.deliverer(hook={"url": hook.url}))
    harness.wait_for(lambda: hook.tried == 1, 45, "the attempt")
    outage.ends()
    hook.passes.set()
    delivery.settled()
    assert [len(lines) for lines in hook.texts] == [1, 1]
    assert delivery.rows("transition, status") == [("fired", "sent"), ("resolved", "sent")]


def test_a_daemon_that_ends_before_it_could_send(delivery, hook, away):
    """Nothing is recorded as sent that was not: the next daemon sends it."""
    hook.status = 503
    delivered = delivery.deliverer(hook={"url": hook.url})
    outage = away(delivered)
    harness.wait_for(lambda: hook.tried >= 2, 20, "attempts")
    outage.cycle.run()
    delivered.stop()
    assert delivery.rows("transition, status") == [("fired", "waiting")]
    hook.status = 200
    delivery.deliverer(hook={"url": hook.url})
    delivery.settled()
    assert len(hook.lines) == 1


def test_a_channel_that_is_changed_while_the_database_is_away(delivery, hook, away):
    """The new one sends what the old one could not, without waiting for the database."""
    delivered = delivery.deliverer(hook={"url": "json://127.0.0.1:9/"})
    outage = away(delivered)
    harness.wait_for(lambda: delivered.counters.deliveries_failed_total, 45, "the failure")
    delivered.reload(delivery.settings(hook={"url": hook.url}))
    harness.wait_for(lambda: hook.posts, 45, "the message")
    outage.ends()
    delivery.settled()
    assert len(hook.lines) == 2


def test_a_topic_that_memory_could_not_set(delivery, broker, away, monkeypatch):
    """It is clear when the alert is resolved: nothing sets it afterwards."""
    delivered = delivery.deliverer(mqtt=True)
    (channel,) = delivered.every_channel
    real, tried = channel.sender.send, threading.Semaphore(0)

    def fails(_what):
        tried.release()
        raise sender.ChannelError("MQTT broker: away")

    monkeypatch.setattr(channel.sender, "send", fails)
    outage = away(delivered)
    for _ in range(3):
        assert tried.acquire(timeout=45)
    monkeypatch.setattr(channel.sender, "send", real)
    outage.ends()
    delivery.settled()
    threading.Event().wait(3.0)  # memory's next attempt was due by now
    assert delivery.rows("transition, status", "mqtt") == [("fired", "sent"), ("resolved", "sent")]
    assert _retained(broker, "voltd/alerts/+/t/ingest_lag") == []


def _retained(broker, topics):
    """Retained messages on these topics, up to a marker that comes after them."""
    found, done = [], threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)

    def on_message(_client, _userdata, one):
        if one.topic == "voltd-test/marker":
            done.set()
        elif one.retain and one.payload:  # else it is sent just now, or clears the topic
            found.append(one.topic)

    def on_subscribe(*_args):
        client.publish("voltd-test/marker", "x", qos=1)

    client.on_message = on_message
    client.on_subscribe = on_subscribe
    client.connect(broker.host, broker.port)
    client.loop_start()
    client.subscribe([(topics, 1), ("voltd-test/marker", 1)])
    assert done.wait(45)
    client.disconnect()
    client.loop_stop()
    return found
