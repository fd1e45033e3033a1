"""Efficiency of hours whose readings come late; a rule looks at these once a minute, so this takes some."""

import datetime as dt

import psycopg

from support import harness
from voltd import resources


def test_hours_that_arrive_late_at_a_running_daemon(alerting, publisher, webhook, database, tmp_path):
    """Their readings are stored, their efficiency is kept, and the rule looks again, with no restart."""
    text = (resources.share("config") / "rules.toml").read_text()
    (tmp_path / "rules.toml").write_text(text.replace("late_after_s = 7200.0", "late_after_s = 14400.0"))
    hour = dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0) - dt.timedelta(hours=3)
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE volt_internal.alert_progress SET efficiency_until = %s", (hour,))
        connection.execute("INSERT INTO volt.vehicle_meter (vehicle_id, meter_id) VALUES ('E1', 'M1')")
    daemon = alerting(alerts__rules_file=tmp_path / "rules.toml")
    kept = "rollup_state", f"efficiency_watermark >= '{hour + dt.timedelta(hours=2)}'", "volt_internal"
    harness.wait_for(lambda: harness.count(database, *kept) == 1, what="the hours, kept without readings")
    for begins, percent, heard in (
        (hour, 70, "vehicle E1: efficiency_low warning: hourly charging efficiency 70 % (limit 85 %)"),
        (hour + dt.timedelta(hours=1), 95, "vehicle E1: efficiency_low warning is over"),
    ):
        published = []
        for minute in range(1, 61):
            at = (begins + dt.timedelta(minutes=minute)).isoformat()
            for topic, values in (
                ("vehicle/E1", {"kwhDeliveredDc": percent / 1000}),
                ("meter/M1", {"kwhConsumedAc": 0.1}),
            ):
                published.append(publisher.publish(f"{daemon.name}/{topic}", {"timestamp": at, **values}))
        publisher.flush(published)
        webhook.hears(heard, within_s=120)
