"""Servers and databases for the tests: real ones, started once per run and gone afterwards.

`voltd.local` decides where they come from; VOLTD_LOCAL_SOURCE (docker, host, private) forces one source and
VOLTD_TEST_DATABASE_DSN, VOLTD_TEST_MQTT_HOST, VOLTD_TEST_MQTT_PORT point at servers that exist.
"""

import contextlib
import os
import pathlib
import random
import re

import hypothesis
import psycopg
import pytest
from xdist.scheduler import loadfile

from support import commands, databases, homes
from voltd import errors, local

# How long an example takes says nothing where two cores are shared with servers and other tests.
hypothesis.settings.register_profile("voltd", deadline=None)
hypothesis.settings.load_profile("voltd")

# With several workers, the long files come first: none is left to one worker at the end. Those of a rank come by name:
# acceptance tests wait, tests of the schema compute, and both at once keep the cores busy.
_RANK = {
    "faults": 0, "acceptance": 1, "mixed": 1, "integration/schema": 1, "integration/bench": 1, "integration": 2,
    "fuzz": 3, "contract": 4,
}  # fmt: skip
_POSTGRES_CONF = ["max_wal_size = '256MB'"]  # of each server, and these may live in memory


def _progress_of(config):
    """Writes a line to the terminal although pytest captures output."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    capture = config.pluginmanager.getplugin("capturemanager")

    def progress(line):
        with capture.global_and_fixture_disabled():
            reporter.write_line(line)

    return progress


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Each worker reads the files in an order of its own, so that each compiles others; the tests are sorted later."""
    report = yield
    if isinstance(collector, pytest.Directory) and hasattr(collector.config, "workerinput"):
        random.Random(collector.config.workerinput["workerid"]).shuffle(report.result)
    return report


def pytest_collection_modifyitems(config, items):
    """Marks what needs servers, and puts the files into their order."""
    for item in items:
        if "servers" in getattr(item, "fixturenames", ()):
            item.add_marker("servers")
    if config.getoption("numprocesses", None) or hasattr(config, "workerinput"):
        here = pathlib.Path(__file__).parent

        def place(item):
            path = item.path.relative_to(here)
            folders = (str(one) for one in path.parents)  # the innermost first
            return next((_RANK[one] for one in folders if one in _RANK), len(_RANK)), path.name, path

        items.sort(key=place)


class _FilesByEdition(loadfile.LoadFileScheduling):
    """Keeps the tests of a file on one worker, but those of either edition, which share nothing, on one each."""

    def _split_scope(self, nodeid):
        edition = re.search(r"[\[-](timescale|apache)[]-]", nodeid)
        return super()._split_scope(nodeid) + (edition[1] if edition else "")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """In place of xdist's own of the option ``--dist loadfile``."""
    return _FilesByEdition(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_finish(session):
    """Downloads before the first test starts, so that no test's time limit pays for it."""
    if not session.config.option.collectonly and any("servers" in item.fixturenames for item in session.items):
        with contextlib.suppress(errors.ServersNotFound):  # the fixture will say it
            local.prepare(_progress_of(session.config))


@pytest.fixture(scope="session", autouse=True)
def _nothing_left():
    yield
    commands.kill_all()
    databases.end_sessions()


@pytest.fixture(scope="session")
def servers(pytestconfig):
    """A broker and a database, real and private to this run."""
    started = local.start(
        homes.new("servers"), progress=_progress_of(pytestconfig), postgres_conf=_POSTGRES_CONF, ephemeral=True
    )
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


@pytest.fixture(scope="session")
def _cluster(database_dsn):
    made = databases.Cluster(database_dsn)
    yield made
    made.close()


@pytest.fixture
def fresh_database(_cluster):
    """DSN (superuser) of a new database with nothing but the extension timescaledb in it."""
    with _cluster.database(schema=False) as dsn:
        yield dsn


@pytest.fixture
def migrated_database(_cluster):
    """DSN (superuser) of a new database with voltd's schema, migrated with default settings."""
    with _cluster.database(schema=True) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def module_database(_cluster):
    """The same for all tests of a module: each of them finds what the ones before have left."""
    with _cluster.database(schema=True) as dsn:
        yield dsn


@pytest.fixture(scope="session")
def editions(database_dsn):
    """The licences that these servers can do: a Community build can also behave as Apache-2."""
    with psycopg.connect(database_dsn) as connection:
        (license_,) = connection.execute("show timescaledb.license").fetchone()
    return ["timescale", "apache"] if license_ == "timescale" else ["apache"]


@pytest.fixture(scope="session")
def _edition_clusters(editions, _cluster):
    """Cluster by edition; a second one starts when first asked for (the licence is the whole server's)."""
    started = {}

    def cluster_of(edition):
        if edition not in editions:
            pytest.skip(f"these servers have no TimescaleDB of edition {edition!r}, only {editions}")
        if edition == editions[0]:
            return _cluster
        if edition not in started:
            environ = {name: value for name, value in os.environ.items() if not name.startswith("VOLTD_TEST_")}
            try:
                extra = local.start(
                    homes.new(edition),
                    progress=lambda _line: None,
                    environ=environ,
                    postgres_conf=[*_POSTGRES_CONF, f"timescaledb.license = '{edition}'"],
                )
            except errors.ServersNotFound as problem:
                pytest.skip(f"no second cluster for edition {edition!r}: {problem}")
            started[edition] = extra, databases.Cluster(extra.database.dsn)
        return started[edition][1]

    yield cluster_of
    for extra, _ in started.values():
        extra.stop()


@pytest.fixture
def database_of(_edition_clusters):
    """A function: edition ('timescale' or 'apache') -> DSN of a fresh database of it; skips where there is none.

    With ``schema`` it has voltd's, migrated with default settings.
    """
    with contextlib.ExitStack() as made:
        yield lambda edition, *, schema=False: made.enter_context(_edition_clusters(edition).database(schema=schema))
