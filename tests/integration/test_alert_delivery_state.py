"""Channels that show a state: the broker's retained topics, and an Alertmanager."""

import datetime as dt
import json
import re
import secrets

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

import alert_rig
import harness
from voltd.alerts import send_alertmanager, send_mqtt, worker
from voltd.database import migrate


@pytest.fixture
def rig(fresh_database, broker):
    migrate.migrate(fresh_database, migrate.MigrateOptions(), report=lambda _line: None)
    made = alert_rig.Rig(fresh_database, broker)
    yield made
    made.close()


@pytest.fixture
def manager():
    """An HTTP receiver that takes what an Alertmanager takes."""
    made = alert_rig.Webhook()
    yield made
    made.down()


@pytest.fixture
def fleet(broker):
    """A fleet of this test's own, and what its topics retain: {topic: JSON}; a clearing stays as None."""
    seen = {}
    fleet_id = f"f{secrets.token_hex(4)}"
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.on_message = lambda _client, _data, message: seen.update(
        {message.topic: json.loads(message.payload) if message.payload else None}
    )
    client.connect(broker.host, broker.port)
    client.loop_start()
    client.subscribe(f"voltd/alerts/{fleet_id}/#", qos=1)
    yield fleet_id, seen
    client.disconnect()
    client.loop_stop()


def _retained(broker, fleet_id, count):
    """What somebody who subscribes now sees."""
    seen = {}
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.on_message = lambda _client, _data, message: seen.update({message.topic: message.payload})
    client.connect(broker.host, broker.port)
    client.loop_start()
    client.subscribe([(f"voltd/alerts/{fleet_id}/#", 1)])
    harness.wait_for(lambda: len(seen) >= count, 5, "the retained messages")
    client.disconnect()
    client.loop_stop()
    return seen


def test_a_topic_while_it_fires(rig, broker, fleet):
    """Retained as JSON, also when it is quiet, silenced, or of a name that is no topic level; cleared at the end."""
    fleet_id, seen = fleet
    rig.deliverer(mqtt=True)
    rig.execute("INSERT INTO volt.alert_silence (ends_at, created_by) VALUES (now() + INTERVAL '1 hour', 'me')")
    alert_id = rig.fire("EV/7#", rule="soc_low", fleet_id=fleet_id, quiet=True)
    topic = f"voltd/alerts/{fleet_id}/EV_7_/soc_low"
    harness.wait_for(lambda: seen.get(topic), 5, "the message")
    shown = seen[topic]
    assert shown["alert_id"] == alert_id
    assert shown["device_id"] == "EV/7#"
    assert shown["severity"] == "warning"
    assert shown["peak_value"] == 12.5
    assert shown["acknowledged_at"] is None
    assert dt.datetime.fromisoformat(shown["opened_at"]).tzinfo is not None
    assert set(shown) == {
        "alert_id", "rule", "severity", "device_type", "device_id", "fleet_id", "opened_at", "last_seen_at",
        "peak_value", "acknowledged_at", "message",
    }  # fmt: skip
    assert topic in _retained(broker, fleet_id, 1)
    rig.escalate(alert_id)
    harness.wait_for(lambda: seen[topic]["severity"] == "critical", 5, "the escalation")
    rig.resolve(alert_id)
    harness.wait_for(lambda: seen[topic] is None, 5, "the clearing")
    rig.settled()
    other = rig.fire("EV-8", fleet_id=fleet_id)
    assert set(_retained(broker, fleet_id, 1)) == {f"voltd/alerts/{fleet_id}/EV-8/soc_low"}
    rig.resolve(other)
    rig.settled()


def test_a_broker_that_is_away(rig, broker, fleet):
    """Alerts wait for it, for more than a day if need be, and come in order."""
    fleet_id, seen = fleet
    proxy = harness.Proxy(broker.host, broker.port)
    proxy.shut_out()
    rig._broker = type("Address", (), {"host": proxy.address[0], "port": proxy.address[1]})
    delivered = rig.deliverer(mqtt=True)
    first = rig.fire("V1", fleet_id=fleet_id)
    rig.fire("V2", fleet_id=fleet_id)
    rig.execute("UPDATE volt.alert_delivery SET created_at = now() - INTERVAL '2 days'")
    harness.wait_for(lambda: delivered.counters.channels_failing == ["mqtt"], 15, "the failure")
    rig.resolve(first)
    proxy.admit()
    rig.settled(30)
    harness.wait_for(lambda: len(seen) == 2, 5, "both topics")
    assert seen[f"voltd/alerts/{fleet_id}/V1/soc_low"] is None
    assert seen[f"voltd/alerts/{fleet_id}/V2/soc_low"]["severity"] == "warning"
    assert set(rig.rows("status", channel="mqtt")) == {("sent",)}
    proxy.close()


def test_what_is_shown_follows_the_episode(rig, fleet, monkeypatch):
    """An acknowledgement is on the topic after the next round, without a transition."""
    fleet_id, seen = fleet
    monkeypatch.setattr(worker, "_SHOW_EVERY_S", 0.1)
    monkeypatch.setattr(worker, "_LOOK_S", 0.1)
    rig.deliverer(mqtt=True)
    rig.fire("V1", fleet_id=fleet_id)
    rig.settled()
    topic = f"voltd/alerts/{fleet_id}/V1/soc_low"
    rig.execute("UPDATE volt.alert SET acknowledged_at = now(), acknowledged_by = 'me'")
    harness.wait_for(lambda: (seen.get(topic) or {}).get("acknowledged_at"), 5, "the acknowledgement")


def test_topic_levels_of_a_vehicle_in_no_fleet():
    row = send_mqtt.message.Row("fired", "info", "m", "stale", "vehicle", "+", None, alert_rig.NOW)
    assert send_mqtt.topic(row) == "voltd/alerts/unassigned/_/stale"


def _check(alerts):
    """What Alertmanager demands of POST /api/v2/alerts.

    https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml, postableAlert: ``labels`` is required;
    labels and annotations are objects of strings; startsAt and endsAt are RFC 3339 date-times. Beyond that its own
    validation wants at least one label, names like identifiers, and no end before the start.
    """
    assert isinstance(alerts, list)
    for alert in alerts:
        assert set(alert) <= {"labels", "annotations", "startsAt", "endsAt", "generatorURL"}
        assert alert["labels"]["alertname"]
        for values in (alert["labels"], alert["annotations"]):
            assert all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) for name in values)
            assert all(isinstance(value, str) and value for value in values.values())
        starts, ends = (dt.datetime.fromisoformat(alert[name]) for name in ("startsAt", "endsAt"))
        assert starts.utcoffset() == ends.utcoffset() == dt.timedelta(0)
        assert starts <= ends
    keys = [tuple(sorted(alert["labels"].items())) for alert in alerts]
    assert len(set(keys)) == len(keys), "one entry a set of labels"


def _firing(alert):
    return dt.datetime.fromisoformat(alert["endsAt"]) > dt.datetime.now(dt.UTC) + dt.timedelta(minutes=2)


def test_an_alertmanager(rig, manager):
    """It gets what its API asks for: the end some minutes ahead while it is open, the real one when it is over."""
    rig.deliverer(am={"kind": "alertmanager", "url": f"http://127.0.0.1:{manager.port}/"})
    alert_id = rig.fire("V1")
    rig.settled()
    rig.escalate(alert_id)
    rig.settled()
    rig.resolve(alert_id)
    rig.settled()
    posts = [body for path, body in manager.posts if path == "/api/v2/alerts" and body]
    for post in posts:
        _check(post)
    labels = {
        "alertname": "soc_low", "severity": "warning", "device_type": "vehicle", "device_id": "V1",
        "fleet_id": "north", "instance": "t",
    }  # fmt: skip
    assert posts[0][0]["labels"] == labels
    assert posts[0][0]["annotations"] == {"summary": "vehicle V1: soc_low warning", "peak": "12.5"}
    assert _firing(posts[0][0])
    risen = next(post for post in posts if any(one["labels"]["severity"] == "critical" for one in post))
    by_severity = {one["labels"]["severity"]: one for one in risen}
    assert _firing(by_severity["critical"])
    assert not _firing(by_severity["warning"]), "the milder one is ended"
    last = posts[-1]
    assert [(one["labels"]["severity"], _firing(one)) for one in last] == [("critical", False)]


def test_what_is_open_is_sent_again_and_again(rig, manager, monkeypatch):
    """Every open episode that the channel wants, in parts that an Alertmanager takes."""
    monkeypatch.setattr(worker, "_SHOW_EVERY_S", 0.1)
    monkeypatch.setattr(worker, "_LOOK_S", 0.1)
    monkeypatch.setattr(send_alertmanager, "_MOST_AT_ONCE", 2)
    rig.deliverer(am={"kind": "alertmanager", "url": f"http://127.0.0.1:{manager.port}", "rules": ["soc_low"]})
    for number in range(3):
        rig.fire(f"V{number}")
    rig.fire("V9", rule="overspeed")
    rig.settled()
    before = len(manager.posts)
    harness.wait_for(lambda: len(manager.posts) >= before + 6, 10, "more posts")
    later = [body for _path, body in manager.posts[before:]]
    for post in later:
        _check(post)
        assert len(post) <= 2
    assert {one["labels"]["device_id"] for post in later for one in post} == {"V0", "V1", "V2"}


def test_what_an_alertmanager_refuses(rig, manager):
    """HTTP 400 is for good: it is dropped with the reason, and what comes next is sent; 503 is tried again."""
    delivered = rig.deliverer(am={"kind": "alertmanager", "url": f"http://127.0.0.1:{manager.port}"})
    manager.status = 400
    rig.fire("V1")
    rig.settled()
    ((status, result),) = rig.rows("status, result", channel="am")
    assert status == "dropped"
    assert "HTTP 400" in result
    manager.status = 503
    rig.fire("V2")
    harness.wait_for(lambda: (rig.rows("result", channel="am")[1][0] or "").endswith("503"), 5, "the failure")
    manager.status = 200
    rig.settled()
    assert next(one["labels"]["device_id"] for _path, body in manager.posts for one in body) == "V2"
    assert delivered.counters.channels_failing == []
