"""Servers and databases for the tests: real ones, started once per run and gone afterwards.

`voltd.local` decides where they come from; VOLTD_LOCAL_SOURCE (docker, host, private) forces one source and
VOLTD_TEST_DATABASE_DSN, VOLTD_TEST_MQTT_HOST, VOLTD_TEST_MQTT_PORT point at servers that exist.
"""

import contextlib
import os
import pathlib
import secrets
import tempfile

import hypothesis
import psycopg
import pytest
from psycopg import conninfo, sql

from voltd import errors, local

# How long an example takes says nothing where two cores are shared with servers and other tests.
hypothesis.settings.register_profile("voltd", deadline=None)
hypothesis.settings.load_profile("voltd")


def _home(purpose):
    """A home that the servers' own user can reach; pytest's temporary folders are closed to others."""
    return pathlib.Path(tempfile.gettempdir(), f"voltd-test-{purpose}-{secrets.token_hex(6)}")


@contextlib.contextmanager
def _database_on(superuser_dsn):
    """A new database with the extension timescaledb; yields its DSN and drops it afterwards."""
    name = f"test_{secrets.token_hex(6)}"
    dsn = conninfo.make_conninfo(superuser_dsn, dbname=name)
    with psycopg.connect(superuser_dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("create extension if not exists timescaledb")
        yield dsn
    finally:
        with psycopg.connect(superuser_dsn, autocommit=True) as admin:  # a test may have restarted the server
            admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def _progress_of(config):
    """Writes a line to the terminal although pytest captures output."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    capture = config.pluginmanager.getplugin("capturemanager")

    def progress(line):
        with capture.global_and_fixture_disabled():
            reporter.write_line(line)

    return progress


def pytest_collection_finish(session):
    """Downloads before the first test starts, so that no test's time limit pays for it."""
    if not session.config.option.collectonly and any("servers" in item.fixturenames for item in session.items):
        with contextlib.suppress(errors.ServersNotFound):  # the fixture will say it
            local.prepare(_progress_of(session.config))


@pytest.fixture(scope="session")
def servers(pytestconfig):
    """A broker and a database, real and private to this run."""
    started = local.start(_home("servers"), progress=_progress_of(pytestconfig), ephemeral=True)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def broker(servers):
    """The broker; a test that stops or kills it starts it again."""
    return servers.broker


@pytest.fixture(scope="session")
def database_dsn(servers):
    """The superuser's DSN to the database `volt`."""
    return servers.database.dsn


@pytest.fixture
def fresh_database(database_dsn):
    """DSN (superuser) of a new database with nothing but the extension timescaledb in it."""
    with _database_on(database_dsn) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def module_database(database_dsn):
    """The same for all tests of a module: each of them finds what the ones before have left."""
    with _database_on(database_dsn) as dsn:
        yield dsn


@pytest.fixture(scope="session")
def editions(database_dsn):
    """The licences that these servers can do: a Community build can also behave as Apache-2."""
    with psycopg.connect(database_dsn) as connection:
        (license_,) = connection.execute("show timescaledb.license").fetchone()
    return ["timescale", "apache"] if license_ == "timescale" else ["apache"]


@pytest.fixture(scope="session")
def _edition_servers(servers, editions):
    """Superuser DSN by edition; a second cluster starts when first asked for (the licence is the whole server's)."""
    started = {}

    def dsn_of(edition):
        if edition not in editions:
            pytest.skip(f"these servers have no TimescaleDB of edition {edition!r}, only {editions}")
        if edition == editions[0]:
            return servers.database.dsn
        if edition not in started:
            environ = {name: value for name, value in os.environ.items() if not name.startswith("VOLTD_TEST_")}
            try:
                started[edition] = local.start(
                    _home(edition),
                    progress=lambda _line: None,
                    environ=environ,
                    postgres_conf=[f"timescaledb.license = '{edition}'"],
                )
            except errors.ServersNotFound as problem:
                pytest.skip(f"no second cluster for edition {edition!r}: {problem}")
        return started[edition].database.dsn

    yield dsn_of
    for extra in started.values():
        extra.stop()


@pytest.fixture
def database_of(_edition_servers):
    """A function: edition ('timescale' or 'apache') -> DSN of a fresh database of it; skips where there is none."""
    with contextlib.ExitStack() as databases:
        yield lambda edition: databases.enter_context(_database_on(_edition_servers(edition)))
