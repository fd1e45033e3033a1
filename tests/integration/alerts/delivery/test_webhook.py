"""Delivery of alerts to a webhook: each transition once and in order, whatever fails on the way."""

import subprocess
import sys
import threading
import time

import psycopg
import pytest

from support import alerts, harness
from voltd.alerts import pacing


def _waits(delivery):
    return harness.count(delivery.dsn, "alert_delivery", "status = 'waiting'")


def test_what_fires_is_sent_at_once_and_its_end_too(delivery, hook):
    """A webhook is a program: nothing is gathered, and a row is handed over well within 0.3 s after the wake."""
    delivered = delivery.deliverer(hook={"url": hook.url})
    delivery.fire("V0")
    delivery.settled()  # the first one opens the connection and starts Apprise
    took = []
    for number in range(1, 11):
        started = time.monotonic()
        delivery.fire(f"V{number}")
        harness.wait_for(lambda n=number: len(hook.posts) > n, 45, "the message")
        took.append(time.monotonic() - started)
    assert sorted(took)[5] < 0.3 * harness.contention(), took
    alert_id = delivery.fire("V99", severity="critical")
    delivery.settled()
    delivery.resolve(alert_id)
    delivery.settled()
    assert hook.texts[-2:] == [["vehicle V99: soc_low critical"], ["vehicle V99: soc_low critical is over"]]
    assert [body["type"] for _path, body in hook.posts[-2:]] == ["failure", "success"]
    assert hook.posts[-2][1]["title"] == "voltd: critical: soc_low vehicle V99"
    assert len(set(hook.ids)) == len(hook.ids) == 13
    ids = [f"message {one}" for (one,) in delivery.rows("message_id")]
    assert ids == hook.ids, "the id in the table is the one in the message"
    assert delivered.counters.alerts_sent_total == 13
    assert delivered.counters.channels_failing == []


def test_a_webhook_that_is_down_for_a_while(delivery, hook):
    """Nothing is lost, nothing comes twice, and the order is kept."""
    delivered = delivery.deliverer(hook={"url": hook.url})
    hook.down()
    first = delivery.fire("V1")
    harness.wait_for(lambda: delivered.counters.channels_failing == ["hook"], 45, "the failure")
    delivery.fire("V2")
    delivery.resolve(first)
    delivery.fire("V3")

    def failed_again():
        """The first row, once a second attempt has its result; while one is under way there is none."""
        status, message_id, result, attempts = delivery.rows("status, message_id, result, attempts")[0]
        return attempts >= 2 and result and (status, message_id, result)

    failed = harness.wait_for(failed_again, 45, "the failure of another attempt")
    assert failed[0] == "waiting"
    assert "JSON" in failed[2]
    hook.up()
    delivery.settled(20)
    assert hook.ids[0] == f"message {failed[1]}", "the retry carries the id of the first attempt"
    assert hook.texts[0] == ["vehicle V1: soc_low warning"], "and its rows alone"
    assert hook.texts[1:] == [
        ["vehicle V2: soc_low warning", "vehicle V3: soc_low warning", "vehicle V1: soc_low warning is over"]
    ]
    assert delivered.counters.channels_failing == []


def test_a_webhook_that_is_slow(delivery, hook):
    """It answers after more than the four seconds that Apprise would wait: it hears each message once."""
    delivery.deliverer(hook={"url": hook.url})
    hook.passes.clear()
    delivery.fire("V1")
    harness.wait_for(lambda: hook.tried, 45, "the attempt")
    threading.Timer(4.4, hook.passes.set).start()
    delivery.settled()
    assert hook.tried == 1
    assert delivery.rows("status, attempts") == [("sent", 1)]


def test_a_message_that_the_service_refuses(delivery, hook, monkeypatch):
    """It is tried for a while, then left out with the reason, and what comes after it is sent."""
    monkeypatch.setattr(pacing, "FIRST_PAUSE_S", 0.01)
    delivered = delivery.deliverer(hook={"url": hook.url})
    hook.refuses = "V1"
    delivery.fire("V1")
    harness.wait_for(lambda: hook.tried, 45, "the first attempt")
    delivery.fire("V2")
    delivery.settled()
    assert hook.texts == [["vehicle V2: soc_low warning"]]
    (refused, taken) = delivery.rows("status, attempts, result")
    assert refused[:2] == ("dropped", 8)
    assert "error=400" in refused[2]
    assert taken == ("sent", 1, "ok")
    assert delivered.counters.channels_failing == []


def test_a_service_that_does_not_let_voltd_in(delivery, hook, monkeypatch):
    """That is no fault of the message: it waits until somebody has put it right."""
    monkeypatch.setattr(pacing, "FIRST_PAUSE_S", 0.001)
    delivery.deliverer(hook={"url": hook.url})
    hook.status = 403
    delivery.fire("V1")
    harness.wait_for(lambda: hook.tried > 9, 45, "ten attempts")
    assert delivery.rows("status") == [("waiting",)]
    hook.status = 200
    delivery.settled()
    assert hook.texts == [["vehicle V1: soc_low warning"]]


def test_a_channel_that_hangs_does_not_delay_another(delivery, hook):
    """The other one has its message while the first one still waits for an answer; stopping does not wait either."""
    other = alerts.Webhook()
    delivered = delivery.deliverer(hook={"url": hook.url}, other={"url": other.url})
    hook.passes.clear()
    delivery.fire("V1")
    harness.wait_for(lambda: hook.tried and other.posts, 15, "the other's message")
    assert hook.posts == []
    delivery.fire("V2")
    harness.wait_for(lambda: len(other.posts) == 2, 15, "the other's second message")
    started = time.monotonic()
    delivered.wake()
    delivered.lead(leads=True)
    assert time.monotonic() - started < 1
    delivered.stop()
    assert time.monotonic() - started < 10  # the hook would take 30
    other.down()


_SENDER = """
import sys
from voltd import config, metrics
from voltd.alerts import deliver
from voltd.database import connections
settings = config.Settings(
    instance="t", database={"dsn": sys.argv[1]}, alerts={"mqtt": False, "channels": {"hook": {"url": sys.argv[2]}}}
)
made = deliver.Deliverer(settings, connections.connector(settings), metrics.Metrics())
made.start()
made.lead(leads=True)
sys.stdin.read()
"""


def test_killed_while_it_sends(delivery, hook):
    """The receiver has heard the message, the table has not: it is sent again, with the same id and the same rows."""
    delivery.deliverer(leads=False, lease_s=0.5, hook={"url": hook.url})
    hook.passes.clear()
    delivery.fire("V1")
    with subprocess.Popen([sys.executable, "-c", _SENDER, delivery.dsn, hook.url], stdin=subprocess.PIPE) as sender:
        harness.wait_for(lambda: hook.tried == 1, 20, "the attempt")
        sender.kill()
    delivery.fire("V2")
    hook.passes.set()
    delivery._made[0].lead(leads=True)
    delivery.settled()
    assert [body["message"] for body in hook.heard[:2]] == [hook.heard[0]["message"]] * 2
    assert hook.heard[2]["message"].startswith("vehicle V2: soc_low warning\n")
    assert len(hook.heard) == 3
    assert delivery.rows("status, attempts") == [("sent", 2), ("sent", 1)]


def test_a_claim_whose_sender_is_gone(delivery, hook):
    """Nobody knows whether it was sent: it is sent again, with the same id and only the rows that it had."""
    delivery.deliverer(leads=False, lease_s=0.5, hook={"url": hook.url})
    delivery.fire("V1")
    delivery.execute(
        "UPDATE volt.alert_delivery SET message_id = 'the-id', attempts = 1, attempted_at = clock_timestamp()"
    )
    delivery.fire("V2")
    delivery._made[0].lead(leads=True)
    delivery.settled()
    assert hook.texts == [["vehicle V1: soc_low warning"], ["vehicle V2: soc_low warning"]]
    assert hook.ids[0] == "message the-id"


def test_an_attempt_under_way_is_left_alone(delivery, hook):
    """A second daemon that thinks it leads sees that the first may be sending, and does not."""
    first = delivery.deliverer(hook={"url": hook.url})
    hook.passes.clear()
    delivery.fire("V1")
    harness.wait_for(lambda: hook.tried == 1, 45, "the attempt")
    second = delivery.deliverer(hook={"url": hook.url})
    delivery.fire("V2")
    time.sleep(1.0)  # what must not happen has no event
    assert hook.tried == 1
    hook.passes.set()
    delivery.settled()
    assert sorted(text for lines in hook.texts for text in lines) == [
        "vehicle V1: soc_low warning",
        "vehicle V2: soc_low warning",
    ]
    assert first.counters.alerts_sent_total + second.counters.alerts_sent_total == 2


def test_two_daemons_that_both_lead(delivery, hook):
    """However they race, each row is sent once."""
    for _ in range(3):
        delivery.deliverer(hook={"url": hook.url})
    for number in range(40):
        delivery.fire(f"V{number}")
    delivery.settled(20)
    lines = [line for message in hook.texts for line in message]
    assert sorted(lines) == sorted(f"vehicle V{number}: soc_low warning" for number in range(40))


def test_a_channel_that_was_taken_out_of_the_settings(delivery, hook):
    """What waited for it is dropped and says why; a reload adds the new one at once."""
    delivered = delivery.deliverer(leads=False, gone={"url": "json://127.0.0.1:9/"}, hook={"url": hook.url})
    delivery.fire("V1")
    fresh = delivery.settings(hook={"url": hook.url}, new={"url": hook.url})
    delivered.reload(fresh)
    assert [one.name for one in delivered.every_channel] == ["hook", "new"]
    delivered.lead(leads=True)
    harness.wait_for(lambda: not _waits(delivery), 45, "the end")
    assert delivery.rows("status, result", channel="gone") == [("dropped", "no such channel")]
    assert delivery.rows("status, result") == [("sent", "ok")]


def test_new_settings_for_a_failing_channel(delivery, hook):
    """Its message goes to the new place at once, not when the pause of the old one is over."""
    delivered = delivery.deliverer(hook={"url": "json://127.0.0.1:9/"})
    delivery.fire("V1")
    harness.wait_for(lambda: delivery.rows("result")[0][0], 45, "the failure")
    delivery.execute("UPDATE volt.alert_delivery SET attempts = 9")  # as after half an hour: the pause is minutes
    delivered.reload(delivery.settings(hook={"url": hook.url}))
    delivery.settled(15)  # a look later, if the last attempt at the old place was under way
    assert hook.texts == [["vehicle V1: soc_low warning"]]


def test_the_database_goes_away_while_something_is_sent(delivery, hook):
    """The result is recorded when the database is back, so it is not sent twice."""
    delivery.deliverer(lease_s=0.1, hook={"url": hook.url})
    hook.passes.clear()
    delivery.fire("V1")
    harness.wait_for(lambda: hook.tried == 1, 45, "the attempt")
    delivery.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    hook.passes.set()
    delivery.settled()
    assert hook.texts == [["vehicle V1: soc_low warning"]]
    assert delivery.rows("attempts, result") == [(1, "ok")]


def _days_old(delivery, *alert_ids):
    """As the rows would be if they had been put there three days ago."""
    delivery.execute(
        "UPDATE volt.alert_delivery SET created_at = now() - INTERVAL '3 days',"
        " attempted_at = CASE WHEN attempts > 0 THEN now() - INTERVAL '2 days 23 hours' END WHERE alert_id = ANY (%s)",
        list(alert_ids),
    )


def test_a_channel_that_is_down_for_more_than_a_day(delivery, hook):
    """What has resolved by then is given up. What is still open, and what is new, is sent when the channel is back."""
    delivered = delivery.deliverer(leads=False, hook={"url": hook.url})
    over, wrong, new = delivery.fire("OVER"), delivery.fire("WRONG"), delivery.fire("NEW")
    hook.status = 503
    delivered.lead(leads=True)
    harness.wait_for(lambda: delivery.rows("result")[0][0], 45, "the failure of all three in one message")
    delivery.resolve(over)
    delivery.resolve(new)
    _days_old(delivery, over, wrong)
    harness.wait_for(lambda: delivery.rows("status")[0] == ("dropped",), 45, "the end of hope")
    assert delivery.rows("alert_id, transition, status, result")[:1] == [
        (over, "fired", "dropped", "gave up after 24 h")
    ]
    assert {status for alert_id, status in delivery.rows("alert_id, status") if alert_id != over} == {"waiting"}
    hook.status = 200
    delivery.settled()
    assert hook.texts == [
        ["vehicle WRONG: soc_low warning", "vehicle NEW: soc_low warning"],
        ["vehicle NEW: soc_low warning is over"],
    ]
    first, *_others, last = (body["message"].split("\n")[-1] for body in hook.heard)
    assert first == hook.ids[0] != last, "what is left of a message keeps its id"
    assert {result for alert_id, result in delivery.rows("alert_id, result") if alert_id == over} == {
        "gave up after 24 h"
    }


@pytest.mark.parametrize("tried", [False, True])
def test_a_daemon_that_was_stopped_for_days(delivery, hook, tried):
    """Nothing is given up that the channel takes: it is tried first; what began and ended meanwhile is sent."""
    delivered = delivery.deliverer(leads=False, hook={"url": hook.url})
    over, wrong = delivery.fire("OVER"), delivery.fire("WRONG")
    if tried:
        delivery.execute("UPDATE volt.alert_delivery SET attempts = 1, message_id = 'the-id', result = 'HTTP 503'")
    _days_old(delivery, over, wrong)
    delivery.resolve(over)
    delivered.lead(leads=True)
    delivery.settled()
    assert sorted(hook.lines) == [
        "vehicle OVER: soc_low warning",
        "vehicle OVER: soc_low warning is over",
        "vehicle WRONG: soc_low warning",
    ]


def test_without_a_database(delivery, hook):
    """The notification of its absence needs no outbox; it is sent again until it arrives."""

    class Outage:
        rule, severity, device_type, device_id = "ingest_lag", "critical", "system", "t"
        transition, message, resolved_at = "fired", "system t: ingest_lag critical", None
        opened_at = alerts.NOW

    def no_database():
        raise psycopg.OperationalError("away")

    delivered = delivery.deliverer(
        connect=no_database, hook={"url": hook.url}, rules={"url": hook.url, "rules": ["stale"]}
    )
    hook.down()
    started = time.monotonic()
    delivered.send_now([Outage()])
    assert time.monotonic() - started < 1
    harness.wait_for(lambda: delivered.counters.deliveries_failed_total, 45, "the failure")
    hook.up()
    harness.wait_for(lambda: hook.posts, 45, "the message")
    assert hook.texts == [["system t: ingest_lag critical"]]
