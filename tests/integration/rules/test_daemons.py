"""Several daemons on one database, some with alerts switched off: the rules are checked, and see every reading."""

import argparse
import contextlib
import datetime as dt
import json

import psycopg
import pytest
from psycopg import conninfo

from support import alerts, harness, proxies
from voltd import config, models
from voltd.commands import check
from voltd.daemon import jobs, leader, wiring
from voltd.database import connections, locks
from voltd.pipeline.decode import decoder


class Rig:
    """A migrated database, and daemons on it that hear no broker; a test hands them their batches."""

    def __init__(self, dsn, stack):
        self.dsn, self._stack = dsn, stack

    def settings(self, name, **alerts):
        dsn = f"{self.dsn} options='-c role=volt_writer'"
        return config.Settings(instance=name, database={"dsn": dsn}, alerts=alerts, spool={"enabled": False})

    def daemon(self, name, **alerts):
        settings = self.settings(name, **alerts)
        made = wiring.Wiring(settings)
        self._stack.callback(self._end, made)
        made.jobs.start()
        return made

    def _end(self, made):
        """A process would just end; here connections must not outlive the test."""
        made.jobs.stop()
        made.store.close()
        if made.alerting is not None:
            made.alerting.cycle._close()

    def execute(self, statement, *values):
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            found = connection.execute(statement, values)
            return found.fetchall() if found.description else []

    def checks(self):
        """Returns once a daemon checks the rules, and every writer can know."""
        asked = "SELECT 1 FROM volt_internal.rule_bounds WHERE published_at > now() - INTERVAL '10 s'"
        harness.wait_for(lambda: self.execute(asked), what="a daemon that checks the rules")

    def excursions(self):
        return self.execute("SELECT count(*) FROM volt_internal.excursion")[0][0]


@pytest.fixture
def rig(migrated_database):
    with contextlib.ExitStack() as stack:
        yield Rig(migrated_database, stack)


def _stores(daemon, vehicle, **values):
    """One reading of now, in a batch of its own."""
    now = dt.datetime.now(dt.UTC)
    body = json.dumps({"timestamp": now.isoformat(), **values}).encode()
    message = models.Message(f"volt/vehicle/{vehicle}/telemetry", body, 1, now)
    daemon.store.write(decoder.Decoder(config.Topics(), config.Limits(), 90).decode([message]))


def test_the_leader_has_alerts_switched_off(rig):
    """Another one checks the rules, and sees what the first one stores: from its first batch on."""
    first = rig.daemon("first", enabled=False)
    harness.wait_for(lambda: rig.execute("SELECT 1 FROM volt.daemon"), what="the first to lead")
    rig.daemon("second", mqtt=False)
    rig.checks()
    _stores(first, "V1", speed=150.0)
    harness.wait_for(lambda: alerts.episodes(rig.dsn), what="the alert")
    assert [(one["rule"], one["device_id"]) for one in alerts.episodes(rig.dsn)] == [("overspeed", "V1")]


def test_every_daemon_has_alerts_switched_off(rig):
    """Nothing is recorded that no cycle will ever read, however long ago one did."""
    only = rig.daemon("only", enabled=False)
    _stores(only, "V1", speed=150.0)
    rig.execute(
        """INSERT INTO volt_internal.rule_bounds (bounds, late_after_s, published_at)
        VALUES ('[["speed_kmh", null, 120.0]]', 900, now() - INTERVAL '25 h')"""
    )
    again = rig.daemon("again", enabled=False)
    _stores(again, "V2", speed=150.0)
    assert rig.excursions() == 0


def test_the_daemon_that_checks_is_being_restarted(rig):
    """What is stored meanwhile waits for it."""
    rig.execute(
        """INSERT INTO volt_internal.rule_bounds (bounds, late_after_s, published_at)
        VALUES ('[["speed_kmh", null, 120.0], ["soc_pct", 15.0, null], ["of_a_later_version", 1, 2]]', 900,
          now() - INTERVAL '1 h')"""
    )
    other = rig.daemon("other", enabled=False)
    _stores(other, "V1", speed=150.0)
    _stores(other, "V2", speed=110.0, soc=50.0)
    assert rig.excursions() == 1
    rig.daemon("back", mqtt=False)
    harness.wait_for(lambda: alerts.episodes(rig.dsn), what="the alert")
    assert rig.excursions() == 0


def test_two_daemons_with_rules_of_their_own(rig, tmp_path):
    """The one that checks has the say: another's writer looks for what both files concern."""
    for name, limit in (("high", 140.0), ("low", 100.0)):
        (tmp_path / name).write_text(
            f'[rules.fast]\nmetric = "speed_kmh"\napplies_to = ["vehicle"]\nfire_above = {limit}\n'
        )
    rig.daemon("low", mqtt=False, rules_file=tmp_path / "low")
    rig.checks()
    high = rig.daemon("high", mqtt=False, rules_file=tmp_path / "high")
    _stores(high, "V1", speed=110.0)
    harness.wait_for(lambda: alerts.episodes(rig.dsn), what="the alert")


def test_check_says_who_checks_the_rules(rig, capsys):
    """Of a daemon with alerts switched off: whether another one is there to check them."""
    off = rig.settings("off", enabled=False)

    def line():
        check.run(argparse.Namespace(), off)
        (found,) = [one for one in capsys.readouterr().out.splitlines() if " alerts: " in one]
        return found

    off_line = "ok    alerts: switched off (alerts.enabled = false); "
    assert line() == f"{off_line}no daemon of this database checks the rules"
    rig.daemon("second", mqtt=False)
    rig.checks()
    assert (
        line()
        == "ok    alerts: switched off (alerts.enabled = false); another daemon of this database checks the rules"
    )


def test_a_daemon_that_died_long_ago(rig):
    """Its row goes with the first tidying; those that died today stay."""
    rig.execute(
        "INSERT INTO volt.daemon (instance, reported_at, lag_s, spooling, healthy) VALUES"
        " ('old', now() - INTERVAL '25 h', 0, false, true), ('today', now() - INTERVAL '23 h', 0, false, true)"
    )
    made = rig.daemon("here", enabled=False)
    harness.wait_for(lambda: rig.execute("SELECT 1 FROM volt.daemon WHERE instance = 'here'"), what="the report")
    harness.wait_for(lambda: made.jobs._leader.holds(locks.LEADER), what="the lead")
    made.jobs._scheduler.modify_job("retention", next_run_time=dt.datetime.now(dt.UTC))
    names = "SELECT instance FROM volt.daemon ORDER BY 1"
    harness.wait_for(lambda: rig.execute(names) == [("here",), ("today",)], what="the old one to go")


def test_the_holder_of_the_locks_dies(migrated_database):
    """What one held another takes, and only what it asks for; who lost its connection holds nothing."""
    connect = connections.connector(config.Settings(database={"dsn": migrated_database}))
    first, second = leader.Locks(connect, (1, 2)), leader.Locks(connect, (2, 3))
    try:
        assert first.take() == {1, 2}
        assert first.take() == set()
        assert second.take() == {3}
        with psycopg.connect(migrated_database, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = 1"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
        with pytest.raises(psycopg.OperationalError):
            first.take()
        assert not first.holds(1)
        assert not first.holds(2)
        assert second.take() == {2}
        assert first.take() == {1}
    finally:
        first.release()
        second.release()


def _outage(*daemons):
    """Whether all of these see the database away."""
    return all(one._leader.role in {leader.Role.OFFLINE, leader.Role.WAITS} for one in daemons)


def test_an_outage_that_all_daemons_see(migrated_database, monkeypatch):
    """The leader before an outage leads after it, however quick another one is: it knows what it has sent."""
    info = conninfo.conninfo_to_dict(migrated_database)
    proxy = proxies.Proxy(str(info["host"]).split(",")[0], int(info["port"]))
    with contextlib.ExitStack() as stack:
        stack.callback(proxy.close)
        rig = Rig(migrated_database, stack)
        rig.dsn = conninfo.make_conninfo(migrated_database, host=proxy.address[0], port=proxy.address[1])
        monkeypatch.setattr(jobs, "_LEAD_S", 1.5)
        first = rig.daemon("first", mqtt=False).jobs
        harness.wait_for(lambda: first._leader.holds(locks.RULES), what="the lead")
        monkeypatch.setattr(jobs, "_LEAD_S", 0.2)
        second = rig.daemon("second", mqtt=False).jobs
        harness.wait_for(lambda: second._leader.role is leader.Role.FOLLOWS, what="the second to follow")
        proxy.shut_out()
        proxy.cut()
        harness.wait_for(lambda: _outage(first, second), what="both to see the outage")
        proxy.admit()
        harness.wait_for(lambda: not _outage(first), what="the first to see its end")
        assert first._leader.holds(locks.RULES)
        assert not second._leader.holds(locks.RULES)
