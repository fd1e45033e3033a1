"""Dead letters age out by retention.dead_letter_days, on both editions and with the daemon's rights."""

import datetime as dt

import psycopg
import pytest

from support import harness
from voltd import config
from voltd.daemon import jobs
from voltd.database import locks, migrate, retention
from voltd.rules.cycle import interfaces


@pytest.fixture(params=["timescale", "apache"])
def dsn(database_of, request):
    """A migrated database of each edition in turn, where dead letters are kept for 3 days."""
    dsn = database_of(request.param)
    migrate.migrate(dsn, migrate.MigrateOptions(dead_letter_days=3), report=lambda _line: None)
    return dsn


def add(dsn, count, days_ago):
    """So many dead letters that were received so long ago."""
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO volt.dead_letter (received_at, topic, payload, reason, detail, redelivery_key)"
            " SELECT now() - make_interval(secs => %s), 't', 'p', 'not_json', 'd', n FROM generate_series(1, %s) AS n",
            (days_ago * 86400, count),
        )


def ages(dsn):
    """How many there are by full days."""
    with psycopg.connect(dsn) as connection:
        statement = "SELECT extract(day FROM now() - received_at)::int, count(*) FROM volt.dead_letter GROUP BY 1"
        return dict(connection.execute(statement).fetchall())


def test_what_is_older_goes_and_the_rest_stays(dsn):
    """The daemon's role deletes through the retention alone, also more than it takes at once."""
    for count, days_ago in ((25_000, 3.01), (2, 40), (3, 2.99), (4, 0)):
        add(dsn, count, days_ago)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET ROLE volt_writer")
        assert retention.run_once(connection).dead_letters == 25_002
        assert retention.run_once(connection).dead_letters == 0
    assert ages(dsn) == {2: 3, 0: 4}


def test_the_setting_follows_migrate(dsn):
    """A longer or shorter time holds from the next migrate on."""
    add(dsn, 1, 5)
    add(dsn, 1, 2)
    migrate.migrate(dsn, migrate.MigrateOptions(dead_letter_days=6), report=lambda _line: None)
    with psycopg.connect(dsn, autocommit=True) as connection:
        assert retention.run_once(connection).dead_letters == 0
        migrate.migrate(dsn, migrate.MigrateOptions(dead_letter_days=1), report=lambda _line: None)
        assert retention.run_once(connection).dead_letters == 2


def test_the_daemons_job_does_it(dsn):
    """The scheduler's retention job, connected as the daemon's role, removes them without anybody's help."""
    add(dsn, 2, 10)
    add(dsn, 1, 0)
    settings = config.Settings(database={"dsn": f"{dsn} options='-c role=volt_writer'"})
    well = interfaces.Report(0.0, spooling=False, healthy=True)
    made = jobs.Jobs(settings, set_fleets=lambda _fleets: None, look=lambda: well)
    made.start()
    try:
        harness.wait_for(lambda: made._leader.holds(locks.LEADER), what="this daemon to lead")
        made._scheduler.modify_job("retention", next_run_time=dt.datetime.now(dt.UTC))
        harness.wait_for(lambda: ages(dsn) == {0: 1}, what="the old ones to go")
    finally:
        made.stop()
