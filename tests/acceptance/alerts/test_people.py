"""Notifications, from end to end: a silence made with the command, and e-mail, after readings that were published."""

import re

import psycopg
import pytest

from support import alerts, harness


@pytest.fixture
def mailbox():
    made = alerts.Mailbox()
    yield made
    made.close()


def _silence(daemon, vehicle, lasts):
    """Silences a vehicle with the command; the silence's number."""
    made = daemon.run("alerts", "silence", "--vehicle", vehicle, "--for", lasts, "--comment", "on the test track")
    assert made.returncode == 0, made.stderr
    return re.match(r"silence (\d+): ", made.stdout)[1]


def test_silences_end_by_hand_and_by_themselves(alerting, publisher, webhook, database):
    """A silence suppresses notifications, not episodes; at its end open episodes notify, resolved ones never do."""
    daemon = alerting()
    by_hand, over_before = _silence(daemon, "HAND", "1h"), _silence(daemon, "OVER", "1h")
    _silence(daemon, "ITSELF", "5s")
    for vehicle in ("ITSELF", "HAND", "OVER"):
        alerts.publish(publisher, daemon, vehicle, 1, speed=150)
    alerts.publish(publisher, daemon, "OVER", speed=90)
    harness.wait_for(lambda: alerts.episodes(database, "resolved_at IS NOT NULL"), what="the one that is over")
    harness.wait_for(lambda: len(alerts.episodes(database, "resolved_at IS NULL")) == 2, what="the open ones")
    alerts.publish(publisher, daemon, "FREE", speed=150)
    webhook.hears("vehicle FREE: overspeed warning: ")
    assert not any("HAND" in line or "OVER" in line for line in webhook.lines)
    ended = daemon.run("alerts", "unsilence", by_hand, over_before)
    assert ended.stdout.splitlines() == [f"silence {by_hand}: ended", f"silence {over_before}: ended"]
    webhook.hears(*(f"vehicle {one}: overspeed warning: speed 150 km/h (limit 120 km/h)" for one in ("HAND", "ITSELF")))
    with psycopg.connect(database) as connection:
        times = connection.execute(
            "SELECT d.created_at < s.ends_at, d.sent_at >= s.ends_at FROM volt.alert_silence s"
            " JOIN volt.alert a USING (device_id) JOIN volt.alert_delivery d USING (alert_id)"
            " WHERE d.channel = 'hook' AND d.status = 'sent'"
        ).fetchall()
    assert times == [(True, True)] * 2, "began under it, notified after it"
    alerts.publish(publisher, daemon, "HAND", speed=90)
    webhook.hears("vehicle HAND: overspeed warning is over")
    assert len(webhook.lines) == 4, webhook.lines


def test_an_excursion_is_two_e_mails(make_daemon, publisher, database, mailbox):
    """They name rule, vehicle and value; the second one says that it has resolved. Gathered for a moment only."""
    with psycopg.connect(database) as connection:
        connection.execute("INSERT INTO volt.fleet (fleet_id) VALUES ('north')")
        connection.execute("INSERT INTO volt.vehicle (vehicle_id, fleet_id) VALUES ('EV-7', 'north')")
    daemon = make_daemon(alerts__channels__mail__url=mailbox.url, alerts__channels__mail__group_s=0.2).start()
    alerts.publish(publisher, daemon, "EV-7", 2, batteryTemp=85.5)
    alerts.publish(publisher, daemon, "EV-7", 1, batteryTemp=85.5)
    (fired,) = harness.wait_for(lambda: mailbox.mails, what="the e-mail")
    alerts.publish(publisher, daemon, "EV-7", batteryTemp=70)
    harness.wait_for(lambda: len(mailbox.mails) > 1, what="the second e-mail")
    resolved = mailbox.mails[1]
    assert fired["To"] == resolved["To"] == "operators@example.org"
    assert fired["Subject"] == "voltd: critical: battery_overheat vehicle EV-7"
    head = "vehicle EV-7 (fleet north): battery_overheat critical"
    assert f"{head}: battery temperature 85.5 °C (limit 80 °C)" in alerts.text_of(fired)
    assert resolved["Subject"] == "voltd: resolved: battery_overheat vehicle EV-7"
    text = alerts.text_of(resolved)
    assert re.search(rf"{re.escape(head)} is over after \d+ s, peak 85.5 °C", text), text
    harness.wait_for(
        lambda: harness.count(database, "alert_delivery", "channel = 'mail' AND status = 'sent'") == 2, 10, "the rows"
    )
    with psycopg.connect(database) as connection:
        ids = connection.execute(
            "SELECT message_id::text FROM volt.alert_delivery WHERE channel = 'mail' ORDER BY delivery_id"
        ).fetchall()
    assert [one[0] in alerts.text_of(mail) for one, mail in zip(ids, mailbox.mails, strict=True)] == [True, True]
