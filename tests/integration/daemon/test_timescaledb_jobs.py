"""TimescaleDB's own jobs, failing and overdue for real: what voltd does in their place, and what it says."""

import datetime as dt
import os
import time

import psycopg
import pytest
import structlog

from support import commands, harness
from support.schema import at, materialise, store, vehicle
from voltd import config, errors, metrics
from voltd.daemon import jobs, policy_watch
from voltd.database import locks, policies
from voltd.rules.cycle import interfaces

HOURLY = "refresh of volt.vehicle_hourly"


@pytest.fixture
def community(database_of):
    return database_of("timescale", schema=True)


@pytest.fixture
def owner(community):
    """A superuser's connection."""
    with psycopg.connect(community, autocommit=True) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        yield connection


def _settings(dsn, *, owner=True):
    """The daemon's, which logs in as its role; with the owner's way into the database, or without."""
    owners = f"{dsn} options='-c role=volt_owner'" if owner else None
    return config.Settings(database={"dsn": f"{dsn} options='-c role=volt_writer'", "migrate_dsn": owners})


def _overdue(owner):
    """TimescaleDB refreshes no more, and was to have begun hours ago."""
    owner.execute(
        "SELECT alter_job(job_id, scheduled => false, initial_start => now() - INTERVAL '5 hours')"
        " FROM timescaledb_information.jobs WHERE proc_name = 'policy_refresh_continuous_aggregate'"
    )


def _late(owner):
    """An hour is stored as TimescaleDB has computed it, then a reading of it arrives."""
    store(owner, [vehicle("late", at(0, 10), speed=10.0), vehicle("late", at(2), speed=1.0)])
    materialise(owner)
    store(owner, [vehicle("late", at(0, 20), speed=50.0)])


def _readings(owner):
    return owner.execute(
        "SELECT readings FROM volt.vehicle_hourly WHERE vehicle_id = 'late' AND hour = %s", [at(0)]
    ).fetchone()


def _look(settings):
    """A look of the leader with what follows from it; the metric and the log."""
    counters = metrics.Metrics()
    watch = policy_watch.PolicyWatch(settings, counters)
    with structlog.testing.capture_logs() as logs:
        with psycopg.connect(settings.database.dsn, autocommit=True) as connection:
            due = watch.look(connection)
        for job in due:
            with watch.connect() as connection:
                watch.refresh(connection, job, lambda: True)
    return counters.timescaledb_jobs_failing, logs


def _job(connection, name):
    return next(job for job in policies.look(connection) or [] if job.name == name)


def test_every_policy_is_known(owner):
    """Also to the daemon's role; aggregates come before those that are made of them."""
    owner.execute("SET ROLE volt_writer")
    found = policies.look(owner)
    assert found is not None
    names = [job.name for job in found]
    assert names[:2] == [HOURLY, "refresh of volt.vehicle_daily"]
    assert set(names[4:]) == {"columnstore of volt.meter_reading", "columnstore of volt.vehicle_reading"}
    first = found[0]
    assert (first.owner, first.bucket, first.every) == ("volt_owner", dt.timedelta(hours=1), dt.timedelta(minutes=10))
    assert first.refresh_to == dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0) - dt.timedelta(
        hours=1
    )
    assert not first.overdue
    assert not policies.may_refresh(owner, first)


def test_an_overdue_refresh_is_done(community, owner):
    """By the daemon itself, through the owner's way into the database: the late reading counts."""
    _late(owner)
    _overdue(owner)
    assert _readings(owner) == (1,)
    failing, logs = _look(_settings(community))
    assert _readings(owner) == (2,)
    assert HOURLY in failing
    done = [one["aggregate"] for one in logs if one["event"] == "aggregate.refresh_done"]
    assert done == ["volt.vehicle_hourly", "volt.vehicle_daily", "volt.meter_hourly", "volt.meter_daily"]


def test_the_daemons_role_alone_may_not(community, owner):
    """It says what an admin does; that works."""
    _late(owner)
    _overdue(owner)
    _, logs = _look(_settings(community, owner=False))
    (line,) = [one for one in logs if one.get("aggregate") == "volt.vehicle_hourly"]
    assert line["event"] == "aggregate.refresh_not_allowed"
    assert _readings(owner) == (1,)
    owner.execute("SET ROLE volt_owner")
    owner.execute(line["do"].split("as volt_owner: ")[1])
    assert _readings(owner) == (2,)


def test_the_leader_does_it_by_itself(community, owner):
    _late(owner)
    _overdue(owner)
    settings = _settings(community)
    counters = metrics.Metrics()
    well = interfaces.Report(0.0, spooling=False, healthy=True)
    watch = policy_watch.PolicyWatch(settings, counters)
    made = jobs.Jobs(settings, set_fleets=lambda _fleets: None, look=lambda: well, policies=watch)
    made.start()
    try:
        harness.wait_for(lambda: made._leader.holds(locks.LEADER), what="this daemon to lead")
        made._scheduler.modify_job("policies", next_run_time=dt.datetime.now(dt.UTC))
        harness.wait_for(lambda: _readings(owner) == (2,), what="the refresh")
    finally:
        made.stop().join()
    assert HOURLY in (counters.timescaledb_jobs_failing or [])


def _failed(owner):
    """Asks TimescaleDB to run its jobs now, and again: other tests may have taken all its workers."""
    owner.execute("SELECT _timescaledb_functions.start_background_workers()")
    time.sleep(1.0)
    return _job(owner, HOURLY).failed


def test_a_run_that_fails_is_named_with_its_error(community, owner, broker):
    """TimescaleDB runs the job and fails; voltd tries, says that it fails too, and the check has the error's text.

    The table of the aggregate takes no row: TimescaleDB has an error of its own for that, which hides the cause.
    """
    _late(owner)
    ((table,),) = owner.execute(
        "SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)"
        " FROM timescaledb_information.continuous_aggregates WHERE view_name = 'vehicle_hourly'"
    ).fetchall()
    owner.execute(
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END'"
    )
    owner.execute(f"CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION public.refuse()")
    number = _job(owner, HOURLY).job_id
    owner.execute("SELECT alter_job(%s, next_start => now())", [number])
    harness.wait_for(lambda: _failed(owner), 150, "the job to fail")
    owner.execute("SELECT alter_job(%s, scheduled => false)", [number])  # its second try comes at once
    harness.wait_for(lambda: not _job(owner, HOURLY).running, 60, "the job to end")
    found = _job(owner, HOURLY)
    assert found.failures > 0
    assert found.error
    _, logs = _look(_settings(community))
    (failing,) = [one for one in logs if one["event"] == "timescaledb_job.failing" and one["what"] == HOURLY]
    assert failing["trouble"] == f"failed: {found.error}"
    assert "aggregate.refresh_failed" in [one["event"] for one in logs if one.get("aggregate") == "volt.vehicle_hourly"]
    environ = {
        **os.environ,
        "VOLTD_DATABASE__DSN": f"{community} options='-c role=volt_writer'",
        "VOLTD_MQTT__HOST": broker.host,
        "VOLTD_MQTT__PORT": str(broker.port),
    }
    lines = commands.run(["check"], environ).stdout.splitlines()
    warned = next(n for n, line in enumerate(lines) if line.startswith(f"warn  timescaledb: job {number}, {HOURLY}"))
    assert found.error in lines[warned]
    assert f"alter_job({number}" in lines[warned + 1]
    assert f"CALL run_job({number})" in lines[warned + 2]
    owner.execute(f"DROP TRIGGER refuse ON {table}")
    _, logs = _look(_settings(community))
    assert "aggregate.refresh_done" in [one["event"] for one in logs if one.get("aggregate") == "volt.vehicle_hourly"]
    assert _readings(owner) == (2,)


def test_nothing_happens_on_the_apache_edition(database_of):
    """It has no such jobs: nothing is logged, nothing is shown, and nobody is warned."""
    dsn = database_of("apache", schema=True)
    assert _look(_settings(dsn)) == (None, [])
    with psycopg.connect(dsn) as connection:
        assert policies.look(connection) is None


def test_a_database_that_ends_is_an_error_of_ours(owner):
    owner.execute("SET statement_timeout = '1s'")
    owner.close()
    with pytest.raises(errors.StoreUnavailable):
        policies.look(owner)
