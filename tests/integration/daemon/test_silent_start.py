"""A start while the database takes logins and answers nothing."""

import contextlib
import threading

import pytest
from psycopg import conninfo

from support import harness, proxies
from voltd import config
from voltd.daemon import app, database_ready
from voltd.database import schema_state


class Mute(proxies.Proxy):
    """Passes the login on and no question after it."""

    def passes(self, data, *, from_client):
        if from_client and data[:1] in b"QP":
            self.fall_silent()
        return True


@pytest.fixture
def proxy(migrated_database):
    info = conninfo.conninfo_to_dict(migrated_database)
    made = Mute(str(info["host"]).split(",")[0], int(info["port"]))
    yield made
    made.close()


@pytest.fixture
def through(migrated_database, proxy):
    """The DSN of the way through the proxy; without TLS, so that it sees what is asked."""
    return conninfo.make_conninfo(migrated_database, host=proxy.address[0], port=proxy.address[1], sslmode="disable")


@pytest.fixture
def make(through, tmp_path):
    """A function: a daemon in this process, not running; with a spool or without one."""
    with contextlib.ExitStack() as made:

        def make(*, spool):
            directory = {"enabled": spool, "directory": tmp_path, "min_free_bytes": 0}
            daemon = app.Daemon(config.Settings(database={"dsn": through}, spool=directory))
            made.callback(daemon._service_manager.close)
            if spool:
                made.callback(daemon._wiring.spool.close)
            return daemon

        yield make


def test_the_spool_takes_what_comes(make, monkeypatch):
    """No answer is no database: readings are taken all the same."""
    monkeypatch.setattr(schema_state, "_ANSWER_S", 0.5)
    daemon = make(spool=True)
    assert daemon._wait_for_schema()
    assert daemon._wiring.outage.spooling


def test_the_second_question_is_not_answered(migrated_database, make, monkeypatch):
    """The same, where the database falls silent a moment later."""
    monkeypatch.setattr(database_ready, "_ANSWER_S", 0.5)
    asked = schema_state.status(migrated_database)
    monkeypatch.setattr(schema_state, "status", lambda _dsn: asked)
    daemon = make(spool=True)
    assert daemon._wait_for_schema()
    assert daemon._wiring.outage.spooling


def test_systemd_is_notified_meanwhile(make, monkeypatch):
    """Waiting for an answer is no start that hangs: it asks for more time, and ends when it is stopped."""
    said = []
    monkeypatch.setattr(app, "_REPORT_S", 0.05)
    daemon = make(spool=False)
    monkeypatch.setattr(daemon._service_manager, "waiting", said.append)
    answer = []
    main = threading.Thread(target=lambda: answer.append(daemon._wait_for_schema()))
    main.start()
    harness.wait_for(lambda: len(said) > 2, what="a word to systemd")
    assert set(said) == {"waiting for the database"}
    daemon._signals.stop()
    main.join(5)
    assert answer == [False]


def test_stopped_meanwhile(through, proxy, broker, tmp_path):
    """SIGTERM is heard at once."""
    daemon = harness.Daemon(dsn=through, mqtt=(broker.host, broker.port), name="mute", log=tmp_path / "log")
    daemon.start(wait=False)
    try:
        harness.wait_for(proxy._silent.is_set, what="the first question")
        assert daemon.terminate(5.0) == 0
    finally:
        daemon.close()
