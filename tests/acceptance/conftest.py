"""A migrated database, a daemon as a process, and a publisher for each acceptance test."""

import secrets

import pytest

import harness
from voltd.database import migrate


@pytest.fixture
def database(fresh_database):
    """DSN of a database with voltd's schema."""
    migrate.migrate(fresh_database, migrate.MigrateOptions(), report=lambda _line: None)
    return fresh_database


@pytest.fixture
def make_daemon(database, broker, tmp_path):
    """A function that makes daemons (not started); they are gone after the test."""
    made = []

    def make(*, mqtt=None, **settings):
        name = f"t{secrets.token_hex(4)}"
        address = mqtt or (broker.host, broker.port)
        daemon = harness.Daemon(dsn=database, mqtt=address, name=name, log=tmp_path / f"{name}.log", **settings)
        made.append(daemon)
        return daemon

    yield make
    for daemon in made:
        daemon.close()


@pytest.fixture
def daemon(make_daemon):
    """A running daemon."""
    return make_daemon().start()


@pytest.fixture
def publisher(broker):
    made = harness.Publisher(broker.host, broker.port)
    yield made
    made.close()


@pytest.fixture
def broker_proxy(broker):
    """A proxy in front of the broker."""
    proxy = harness.Proxy(broker.host, broker.port)
    yield proxy
    proxy.close()
