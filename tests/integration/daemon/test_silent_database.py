"""A database that is silent rather than closed: nothing passes, and no error comes."""

import time

import psycopg
import pytest
from psycopg import conninfo

from support import alerts, harness
from support.rules import cycle_fakes
from voltd import config, metrics
from voltd.alerts import service
from voltd.daemon import jobs, leader
from voltd.database import connections, locks
from voltd.pipeline.write.excursions import Excursions
from voltd.rules.cycle import interfaces


@pytest.fixture
def dsn(migrated_database):
    return migrated_database


@pytest.fixture
def through(dsn, proxy):
    """The DSN of the way through the proxy."""
    return conninfo.make_conninfo(dsn, host=proxy.address[0], port=proxy.address[1])


def test_an_answer_that_never_comes(through, proxy):
    """Given up after the connection's own time, as an error of the server's; work that takes long is not silence."""
    settings = config.Settings(database={"dsn": through})
    connection = connections.connector(settings, patience_s=1.0)()
    rows = connection.execute("SELECT pg_sleep(0.3) FROM generate_series(1, 2)").fetchall()
    assert len(rows) == 2
    proxy.fall_silent()
    started = time.monotonic()
    with pytest.raises(psycopg.OperationalError, match="said nothing for 1 s"), connection.transaction():
        connection.execute("SELECT 1")
    assert 1.0 <= time.monotonic() - started < 10
    assert connection.closed


def test_silent_from_the_log_in_on(through, proxy):
    """A new connection is given up after the connect timeout twice, however long statements may take."""
    settings = config.Settings(database={"dsn": through, "connect_timeout_s": 2})
    plain = connections.Connection.connect

    def log_in(*args, **kwargs):
        connection = plain(*args, **kwargs)
        proxy.fall_silent()
        return connection

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(connections.Connection, "connect", log_in)
        started = time.monotonic()
        with pytest.raises(psycopg.OperationalError, match="said nothing for 2 s"):
            connections.connector(settings)()
    assert time.monotonic() - started < 10


def test_nobody_can_be_asked_while_the_database_is_silent(through, proxy, hook, monkeypatch):
    """The daemon that led sees it, judges itself, and tells what it finds."""
    monkeypatch.setattr(leader, "_ANSWER_S", 1.0)
    monkeypatch.setattr(jobs, "_LEAD_S", 0.5)
    settings = config.Settings(
        instance="t",
        database={"dsn": through, "connect_timeout_s": 1},
        alerts={"mqtt": False, "channels": {"hook": {"url": hook.url}}},
    )
    report = interfaces.Report(0.0, spooling=False, healthy=True)
    alerting = service.Alerting(
        settings,
        connections.connector(settings),
        metrics.Metrics(),
        daemon=cycle_fakes.ThisDaemon(lambda: report),
        excursions=Excursions(),
    )
    made = jobs.Jobs(settings, set_fleets=lambda _fleets: None, look=lambda: report, alerting=alerting)
    alerting.start()
    made.start()
    try:
        harness.wait_for(lambda: made._leader.holds(locks.RULES), what="this daemon to lead")
        proxy.fall_silent()
        report = interfaces.Report(100.0, spooling=True, healthy=False)
        harness.wait_for(lambda: hook.posts, 45, "the alert of the outage")
        assert "ingest_lag" in hook.lines[0]
    finally:
        stopped = time.monotonic()
        made.stop()
        alerting.stop(0.0)
        assert time.monotonic() - stopped < 1.0 * harness.contention()


def test_stopped_while_the_database_is_silent(through, proxy, broker, hook, tmp_path):
    """SIGTERM: it ends within 10 s, as ever, though a channel hangs, too."""
    daemon = harness.Daemon(
        dsn=through,
        mqtt=(broker.host, broker.port),
        name="silent",
        log=tmp_path / "log",
        alerts__channels__hook__url=hook.url,
    )
    daemon.start()
    publisher = harness.Publisher(broker.host, broker.port)
    hook.passes.clear()
    try:
        alerts.publish(publisher, daemon, "V1", speed=150)
        harness.wait_for(lambda: hook.tried, what="an alert that is being sent")
        harness.wait_for(lambda: daemon.events("jobs.leading") and harness.count(through, "daemon"), what="its report")
        proxy.fall_silent()
        started = time.monotonic()
        assert daemon.terminate(20.0) == 0
        assert time.monotonic() - started < 10.0
    finally:
        hook.passes.set()
        publisher.close()
        daemon.close()


def test_stopped(dsn, broker, tmp_path):
    """It takes itself off the list of daemons: one that is stopped has not died."""
    daemon = harness.Daemon(dsn=dsn, mqtt=(broker.host, broker.port), name="stops", log=tmp_path / "log")
    daemon.start()
    try:
        harness.wait_for(lambda: harness.count(dsn, "daemon"), what="its report")
        assert daemon.terminate() == 0
        assert harness.count(dsn, "daemon") == 0
        assert daemon.events("thread.left_behind") == 0
    finally:
        daemon.close()
