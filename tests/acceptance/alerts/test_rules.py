"""Alerts from end to end: readings to a real broker, episodes in a real database, notifications to real receivers."""

import contextlib
import datetime as dt
import json
import signal

import psycopg
import pytest
from psycopg import conninfo

from support import alerts, harness, proxies
from voltd import resources


def test_one_reading_over_the_limit_is_an_episode(daemon, publisher, database):
    """It resolves before the next cycle and notifies nevertheless; duplicates add nothing."""
    alerts.publish(publisher, daemon, "V1", 2, speed=150)
    alerts.publish(publisher, daemon, "V1", 1, speed=90)
    (found,) = harness.wait_for(lambda: alerts.episodes(database, "resolved_at IS NOT NULL"), what="the episode")
    assert (found["rule"], found["severity"], found["device_id"]) == ("overspeed", "warning", "V1")
    assert found["peak_value"] == 150
    assert found["message"] == "vehicle V1: overspeed warning is over after 1 s, peak 150 km/h"


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        (({"soc": 12}, {"soc": 14, "chargingStatus": "charging"}), "soc_low warning"),
        (({"soc": 3}, {"soc": 25}), "soc_low critical"),
        (({"speed": 130}, {"speed": 110}), "overspeed warning"),
        (({"batteryTemp": 85}, {"batteryTemp": 70}), "battery_overheat critical"),
    ],
)
def test_measured_rules_notify_when_they_fire_and_resolve(alerting, publisher, webhook, values, rule):
    """The second reading in a row confirms the first."""
    fires, ends = values
    daemon = alerting()
    alerts.publish(publisher, daemon, "V1", 1, **fires)
    alerts.publish(publisher, daemon, "V1", **fires)
    webhook.hears(f"{rule}: ")
    alerts.publish(publisher, daemon, "V1", **ends)
    webhook.hears(f"{rule}: ", f"{rule} is over")


def test_one_bad_sample_pages_nobody(alerting, publisher, webhook):
    """0 % once between 64 and 64 has raised no alert by the time of the next one."""
    daemon = alerting()
    for seconds, soc in ((3, 64), (2, 0), (1, 64)):
        alerts.publish(publisher, daemon, "V1", seconds, soc=soc)
    alerts.publish(publisher, daemon, "V2", speed=150)
    webhook.hears("vehicle V2: overspeed warning: ")
    assert len(webhook.lines) == 1, webhook.lines


def test_a_device_whose_clock_is_ahead_alerts_at_once(alerting, publisher, webhook):
    """One date in the future suppresses nothing that follows."""
    daemon = alerting()
    alerts.publish(publisher, daemon, "AH", soc=50)
    alerts.publish(publisher, daemon, "AH", -280, soc=50)
    for _ in range(2):
        alerts.publish(publisher, daemon, "AH", batteryTemp=95)
    webhook.hears("vehicle AH: battery_overheat critical: ")


def test_stale_clock_and_efficiency_notify_when_they_fire_and_resolve(alerting, publisher, webhook, database, tmp_path):
    """With short times; the efficiency of an hour that has ended."""
    text = (resources.share("config") / "rules.toml").read_text()
    text = text.replace("fire_above = 300.0\ngrace_s = 60.0", "fire_above = 3.0\ngrace_s = 0.0")
    (tmp_path / "rules.toml").write_text(text)
    hour = dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0) - dt.timedelta(hours=2)
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE volt_internal.alert_progress SET efficiency_until = %s", (hour,))
        connection.execute("INSERT INTO volt.vehicle_meter (vehicle_id, meter_id) VALUES ('E1', 'M1')")
        for table, device, column, kwh in (
            ("vehicle", "E1", "kwh_delivered_dc", 0.7),
            ("meter", "M1", "kwh_consumed_ac", 1.0),
        ):
            connection.execute(
                f"INSERT INTO volt.{table}_reading ({table}_id, recorded_at, {column}, received_at)"
                " SELECT %s, at, %s, at FROM generate_series(%s, %s::timestamptz + '59 min', '1 min'::interval) at",
                (device, kwh, hour, hour),
            )
    daemon = alerting(alerts__rules_file=tmp_path / "rules.toml")
    webhook.hears("vehicle E1: efficiency_low warning: hourly charging efficiency 70 % (limit 85 %)")
    alerts.publish(publisher, daemon, "V1", soc=50)
    webhook.hears("vehicle V1: stale warning: silent for", within_s=30)
    alerts.publish(publisher, daemon, "V1", soc=50)
    webhook.hears("vehicle V1: stale warning is over: heard again")
    daemon.terminate()  # it has not counted the rows that were put there


def test_late_and_retained_readings_page_nobody(make_daemon, publisher, webhook, database):
    """A backlog older than 15 minutes is a past episode in the table; a retained message fires nothing.

    Not even when the vehicle is evaluated for another reading.
    """
    retained = json.dumps({"timestamp": dt.datetime.now(dt.UTC).isoformat(), "speed": 200})
    channels = {"alerts__channels__hook__url": webhook.url, "alerts__channels__hook__min_severity": "info"}
    daemon = make_daemon(**channels)
    publisher.flush([publisher.publish(f"{daemon.name}/vehicle/V2", retained, retain=True)])
    daemon.start()  # who subscribes is given what was retained before, and marked so
    harness.wait_for(lambda: harness.count(database, "vehicle_reading") == 1, what="the retained reading")
    alerts.publish(publisher, daemon, "V2", 1, batteryTemp=90)
    alerts.publish(publisher, daemon, "V2", batteryTemp=90)
    webhook.hears("vehicle V2: battery_overheat critical: ")
    alerts.publish(publisher, daemon, "V1", 3600, speed=150)
    alerts.publish(publisher, daemon, "V1", 3540, speed=80)
    (past,) = harness.wait_for(lambda: alerts.episodes(database, "past"), what="the past episode")
    assert (past["device_id"], past["rule"], past["peak_value"]) == ("V1", "overspeed", 150)
    alerts.publish(publisher, daemon, "V3", speed=150)
    webhook.hears("vehicle V3: overspeed warning: ")
    assert not any("V1" in line for line in webhook.lines)
    assert [one["rule"] for one in alerts.episodes(database, "device_id = 'V2'")] == ["battery_overheat"]
    publisher.flush([publisher.publish(f"{daemon.name}/vehicle/V2", b"", retain=True)])


def test_a_running_duration_survives_a_kill(alerting, publisher, webhook, database, tmp_path):
    """for_s is on device time: half of it passes before kill -9, the rest after the restart."""
    rule = '[rules.fast]\nmetric = "speed_kmh"\napplies_to = ["vehicle"]\nfire_above = 100.0\nfor_s = 60.0\n'
    (tmp_path / "rules.toml").write_text(rule)
    daemon = alerting(alerts__rules_file=tmp_path / "rules.toml")
    alerts.publish(publisher, daemon, "V1", 100, speed=120)

    pending = "alert_state", "phase = 'pending'", "volt_internal"
    harness.wait_for(lambda: harness.count(database, *pending), what="the pending state")
    daemon.kill()
    daemon.start()
    alerts.publish(publisher, daemon, "V1", 70, speed=121)
    alerts.publish(publisher, daemon, "V1", 30, speed=122)
    webhook.hears("vehicle V1: fast warning: speed")
    (found,) = alerts.episodes(database)
    assert found["peak_value"] == 122


def test_webhook_that_is_down_receives_everything_once_in_order(alerting, publisher, webhook):
    daemon = alerting()
    webhook.down()
    alerts.publish(publisher, daemon, "V1", speed=150)
    harness.wait_for(lambda: daemon.status()["deliveries_failed_total"] > 0, what="a failed attempt")
    assert "hook" in daemon.status()["channels_failing"]
    alerts.publish(publisher, daemon, "V1", speed=90)
    webhook.up()
    webhook.hears("overspeed warning: ", "overspeed warning is over", within_s=60)
    first, second = webhook.lines
    assert "is over" in second, first


def test_rules_are_read_again_and_a_broken_file_changes_nothing(alerting, publisher, webhook, tmp_path):
    """SIGHUP: an open episode continues under the new limits."""
    path = tmp_path / "rules.toml"
    rule = '[rules.fast]\nmetric = "speed_kmh"\napplies_to = ["vehicle"]\nfire_above = {}\n'
    path.write_text(rule.format(100.0))
    daemon = alerting(alerts__rules_file=path)
    alerts.publish(publisher, daemon, "V1", speed=110)
    webhook.hears("vehicle V1: fast warning: ")
    path.write_text("[rules.fast]\nmetric = 7\n")
    daemon.process.send_signal(signal.SIGHUP)
    harness.wait_for(lambda: daemon.events("settings.refused"), what="the refusal")
    alerts.publish(publisher, daemon, "V2", speed=110)
    webhook.hears("vehicle V2: fast warning: ")
    path.write_text(rule.format(140.0))
    daemon.process.send_signal(signal.SIGHUP)
    harness.wait_for(lambda: daemon.events("settings.reloaded"), what="the reload")
    alerts.publish(publisher, daemon, "V1", speed=112)
    webhook.hears("vehicle V1: fast warning is over")


def test_a_broker_that_is_away_is_one_alert(make_daemon, broker_proxy, publisher, webhook, tmp_path):
    """Not one for every vehicle that seems silent."""
    text = (resources.share("config") / "rules.toml").read_text()
    text = text.replace(
        "fire_above = 30.0\nclear_below = 5.0\nfire_when", "fire_above = 4.0\nclear_below = 3.0\nfire_when"
    )
    text = text.replace("fire_above = 300.0", "fire_above = 15.0")
    (tmp_path / "rules.toml").write_text(text)
    daemon = make_daemon(
        mqtt=broker_proxy.address,
        alerts__channels__hook__url=webhook.url,
        alerts__rules_file=tmp_path / "rules.toml",
        mqtt__reconnect_max_s=1,
    ).start()
    vehicles = [f"{daemon.name}/vehicle/V{number}" for number in range(20)]

    def all_report():
        at = dt.datetime.now(dt.UTC).isoformat()
        publisher.flush([publisher.publish(topic, {"timestamp": at, "soc": 50}) for topic in vehicles])

    all_report()
    harness.wait_for(lambda: daemon.status().get("readings_written_total") == 20, what="the readings")
    broker_proxy.shut_out()
    broker_proxy.cut()
    webhook.hears("ingest_lag critical: ", within_s=30)
    with contextlib.suppress(AssertionError):
        harness.wait_for(lambda: any("stale" in line for line in webhook.lines), 16)
    assert len(webhook.lines) == 1, webhook.lines
    all_report()  # a device that is silent once the broker is back is rightly stale
    broker_proxy.admit()
    webhook.hears("ingest_lag critical is over", within_s=30)
    assert len(webhook.lines) == 2, webhook.lines


def test_a_database_that_is_away_is_notified_at_once_and_recorded_later(make_daemon, database, publisher, webhook):
    """There is no outbox then: it notifies from memory, once, and the episode is in the table afterwards."""
    info = conninfo.conninfo_to_dict(database)
    proxy = proxies.Proxy(str(info["host"]), int(info["port"]))
    try:
        daemon = make_daemon(
            database__dsn=conninfo.make_conninfo(database, host=proxy.address[0], port=proxy.address[1]),
            alerts__channels__hook__url=webhook.url,
            spool__after_s=1,
            spool__min_free_bytes=0,
        ).start()
        harness.wait_for(lambda: daemon.events("jobs.leading"), what="the lead")
        proxy.shut_out()
        proxy.cut()
        alerts.publish(publisher, daemon, "V1", soc=50)
        webhook.hears("ingest_lag critical: the spool is in use", within_s=40)
        proxy.admit()
        webhook.hears("ingest_lag critical is over", within_s=40)
        (found,) = harness.wait_for(
            lambda: alerts.episodes(database, "resolved_at IS NOT NULL"), what="the episode's end"
        )
        assert (found["rule"], found["device_type"]) == ("ingest_lag", "system")
        assert len(alerts.episodes(database)) == 1
        assert len(webhook.lines) == 2
    finally:
        proxy.close()
