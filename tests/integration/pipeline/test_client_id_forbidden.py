"""A broker whose access list does not let daemons ask each other: the database says what it can."""

import pathlib
import shutil
import tempfile

import pytest

from support import harness
from voltd import local

# What every daemon needed before there were questions: its topics, its status, its live topic, alerts.
ACCESS = """\
topic readwrite voltd/+/status
topic readwrite voltd/live/#
topic readwrite voltd/alerts/#
topic read +/vehicle/+
topic read +/meter/+
topic read +/ingest
"""


@pytest.fixture(scope="module")
def strict(servers):
    """A broker with such an access list."""
    if not servers.broker.controllable or "Docker" in servers.source:
        pytest.skip("the broker's access list is not ours to set up")
    home = pathlib.Path(tempfile.mkdtemp(prefix="voltd-test-strict-"))
    home.chmod(0o755)
    (home / "access").write_text(ACCESS)
    (home / "access").chmod(0o644)
    started = local.start(home / "servers", progress=lambda _line: None, broker_conf=[f"acl_file {home}/access"])
    yield started.broker
    started.stop()
    shutil.rmtree(home)


@pytest.fixture
def make(strict, migrated_database, tmp_path):
    """A function that makes daemons of one client id; they are gone after the test."""
    made = []

    def make(name):
        daemon = harness.Daemon(
            dsn=migrated_database,
            mqtt=(strict.host, strict.port),
            name=name,
            log=tmp_path / name / "log",
            mqtt__client_id="strict",
        )
        (tmp_path / name).mkdir()
        made.append(daemon)
        return daemon

    yield make
    for daemon in made:
        daemon.close()


def test_questions_are_forbidden(make):
    """It is said once, with what to allow; the newcomer finds the other one in the database, and ends."""
    daemon = make("one").start()
    assert daemon.events("client_id.unheard") == 1
    assert "voltd/client/#" in daemon.log()
    assert "warn  client id" in daemon.run("check").stdout
    other = make("two")
    harness.wait_for(lambda: daemon.events("jobs.leading"), what="the first report")
    other.start(wait=False)
    harness.wait_for(lambda: other.process.poll() is not None, 30, "the end of the newcomer")
    assert other.process.returncode == 78
    assert f", pid {daemon.process.pid}, started " in other.log()
    assert daemon.process.poll() is None
    assert daemon.events("broker.connected") == 1
    daemon.kill()
    other.start()
    assert other.process.poll() is None
