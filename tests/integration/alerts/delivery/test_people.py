"""What people are spared: messages by the dozen, what a silence covers, what they have taken on; and e-mail."""

import time

import psycopg

from support import alerts, harness


def _silence(delivery, *, seconds=3600, rule=None, fleet_id=None, device=None):
    ((silence_id,),) = delivery.execute(
        "INSERT INTO volt.alert_silence (rule, fleet_id, device_type, device_id, ends_at, created_by)"
        " VALUES (%s, %s, %s, %s, now() + make_interval(secs => %s), 'me') RETURNING silence_id",
        rule, fleet_id, device and "vehicle", device, seconds,
    )  # fmt: skip
    return silence_id


def _end_silences(delivery):
    delivery.execute("UPDATE volt.alert_silence SET begins_at = now() - INTERVAL '1 hour', ends_at = now()")
    delivery.wake()


def test_ten_alerts_within_the_time_of_gathering(delivery, hook):
    """One message, worst first, with the ends last; it leaves when the oldest row is old enough, not before."""
    busy = harness.contention()
    delivery.deliverer(hook={"url": hook.url, "group_s": 1.5 * busy, "min_severity": "info"})
    alerts = [delivery.fire(f"V{number}") for number in range(8)]
    delivery.fire("V8", severity="info")
    delivery.fire("V9", severity="critical")
    delivery.resolve(alerts[0])
    delivery.settled()
    ((age_s,),) = delivery.execute(
        "SELECT extract(epoch FROM min(attempted_at) - min(created_at)) FROM volt.alert_delivery"
    )
    assert 1.5 * busy <= age_s < 2.5 * busy
    assert len(hook.posts) == 1
    expected = ["V9: soc_low critical", *[f"V{n}: soc_low warning" for n in range(8)], "V8: soc_low info"]
    assert hook.texts[0] == [f"vehicle {line}" for line in (*expected, "V0: soc_low warning is over")]
    assert hook.posts[0][1]["title"] == "voltd: 11 alerts (1 critical, 8 warning, 1 info, 1 resolved)"
    assert hook.posts[0][1]["type"] == "failure"


def test_more_alerts_than_anybody_reads(delivery, hook):
    """Twenty lines, and how many more."""
    delivered = delivery.deliverer(leads=False, hook={"url": hook.url})
    for number in range(25):
        delivery.fire(f"V{number}")
    delivered.lead(leads=True)
    delivery.settled()
    assert len(hook.texts) == 1
    assert len(hook.texts[0]) == 21
    assert hook.texts[0][-1] == "and 5 more"


def test_a_silence_ends_while_the_alert_is_open(delivery, hook):
    """What a silence covers waits, also behind others, and is sent when the silence ends, if it is still open."""
    delivery.deliverer(hook={"url": hook.url})
    _silence(delivery, rule="soc_low", fleet_id="north")
    delivery.fire("V1")
    delivery.fire("V2", fleet_id="south")
    delivery.fire("V3", rule="overspeed")
    harness.wait_for(lambda: len(delivery.rows()) == 3 and len(hook.posts) == 2, 45, "what is not covered")
    assert sorted(hook.texts) == [["vehicle V2: soc_low warning"], ["vehicle V3: overspeed warning"]]
    assert delivery.rows()[0] == ("fired", "waiting")
    _end_silences(delivery)
    delivery.settled()
    assert hook.texts[-1] == ["vehicle V1: soc_low warning"]


def test_an_alert_that_is_over_before_its_silence(delivery, hook):
    """Nobody hears of it, neither of its beginning nor of its end."""
    delivery.deliverer(hook={"url": hook.url})
    _silence(delivery, device="V1")
    alert_id = delivery.fire("V1")
    delivery.resolve(alert_id)
    delivery.settled()
    assert delivery.rows("transition, status, result") == [
        ("fired", "dropped", "silenced"),
        ("resolved", "dropped", "silenced"),
    ]
    _end_silences(delivery)
    delivery.fire("V2")
    delivery.settled()
    assert hook.texts == [["vehicle V2: soc_low warning"]]


def test_a_whole_fleet_in_one_outage(delivery, hook):
    """Ten thousand that begin and end while they wait are one message, or, silenced, none: in seconds, not minutes."""
    delivered = delivery.deliverer(leads=False, hook={"url": hook.url})
    _silence(delivery, rule="stale")
    for rule in ("stale", "soc_low"):
        delivery.execute(
            "WITH opened AS (INSERT INTO volt.alert (rule, severity, device_type, device_id, opened_at, last_seen_at,"
            " resolved_at, message) SELECT %s, 'warning', 'vehicle', 'V' || g, now(), now(), now(), 'V' || g"
            " FROM generate_series(1, 10000) g RETURNING alert_id, message)"
            " INSERT INTO volt.alert_delivery (alert_id, channel, transition, severity, message)"
            " SELECT alert_id, 'hook', t, 'warning', message FROM opened, (VALUES ('fired'), ('resolved')) v (t)",
            rule,
        )
    delivered.lead(leads=True)
    delivery.settled(20)
    assert [lines[-1] for lines in hook.texts] == ["and 19980 more"]
    assert harness.count(delivery.dsn, "alert_delivery", "result = 'silenced'") == 20000


def test_the_end_of_what_was_sent_before_the_silence(delivery, hook):
    """A channel that was notified of an alert is notified of its end, silence or not; not of a step to worse."""
    delivery.deliverer(hook={"url": hook.url})
    alert_id = delivery.fire("V1")
    delivery.settled()
    _silence(delivery)
    delivery.escalate(alert_id)
    delivery.resolve(alert_id)
    delivery.settled()
    assert hook.texts[1:] == [["worse: vehicle V1: soc_low warning is over"]]
    assert delivery.rows() == [("fired", "sent"), ("escalated", "dropped"), ("resolved", "sent")]


def test_an_end_without_a_beginning(delivery, hook):
    """The beginning was given up: its end is nothing to anybody."""
    delivery.deliverer(hook={"url": "json://127.0.0.1:9/"})
    alert_id = delivery.fire("V1")
    harness.wait_for(lambda: delivery.rows("result")[0][0], 45, "the failure")
    delivery.execute("UPDATE volt.alert_delivery SET created_at = now() - INTERVAL '2 days'")
    delivery.resolve(alert_id)
    delivery.settled()
    assert delivery.rows("result") == [("gave up after 24 h",), ("never sent",)]
    assert hook.posts == []


def test_what_nobody_takes_on_is_sent_again(delivery, hook):
    """Once per interval, until somebody acknowledges it, and not what was never sent or only shown."""
    delivery.deliverer(leads=False, hook={"url": hook.url, "repeat_s": 3600, "min_severity": "info"})
    open_, taken, over = (delivery.fire(f"V{number}") for number in range(3))
    delivery._made[0].lead(leads=True)
    delivery.settled()
    delivery._made[0].stop()
    delivery.execute("UPDATE volt.alert SET acknowledged_at = now(), acknowledged_by = 'me' WHERE alert_id = %s", taken)
    delivery.execute("UPDATE volt.alert SET resolved_at = now() WHERE alert_id = %s", over)
    delivery.execute("UPDATE volt.alert_delivery SET sent_at = sent_at - INTERVAL '2 hours'")
    for _ in range(2):  # two that both lead
        delivery.deliverer(hook={"url": hook.url, "repeat_s": 3600})
    harness.wait_for(lambda: len(hook.posts) > 1, 45, "the repetition")
    delivery.settled()
    (text,) = hook.texts[1]
    assert text.startswith("vehicle V0: soc_low warning (still, since 2")
    assert delivery.rows("alert_id, status")[3:] == [(open_, "sent")]


def test_a_repetition_that_a_silence_kept_back(delivery, hook):
    """It is dropped when somebody has taken the alert on meanwhile."""
    delivery.deliverer(leads=False, hook={"url": hook.url, "repeat_s": 3600})
    alert_id = delivery.fire("V1")
    delivery.execute(
        "UPDATE volt.alert_delivery SET status = 'sent', message_id = 'before', sent_at = now() - INTERVAL '2 hours'"
    )
    _silence(delivery)
    delivery._made[0].lead(leads=True)
    harness.wait_for(lambda: len(delivery.rows()) == 2, 45, "the repetition")
    delivery.execute(
        "UPDATE volt.alert SET acknowledged_at = now(), acknowledged_by = 'me' WHERE alert_id = %s", alert_id
    )
    delivery.wake()
    delivery.settled()
    assert delivery.rows("transition, result")[1:] == [("repeated", "acknowledged meanwhile")]
    assert hook.posts == []


def test_more_messages_than_an_hour_may_have(delivery, hook):
    """What is beyond waits, and goes out together when there is room again."""
    delivery.deliverer(hook={"url": hook.url, "max_per_hour": 2})
    for number in range(2):
        delivery.fire(f"V{number}")
        harness.wait_for(lambda n=number: len(hook.posts) > n, 45, "the message")
    delivery.settled()
    for number in range(2, 7):
        delivery.fire(f"V{number}")
    harness.wait_for(lambda: len(delivery.rows()) == 7, 45, "the rows")
    time.sleep(0.5)  # what must not happen has no event
    assert delivery.rows("status")[2:] == [("waiting",)] * 5
    assert len(hook.posts) == 2
    delivery.execute("UPDATE volt.alert_delivery SET sent_at = sent_at - INTERVAL '61 minutes'")
    delivery.wake()
    delivery.settled()
    assert len(hook.posts) == 3
    assert len(hook.texts[2]) == 5


def test_an_e_mail(delivery):
    """It arrives with a subject that says what is wrong, and its text is for people."""
    box = alerts.Mailbox()
    try:
        delivery.deliverer(hook={"url": box.url, "group_s": 0})
        delivery.fire("EV-Ä1", rule="battery_overheat", severity="critical")
        delivery.settled()
    finally:
        box.close()
    (mail,) = box.mails
    assert mail["Subject"] == "voltd: critical: battery_overheat vehicle EV-Ä1"
    assert "operators@example.org" in mail["To"]
    text = alerts.text_of(mail)
    assert "vehicle EV-Ä1: battery_overheat critical" in text
    assert delivery.rows("message_id")[0][0] in text


def test_what_a_service_complains_of_shows_no_secret(delivery):
    """The reason is in the table, the password is not."""
    delivery.deliverer(hook={"url": "json://someone:s3cret-word@127.0.0.1:9/tok3n-in-path"})
    delivery.fire("V1")
    result = harness.wait_for(lambda: delivery.rows("result")[0][0], 45, "the failure")
    assert "JSON" in result
    assert "127.0.0.1" in result
    assert "s3cret" not in result
    assert "tok3n" not in result
    assert delivery.rows("status") == [("waiting",)]


def test_the_writers_role_may_do_all_of_it(delivery, hook):
    """The daemon is no owner of the tables."""

    def as_writer():
        connection = psycopg.connect(delivery.dsn, autocommit=True)
        connection.execute("SET ROLE volt_writer")
        return connection

    delivery.deliverer(leads=False, connect=as_writer, hook={"url": hook.url, "repeat_s": 1})
    delivery.fire("V1")
    delivery.execute("UPDATE volt.alert_delivery SET status = 'sent', sent_at = now() - INTERVAL '1 hour'")
    _silence(delivery, device="V2")
    delivery.resolve(delivery.fire("V2"))
    delivery._made[0].lead(leads=True)
    delivery.settled()
    assert ("repeated", "sent") in delivery.rows()
    assert ("resolved", "dropped") in delivery.rows()
