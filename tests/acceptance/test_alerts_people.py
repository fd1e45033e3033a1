"""Who is told, from end to end: a silence made with the command, and e-mail, after readings that were published."""

import re

import psycopg
import pytest

import alert_rig
import harness


@pytest.fixture
def mailbox():
    made = alert_rig.Mailbox()
    yield made
    made.close()


def _silence(daemon, *words):
    """Makes a silence with the command; its number."""
    made = daemon.run("alerts", "silence", *words, "--comment", "on the test track")
    assert made.returncode == 0, made.stderr
    return re.match(r"silence (\d+): ", made.stdout)[1]


def _open(database, vehicle):
    return alert_rig.alerts(database, f"device_id = '{vehicle}' AND resolved_at IS NULL")


def test_a_silence_ended_by_hand(told, publisher, webhook, database):
    """Under it the episode is kept and nobody told; what is still open when it ends is told then, and its end too."""
    daemon = told()
    number = _silence(daemon, "--vehicle", "V1", "--for", "1h")
    other = _silence(daemon, "--vehicle", "V3", "--for", "1h")
    alert_rig.publish(publisher, daemon, "V1", speed=150)
    alert_rig.publish(publisher, daemon, "V3", 1, speed=160)
    alert_rig.publish(publisher, daemon, "V3", speed=90)
    harness.wait_for(lambda: _open(database, "V1"), what="the episode under the silence")
    harness.wait_for(
        lambda: alert_rig.alerts(database, "device_id = 'V3' AND resolved_at IS NOT NULL"), what="the one that is over"
    )
    alert_rig.publish(publisher, daemon, "V2", speed=150)
    webhook.hears("vehicle V2: overspeed warning: ")
    assert (
        f"; {len(_open(database, 'V1'))} open alert is covered"
        in daemon.run(
            "alerts", "silence", "--rule", "overspeed", "--vehicle", "V1", "--for", "1s", "--comment", "counts"
        ).stdout
    )
    assert len(webhook.lines) == 1, webhook.lines
    ended = daemon.run("alerts", "unsilence", number, other)
    assert ended.stdout.splitlines() == [f"silence {number}: ended", f"silence {other}: ended"]
    webhook.hears("vehicle V1: overspeed warning: speed 150 km/h (limit 120 km/h)")
    alert_rig.publish(publisher, daemon, "V1", speed=90)
    webhook.hears("vehicle V1: overspeed warning is over")
    assert not any("V3" in line for line in webhook.lines), "began and ended under the silence"


def test_a_silence_that_ends_by_itself(told, publisher, webhook, database):
    """What still fires then is told then, by nobody's doing."""
    daemon = told()
    _silence(daemon, "--rule", "battery_overheat", "--vehicle", "V1", "--for", "5s")
    alert_rig.publish(publisher, daemon, "V1", batteryTemp=85)
    alert_rig.publish(publisher, daemon, "V1", speed=150)
    webhook.hears("vehicle V1: overspeed warning: ")
    assert {one["rule"] for one in _open(database, "V1")} == {"battery_overheat", "overspeed"}
    webhook.hears("vehicle V1: battery_overheat critical: battery temperature 85 °C (limit 80 °C)")
    with psycopg.connect(database) as connection:
        (at_end,) = connection.execute(
            "SELECT d.sent_at >= s.ends_at FROM volt.alert_delivery d JOIN volt.alert USING (alert_id),"
            " volt.alert_silence s WHERE channel = 'hook' AND alert.rule = 'battery_overheat'"
        ).fetchone()
    assert at_end


def test_an_excursion_is_two_e_mails(make_daemon, publisher, database, mailbox):
    """They say which rule, which vehicle and which value; the second that it is over. Gathered for a moment only."""
    with psycopg.connect(database) as connection:
        connection.execute("INSERT INTO volt.fleet (fleet_id) VALUES ('north')")
        connection.execute("INSERT INTO volt.vehicle (vehicle_id, fleet_id) VALUES ('EV-7', 'north')")
    daemon = make_daemon(alerts__channels__mail__url=mailbox.url, alerts__channels__mail__group_s=0.2).start()
    alert_rig.publish(publisher, daemon, "EV-7", 1, batteryTemp=85.5)
    (fired,) = harness.wait_for(lambda: mailbox.mails, what="the e-mail")
    alert_rig.publish(publisher, daemon, "EV-7", batteryTemp=70)
    harness.wait_for(lambda: len(mailbox.mails) > 1, what="the second e-mail")
    resolved = mailbox.mails[1]
    assert fired["To"] == resolved["To"] == "operators@example.org"
    assert fired["Subject"] == "voltd: critical: battery_overheat vehicle EV-7"
    head = "vehicle EV-7 (fleet north): battery_overheat critical"
    assert f"{head}: battery temperature 85.5 °C (limit 80 °C)" in alert_rig.text_of(fired)
    assert resolved["Subject"] == "voltd: resolved: battery_overheat vehicle EV-7"
    text = alert_rig.text_of(resolved)
    assert re.search(rf"{re.escape(head)} is over after \d+ s, peak 85.5 °C", text), text
    harness.wait_for(
        lambda: harness.count(database, "alert_delivery", "channel = 'mail' AND status = 'sent'") == 2, 10, "the rows"
    )
    with psycopg.connect(database) as connection:
        ids = connection.execute(
            "SELECT message_id::text FROM volt.alert_delivery WHERE channel = 'mail' ORDER BY delivery_id"
        ).fetchall()
    assert [one[0] in alert_rig.text_of(mail) for one, mail in zip(ids, mailbox.mails, strict=True)] == [True, True]
