"""A migrated database, a daemon as a process, and a publisher for each acceptance test."""

import contextlib
import secrets

import pytest

from support import alerts, harness, proxies


@pytest.fixture
def database(migrated_database):
    """DSN of a database with voltd's schema."""
    return migrated_database


@pytest.fixture
def make_daemon(database, broker, tmp_path):
    """A function that makes daemons (not started); they are gone after the test."""
    made = []

    def make(*, mqtt=None, **settings):
        name = f"t{secrets.token_hex(4)}"
        address = mqtt or (broker.host, broker.port)
        daemon = harness.Daemon(dsn=database, mqtt=address, name=name, log=tmp_path / f"{name}.log", **settings)
        made.append(daemon)
        ends.callback(daemon.close)
        return daemon

    with contextlib.ExitStack() as ends:
        yield make
        if len(made) == 1:
            _counters_agree(made[0], database)


def _counters_agree(daemon, database):
    """After every test: what a daemon that ran through has counted is what the database has.

    One look at which they agree is enough: the test's last message may be stored after it, and counted in a status two
    seconds later.
    """
    if daemon.starts != 1 or daemon.process.poll() is not None or daemon.status().get("status") != "online":
        return  # killed, restarted, or behind a proxy that is gone already

    looked = {}

    def agree():
        status = daemon.status()
        letters = sum(status.get("messages_dead_lettered_total", {}).values())
        rows = sum(harness.count(database, f"{kind}_reading") for kind in ("vehicle", "meter"))
        found = (rows, harness.count(database, "dead_letter", "repeat_key IS NULL"), 0)
        counted = (status.get("readings_written_total"), letters, status.get("dropped_total"))
        looked.update(found=found, counted=counted)
        return found == counted

    with contextlib.suppress(AssertionError):
        harness.wait_for(agree)
    assert looked["found"] == looked["counted"], "rows, dead letters, dropped: in the database, counted"


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
    proxy = proxies.Proxy(broker.host, broker.port)
    yield proxy
    proxy.close()


@pytest.fixture
def webhook():
    """A receiver of alerts."""
    made = alerts.Webhook()
    yield made
    with contextlib.suppress(OSError):
        made.down()


@pytest.fixture
def alerting(make_daemon, webhook):
    """A function that starts a daemon whose alerts go to the webhook."""

    def make(**settings):
        channels = {"alerts__channels__hook__url": webhook.url, "alerts__channels__hook__min_severity": "info"}
        return make_daemon(**channels, **settings).start()

    return make
