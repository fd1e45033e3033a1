"""Channels that show a state: the broker's retained topics, and an Alertmanager."""

import datetime as dt
import json
import re
import secrets
import time

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from support import alerts, harness, proxies
from voltd.alerts import notifications, worker
from voltd.alerts.senders import alertmanager, mqtt


@pytest.fixture
def manager():
    """An HTTP receiver that takes what an Alertmanager takes."""
    made = alerts.Webhook()
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


def _often(monkeypatch):
    """What is open is shown many times a second."""
    monkeypatch.setattr(worker, "_SHOW_EVERY_S", 0.1)
    monkeypatch.setattr(worker, "_LOOK_S", 0.1)


def _retained(broker, fleet_id, count, within_s=0.0):
    """What somebody who subscribes now sees."""
    seen = {}
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.on_message = lambda _client, _data, message: seen.update({message.topic: message.payload})
    client.connect(broker.host, broker.port)
    client.loop_start()
    client.subscribe([(f"voltd/alerts/{fleet_id}/#", 1)])
    harness.wait_for(lambda: len(seen) >= count, 45, "the retained messages")
    time.sleep(within_s)  # what must not come has no event
    client.disconnect()
    client.loop_stop()
    return seen


def test_a_topic_while_it_fires(delivery, broker, fleet):
    """Retained as JSON, also when it is quiet, silenced, or of a name that is no topic level; cleared at the end."""
    fleet_id, seen = fleet
    delivery.deliverer(mqtt=True)
    delivery.execute("INSERT INTO volt.alert_silence (ends_at, created_by) VALUES (now() + INTERVAL '1 hour', 'me')")
    alert_id = delivery.fire("EV/7#", rule="soc_low", fleet_id=fleet_id, quiet=True)
    topic = f"voltd/alerts/{fleet_id}/EV_7_/soc_low"
    harness.wait_for(lambda: seen.get(topic), 45, "the message")
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
    delivery.escalate(alert_id)
    harness.wait_for(lambda: seen[topic]["severity"] == "critical", 45, "the escalation")
    delivery.resolve(alert_id)
    harness.wait_for(lambda: seen[topic] is None, 45, "the clearing")
    delivery.settled()
    other = delivery.fire("EV-8", fleet_id=fleet_id)
    assert set(_retained(broker, fleet_id, 1)) == {f"voltd/alerts/{fleet_id}/EV-8/soc_low"}
    delivery.resolve(other)
    delivery.settled()


def test_a_broker_that_is_away(delivery, broker, fleet):
    """Alerts wait for it, and come in order."""
    fleet_id, seen = fleet
    proxy = proxies.Proxy(broker.host, broker.port)
    proxy.shut_out()
    delivery._broker = type("Address", (), {"host": proxy.address[0], "port": proxy.address[1]})
    delivered = delivery.deliverer(mqtt=True)
    first = delivery.fire("V1", fleet_id=fleet_id)
    delivery.fire("V2", fleet_id=fleet_id)
    harness.wait_for(lambda: delivered.counters.channels_failing == ["mqtt"], 15, "the failure")
    delivery.resolve(first)
    proxy.admit()
    delivery.settled(30)
    harness.wait_for(lambda: len(seen) == 2, 45, "both topics")
    assert seen[f"voltd/alerts/{fleet_id}/V1/soc_low"] is None
    assert seen[f"voltd/alerts/{fleet_id}/V2/soc_low"]["severity"] == "warning"
    assert set(delivery.rows("status", channel="mqtt")) == {("sent",)}
    proxy.close()


def test_a_broker_that_does_not_come_back(delivery, broker, fleet, monkeypatch):
    """What waits for it does not pile up for ever; when it is there again its topics show what is open."""
    fleet_id, seen = fleet
    _often(monkeypatch)
    proxy = proxies.Proxy(broker.host, broker.port)
    proxy.shut_out()
    delivery._broker = type("Address", (), {"host": proxy.address[0], "port": proxy.address[1]})
    delivered = delivery.deliverer(mqtt=True)
    over = delivery.fire("V1", fleet_id=fleet_id)
    delivery.fire("V2", fleet_id=fleet_id)
    harness.wait_for(lambda: delivered.counters.channels_failing == ["mqtt"], 15, "the failure")
    delivery.resolve(over)
    delivery.execute("UPDATE volt.alert_delivery SET created_at = now() - INTERVAL '2 days'")
    given_up = f"alert_id = {over} AND result = 'gave up after 24 h'"
    harness.wait_for(lambda: harness.count(delivery.dsn, "alert_delivery", given_up) == 2, 20, "the end of hope")
    proxy.admit()
    harness.wait_for(lambda: seen.get(f"voltd/alerts/{fleet_id}/V2/soc_low"), 20, "what is open")
    assert len(seen) == 1
    proxy.close()


def test_a_topic_that_nobody_clears(delivery, broker, fleet, monkeypatch):
    """It is published again while its alert is open, and expires a while after the last publication."""
    fleet_id, seen = fleet
    _often(monkeypatch)
    monkeypatch.setattr(mqtt, "_EXPIRES_S", 2)
    monkeypatch.setattr(mqtt, "_AGAIN_S", 0.5)
    delivered = delivery.deliverer(mqtt=True)
    delivery.fire("V1", fleet_id=fleet_id)
    topic = f"voltd/alerts/{fleet_id}/V1/soc_low"
    for _ in range(6):  # longer than it lasts
        seen.clear()
        harness.wait_for(lambda: topic in seen, 45, "the topic, once more")
    assert topic in _retained(broker, fleet_id, 1)
    delivered.stop()
    harness.wait_for(lambda: not _retained(broker, fleet_id, 0, within_s=0.2), 45, "an empty topic")


def test_how_long_a_topic_lasts_without_voltd():
    """Long enough to be published again several times before."""
    assert mqtt._EXPIRES_S >= 3 * mqtt._AGAIN_S


def _close_before_it_is_over(delivered, device, monkeypatch):
    """The first show without this device needs another connection."""
    sender, closed = delivered.every_channel[0].sender, []
    show = sender.show

    def closes(rows):
        if not closed and device not in [row.device_id for row in rows]:
            closed.append(sender.close())
        return show(rows)

    monkeypatch.setattr(sender, "show", closes)


def test_an_end_that_was_never_sent(delivery, fleet, monkeypatch):
    """Its row was dropped, or the database is another: the topic is cleared, over a new connection, too."""
    fleet_id, seen = fleet
    _often(monkeypatch)
    delivered = delivery.deliverer(mqtt=True)
    for device in ("V1", "V2"):
        delivery.fire(device, fleet_id=fleet_id)
        delivery.settled()
        harness.wait_for(lambda d=device: seen.get(f"voltd/alerts/{fleet_id}/{d}/soc_low"), 45, "the topic")
        if device == "V2":
            _close_before_it_is_over(delivered, device, monkeypatch)
        delivery.execute("UPDATE volt.alert SET resolved_at = now()")
        harness.wait_for(lambda d=device: seen[f"voltd/alerts/{fleet_id}/{d}/soc_low"] is None, 45, "the clearing")


def test_what_was_sent_without_a_database(delivery, fleet):
    """The database does not know of it yet when it is back: that is no reason to clear its topic."""
    fleet_id, seen = fleet
    sender = delivery.deliverer(leads=False, mqtt=True).every_channel[0].sender
    row = notifications.AlertTransition("fired", "critical", "m", "ingest_lag", "system", "w", fleet_id, alerts.NOW)
    sender.send(notifications.Notification("id", [row]))
    assert sender.show([]) == 0
    sender.send(notifications.Notification("id", [row._replace(device_id="u")]))
    harness.wait_for(lambda: len(seen) == 2, 45, "the second")
    assert all(seen.values())
    sender.close()


def test_what_is_shown_follows_the_episode(delivery, fleet, monkeypatch):
    """An acknowledgement is on the topic after the next round, without a transition."""
    fleet_id, seen = fleet
    _often(monkeypatch)
    delivery.deliverer(mqtt=True)
    delivery.fire("V1", fleet_id=fleet_id)
    delivery.settled()
    topic = f"voltd/alerts/{fleet_id}/V1/soc_low"
    delivery.execute("UPDATE volt.alert SET acknowledged_at = now(), acknowledged_by = 'me'")
    harness.wait_for(lambda: (seen.get(topic) or {}).get("acknowledged_at"), 45, "the acknowledgement")


def test_topic_levels_of_a_vehicle_in_no_fleet():
    row = notifications.AlertTransition("fired", "info", "m", "stale", "vehicle", "+", None, alerts.NOW)
    assert mqtt.topic(row) == "voltd/alerts/unassigned/_/stale"


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


def test_an_alertmanager(delivery, manager):
    """It gets what its API asks for: the end some minutes ahead while it is open, the real one when it is resolved."""
    delivery.deliverer(am={"kind": "alertmanager", "url": f"http://127.0.0.1:{manager.port}/"})
    alert_id = delivery.fire("V1")
    delivery.settled()
    delivery.escalate(alert_id)
    delivery.settled()
    delivery.resolve(alert_id)
    delivery.settled()
    posts = [body for path, body in manager.posts if path == "/api/v2/alerts" and body]
    for post in posts:
        _check(post)
    labels = {
        "alertname": "soc_low", "severity": "warning", "device_type": "vehicle", "device_id": "V1",
        "fleet_id": "north",
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


def test_what_is_open_is_sent_again_and_again(delivery, manager, monkeypatch):
    """Every open episode that the channel wants, in parts that an Alertmanager takes."""
    _often(monkeypatch)
    monkeypatch.setattr(alertmanager, "_MOST_AT_ONCE", 2)
    delivery.deliverer(am={"kind": "alertmanager", "url": f"http://127.0.0.1:{manager.port}", "rules": ["soc_low"]})
    for number in range(3):
        delivery.fire(f"V{number}")
    delivery.fire("V9", rule="overspeed")
    delivery.settled()
    before = len(manager.posts)
    harness.wait_for(lambda: len(manager.posts) >= before + 6, 45, "more posts")
    later = [body for _path, body in manager.posts[before:]]
    for post in later:
        _check(post)
        assert len(post) <= 2
    assert {one["labels"]["device_id"] for post in later for one in post} == {"V0", "V1", "V2"}


def test_what_an_alertmanager_refuses(delivery, manager):
    """HTTP 400 is for good: it is dropped with the reason, and what comes next is sent; 503 is tried again."""
    delivered = delivery.deliverer(am={"kind": "alertmanager", "url": f"http://127.0.0.1:{manager.port}"})
    manager.status = 400
    delivery.fire("V1")
    delivery.settled()
    ((status, result),) = delivery.rows("status, result", channel="am")
    assert status == "dropped"
    assert "HTTP 400" in result
    manager.status = 503
    delivery.fire("V2")
    harness.wait_for(lambda: (delivery.rows("result", channel="am")[1][0] or "").endswith("503"), 45, "the failure")
    manager.status = 200
    delivery.settled()
    assert next(one["labels"]["device_id"] for _path, body in manager.posts for one in body) == "V2"
    assert delivered.counters.channels_failing == []


def test_an_alertmanager_that_refuses_one_part(delivery, manager, monkeypatch):
    """The others are posted all the same, now and when what is open is sent again."""
    _often(monkeypatch)
    monkeypatch.setattr(alertmanager, "_MOST_AT_ONCE", 2)
    manager.refuses = "'V0'"
    delivered = delivery.deliverer(leads=False, am={"kind": "alertmanager", "url": f"http://127.0.0.1:{manager.port}"})
    for number in range(5):
        delivery.fire(f"V{number}")
    delivered.lead(leads=True)
    delivery.settled()
    for _ in range(2):
        sent = {one["labels"]["device_id"] for _path, body in list(manager.posts) for one in body}
        assert sent == {"V2", "V3", "V4"}
        manager.posts.clear()
        harness.wait_for(lambda: len(manager.posts) >= 2, 45, "what is open, once more")
    assert "HTTP 400" in delivery.rows("result", channel="am")[0][0]


def test_an_alertmanager_that_is_away_while_nothing_is_open(delivery, manager, monkeypatch):
    """The last attempt failed, and no attempt is no success: the channel counts as failing."""
    _often(monkeypatch)
    delivered = delivery.deliverer(am={"kind": "alertmanager", "url": f"http://127.0.0.1:{manager.port}"})
    sender, shown = delivered.every_channel[0].sender, []
    show = sender.show
    monkeypatch.setattr(sender, "show", lambda rows: (shown.append(list(rows)), show(rows))[1])
    manager.down()
    alert_id = delivery.fire("V1")
    harness.wait_for(lambda: delivered.counters.channels_failing == ["am"], 45, "the failure")
    delivery.execute("UPDATE volt.alert SET resolved_at = now() WHERE alert_id = %s", alert_id)
    delivery.execute("UPDATE volt.alert_delivery SET created_at = now() - INTERVAL '2 days'")
    delivery.settled()
    shown.clear()
    harness.wait_for(lambda: len(shown) >= 3, 45, "three rounds")
    assert shown[:3] == [[], [], []]
    assert delivered.counters.channels_failing == ["am"]
    manager.up()
    delivery.fire("V2")
    delivery.settled()
    harness.wait_for(lambda: not delivered.counters.channels_failing, 45, "that it works again")
