"""Clocks, silence and outages, from end to end: alerts that must be raised, and alerts that must not."""

import signal
import time

import psycopg
import pytest
from psycopg import conninfo

from support import alerts, databases, harness, proxies
from voltd import resources


@pytest.fixture
def hasty(tmp_path):
    """A function: the shipped rules, but a device is stale after so many seconds."""

    def make(seconds):
        text = (resources.share("config") / "rules.toml").read_text()
        assert "fire_above = 300.0" in text
        path = tmp_path / "rules.toml"
        path.write_text(text.replace("fire_above = 300.0", f"fire_above = {seconds:.1f}"))
        return path

    return make


def _one(database, statement, *values):
    return next(iter(databases.ask(database, statement, values)), None)


def _healthy(database):
    """Returns once silence counts, so that the rest of the test has no time of grace."""
    harness.wait_for(lambda: _one(database, "SELECT healthy_since FROM volt_internal.alert_progress")[0], what="health")


class _Looks:
    """Reloads the rules: the daemon measures clocks after that, and then once a minute."""

    def __init__(self, daemon, database):
        self._daemon, self._database = daemon, database
        self._reloads = 0

    def _seen(self, kind, device):
        return _one(self._database, f"SELECT last_seen_at FROM volt.{kind}_current WHERE {kind}_id = %s", device)

    def publish(self, publisher, kind, device, seconds_ago, **values):
        before = self._seen(kind, device)
        alerts.publish(publisher, self._daemon, device, seconds_ago, kind=kind, **values)
        harness.wait_for(lambda: self._seen(kind, device) != before, what=f"{device} in the current state")

    def look(self):
        self._reloads += 1
        self._daemon.process.send_signal(signal.SIGHUP)
        harness.wait_for(lambda: self._daemon.events("settings.reloaded") >= self._reloads, what="the reload")

    def counts(self, device):
        """How many measurements in a row have found its clock off; None: none is stored."""
        found = _one(
            self._database,
            "SELECT (state ->> 'count')::int FROM volt_internal.alert_state"
            " WHERE rule = 'clock_skew' AND device_id = %s"
            " AND phase = 'pending'",
            device,
        )
        return found and found[0]


def test_clocks_that_are_off(alerting, publisher, webhook, database):
    """Fires at the third measurement in a row, behind or ahead; resolves within 5 s. One wrong time is ignored."""
    with psycopg.connect(database) as connection:  # as a daemon left it that ended a moment ago: no two minutes to wait
        connection.execute(
            "UPDATE volt_internal.alert_progress SET healthy_since = now() - INTERVAL '1 hour',"
            " healthy_at = now() + INTERVAL '10 s'"
        )
    daemon = alerting(current_interval_s=0.1)
    looks = _Looks(daemon, database)
    harness.wait_for(lambda: daemon.events("rules.checked"), what="the look at the start")
    looks.publish(publisher, "vehicle", "ODD", -250, soc=50)
    for number in (1, 2):
        for seconds in (41, 40):  # however many readings between two looks
            looks.publish(publisher, "vehicle", "BEHIND", seconds, soc=50)
        looks.publish(publisher, "meter", "AHEAD", -45, power=5)
        looks.look()
        harness.wait_for(lambda n=number: looks.counts("BEHIND") == looks.counts("AHEAD") == n, what=f"look {number}")
        looks.publish(publisher, "vehicle", "ODD", 0, soc=50)
    assert webhook.lines == []
    looks.publish(publisher, "vehicle", "BEHIND", 40, soc=50)
    looks.publish(publisher, "meter", "AHEAD", -45, power=5)
    looks.look()
    webhook.hears(
        "vehicle BEHIND: clock_skew warning: clock off by 4", "meter AHEAD: clock_skew warning: clock off by 4"
    )
    looks.publish(publisher, "vehicle", "BEHIND", 15, soc=50)  # better, but not right
    looks.publish(publisher, "meter", "AHEAD", 0, power=5)
    looks.look()
    webhook.hears("meter AHEAD: clock_skew warning is over")
    looks.publish(publisher, "vehicle", "ODD", 0, soc=50)
    looks.publish(publisher, "vehicle", "BEHIND", 2, soc=50)
    looks.look()
    webhook.hears("vehicle BEHIND: clock_skew warning is over")
    assert len(webhook.lines) == 4, webhook.lines
    assert looks.counts("ODD") is None
    assert {one["device_id"] for one in alerts.episodes(database)} == {"BEHIND", "AHEAD"}


def test_a_clock_that_is_an_hour_behind(alerting, publisher, webhook, database):
    """Once that is certain, its readings are evaluated at the corrected time, also after kill -9."""
    with psycopg.connect(database) as connection:
        connection.execute(
            "UPDATE volt_internal.alert_progress SET healthy_since = now() - INTERVAL '1 hour',"
            " healthy_at = now() + INTERVAL '10 s'"
        )
    daemon = alerting(current_interval_s=0.1)
    looks = _Looks(daemon, database)
    for number in (1, 2, 3):
        looks.publish(publisher, "vehicle", "BEHIND", 3600, speed=50)
        looks.look()
        harness.wait_for(lambda n=number: n == 3 or looks.counts("BEHIND") == n, what=f"look {number}")
    webhook.hears("vehicle BEHIND: clock_skew warning: clock off by 3600")
    looks.publish(publisher, "vehicle", "BEHIND", 3600, speed=150)
    webhook.hears("vehicle BEHIND: overspeed warning: speed 150 km/h")
    daemon.kill()
    daemon.start()
    alerts.publish(publisher, daemon, "BEHIND", 3600, speed=151)
    alerts.publish(publisher, daemon, "BEHIND", 3600, speed=50)
    webhook.hears("vehicle BEHIND: overspeed warning is over")
    assert len(alerts.episodes(database)) == 2
    assert len(set(webhook.lines)) == 3, webhook.lines  # a daemon that is killed while sending may send again


def test_who_is_stale_when_silent(make_daemon, publisher, webhook, database, hasty):
    """Meters as vehicles are; not one in maintenance, retired, never seen, or known from a retained message only."""
    registered = {"SHOP": "maintenance", "OLD": "retired", "NEW": "active", "RUN": "active", "KEPT": "active"}
    with psycopg.connect(database) as connection:
        for vehicle, status in registered.items():
            connection.execute("INSERT INTO volt.vehicle (vehicle_id, status) VALUES (%s, %s)", (vehicle, status))
    daemon = make_daemon(alerts__channels__hook__url=webhook.url, alerts__rules_file=hasty(3))
    alerts.publish(publisher, daemon, "KEPT", retain=True, soc=50)

    def stale():
        return {(one["device_type"], one["device_id"]) for one in alerts.episodes(database)}

    try:
        daemon.start()
        _healthy(database)
        for vehicle in ("SHOP", "OLD", "RUN"):
            alerts.publish(publisher, daemon, vehicle, soc=50)
        alerts.publish(publisher, daemon, "M1", kind="meter", power=5)
        webhook.hears("vehicle RUN: stale warning: silent for", "meter M1: stale warning: silent for")
        assert harness.count(database, "vehicle_current") == 4
        assert stale() == {("vehicle", "RUN"), ("meter", "M1")}
        alerts.publish(publisher, daemon, "M1", kind="meter", power=5)
        with psycopg.connect(database) as connection:
            connection.execute("UPDATE volt.vehicle SET status = 'active' WHERE vehicle_id = 'SHOP'")
        webhook.hears("meter M1: stale warning is over: heard again", "vehicle SHOP: stale warning: silent for")
        assert stale() == {("vehicle", "RUN"), ("meter", "M1"), ("vehicle", "SHOP")}
    finally:
        publisher.flush([publisher.publish(f"{daemon.name}/vehicle/KEPT", b"", retain=True)])


def test_a_device_sends_and_everything_is_refused(alerting, publisher, webhook, database, hasty):
    """The alert says that everything is refused, what and since when; it resolves with the first accepted reading."""
    daemon = alerting(alerts__rules_file=hasty(3))
    _healthy(database)
    alerts.publish(publisher, daemon, "M1", kind="meter", power=5)
    harness.wait_for(lambda: harness.count(database, "meter_current"), what="a sign of life")
    alerts.publish(publisher, daemon, "M1", kind="meter", kwhConsumedAcTotal="broken")
    alerts.publish(publisher, daemon, "NEW", kind="meter", kwhConsumedAcTotal="broken")
    webhook.hears("meter M1: stale warning: sends, but everything is refused: wrong_type kwhConsumedAcTotal since 20")
    shown = _one(
        database, "SELECT refused_reason, refused_since > last_seen_at FROM volt.device_liveness WHERE device_id = 'M1'"
    )
    assert shown == ("wrong_type", True)
    alerts.publish(publisher, daemon, "M1", kind="meter", power=5)
    webhook.hears("meter M1: stale warning is over: heard again")
    assert [one["device_id"] for one in alerts.episodes(database)] == ["M1"]  # NEW has sent nothing else


def test_silence_while_the_spool_is_in_use(alerting, publisher, webhook, database, hasty):
    """The database is away longer than it takes to be stale: one alert, of voltd itself, and its end.

    A reading that exceeded a limit meanwhile notifies when it leaves the spool: it is not late yet.
    """
    info = conninfo.conninfo_to_dict(database)
    proxy = proxies.Proxy(str(info["host"]), int(info["port"]))
    try:
        daemon = alerting(
            database__dsn=conninfo.make_conninfo(database, host=proxy.address[0], port=proxy.address[1]),
            database__retry_max_s=0.5,
            spool__after_s=0.5,
            spool__min_free_bytes=0,
            alerts__rules_file=hasty(9),
        )
        _healthy(database)
        for number in range(20):
            alerts.publish(publisher, daemon, f"V{number}", soc=50)
        harness.wait_for(lambda: harness.count(database, "vehicle_current") == 20, what="the vehicles")
        proxy.shut_out()
        proxy.cut()
        away_at = time.monotonic()
        for number in range(10):
            alerts.publish(publisher, daemon, f"V{number}", speed=150 if number == 9 else 50)
        webhook.hears("ingest_lag critical: the spool is in use")
        harness.wait_for(lambda: daemon.status()["readings_spooled"] == 10, what="readings in the spool")
        harness.wait_for(lambda: time.monotonic() > away_at + 11, what="an outage that is no hiccup")
        proxy.admit()
        webhook.hears("ingest_lag critical is over", "vehicle V9: overspeed warning: ", within_s=30)
        assert harness.count(database, "vehicle_reading") == 30
        daemon.process.send_signal(signal.SIGHUP)  # then it evaluates silence at once
        harness.wait_for(lambda: daemon.events("settings.reloaded"), what="the reload")
        alerts.publish(publisher, daemon, "V0", speed=150)
        webhook.hears("vehicle V0: overspeed warning: ")
        assert sorted(one["rule"] for one in alerts.episodes(database)) == ["ingest_lag", "overspeed", "overspeed"]
        (found,) = alerts.episodes(database, "device_type = 'system'")
        assert (found["rule"], found["device_id"]) == ("ingest_lag", daemon.name)
        assert found["resolved_at"] is not None
        assert len(webhook.lines) == 4, webhook.lines
        daemon.terminate()
    finally:
        proxy.close()
