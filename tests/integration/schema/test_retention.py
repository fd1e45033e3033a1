"""How long raw readings are kept: raised by a daemon, lowered only on request, and never at the cost of the history."""

import datetime as dt

import psycopg
import pytest

from support import schema
from voltd import models
from voltd.database import migrate, retention, rollup


def quiet(_line):
    """A report that nobody reads."""


@pytest.fixture
def migrated(migrated_database):
    return migrated_database


@pytest.mark.parametrize("edition", ["timescale", "apache"])
def test_retention_is_raised_and_never_lowered_by_a_daemon(database_of, edition):
    """A daemon that takes older readings has them kept; no policy of TimescaleDB drops them; one of before goes."""
    dsn = database_of(edition)
    migrate.migrate(dsn, migrate.MigrateOptions(raw_retention_days=90), report=quiet)
    with psycopg.connect(dsn, autocommit=True) as connection:
        if edition == "timescale":
            connection.execute("SELECT add_retention_policy('volt.vehicle_reading', drop_after => INTERVAL '92 days')")
        connection.execute("SET ROLE volt_writer")
        assert retention.ensure(connection, 3650)
        assert not retention.ensure(connection, 90)
        connection.execute("RESET ROLE")
        assert connection.execute("SELECT volt_internal.setting_number('raw_retention_days')").fetchone() == (3650,)
        dropping = "SELECT FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention'"
        assert connection.execute(dropping).fetchall() == []


def test_migrate_lowers_the_retention_only_on_request(migrated):
    """A shell without the daemon's settings must not delete what the daemon keeps; it says so instead."""
    said = []
    migrate.migrate(migrated, migrate.MigrateOptions(raw_retention_days=400), report=quiet)
    migrate.migrate(migrated, migrate.MigrateOptions(raw_retention_days=90), report=said.append)
    assert any("stay 400 days" in line for line in said)
    options = migrate.MigrateOptions(raw_retention_days=90, lower_retention=True)
    migrate.migrate(migrated, options, report=quiet)
    with psycopg.connect(migrated) as connection:
        assert connection.execute("SELECT volt_internal.setting_number('raw_retention_days')").fetchone() == (90,)


def test_retention_that_drops_nothing_leaves_the_past_open(database_of):
    """Apache-2: readings older than the retention of yesterday still reach the hourly views once they are taken."""
    dsn = database_of("apache")
    migrate.migrate(dsn, migrate.MigrateOptions(), report=quiet)
    with psycopg.connect(dsn, autocommit=True) as connection:
        schema.keep(connection)
        assert retention.run_once(connection).chunks == 0
        retention.ensure(connection, 3650)
        with connection.transaction():
            closing = rollup.begin_batch(connection)
            at = dt.datetime.now(dt.UTC) - dt.timedelta(days=2000)
            reading = models.MeterReading("m", at, 1.0, None, None, None, None, None, None, None, at)
            into = f"volt.meter_reading ({', '.join(reading._fields)})"
            connection.execute(f"INSERT INTO {into} VALUES ({', '.join(['%s'] * len(reading))})", reading)
            rollup.mark_late(connection, closing, [], [reading])
        schema.keep(connection)
        assert connection.execute("SELECT count(*) FROM volt.meter_hourly").fetchone() == (1,)
