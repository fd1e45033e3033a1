"""Two daemons with one client id: the second one finds the first and ends; the first is not disturbed."""

import json
import secrets
import signal
import time
from typing import Any

import psycopg
import pytest

from support import databases, harness

FORGED: dict[str, Any] = {
    "status": "online", "host": "elsewhere", "pid": 4, "started_at": "2026-01-01T00:00:00+00:00",
    "process": {"run": "forged", "boot": "forged", "machine": "forged", "namespace": "forged", "ticks": 3},
}  # fmt: skip


@pytest.fixture
def newcomer(make_daemon, tmp_path):
    """A function: another daemon with the client id of this one, an instance and a spool of its own."""

    def make(daemon, **settings):
        other = make_daemon(**settings)
        client_id = daemon.env.get("VOLTD_MQTT__CLIENT_ID", f"voltd-{daemon.name}")
        spool = tmp_path / f"spool-{secrets.token_hex(2)}"
        other.env = {**other.env, "VOLTD_MQTT__CLIENT_ID": client_id, "VOLTD_SPOOL__DIRECTORY": str(spool)}
        return other

    return make


def _ends(daemon, within_s=20.0):
    """Waits for its end; the exit code."""
    harness.wait_for(lambda: daemon.process.poll() is not None, within_s, "the end of a daemon")
    return daemon.process.returncode


def _is_turned_away(other, daemon):
    """It ends with 78 before it connects, and names the other daemon."""
    connected = other.events("broker.connected")
    other.start(wait=False)
    assert _ends(other) == 78
    assert other.events("broker.connected") == connected
    assert f", pid {daemon.process.pid}, started " in other.log()


def _undisturbed(daemon):
    assert daemon.process.poll() is None
    assert daemon.events("broker.connected") == 1
    assert not daemon.events("broker.disconnected") + daemon.events("broker.session_taken_over")


def _waited_s(daemon):
    """How long its last start waited for another daemon to answer."""
    harness.wait_for(lambda: daemon.events("broker.connected") == daemon.starts, 30, "the connection")
    lines = [json.loads(line) for line in daemon.log().splitlines() if '"client_id.held"' in line]
    return lines[-1]["waited_s"]


def _one_of(*daemons):
    """Waits until all but one have ended, with 78, and gives that one."""
    harness.wait_for(lambda: sum(one.process.poll() is None for one in daemons) <= 1, 30, "the end of the others")
    (left,) = [one for one in daemons if one.process.poll() is None]
    assert {one.process.returncode for one in daemons if one is not left} == {78}
    return left


def test_second_daemon_with_the_same_client_id(daemon, newcomer):
    """It ends with 78 and names host, pid and start; the first one is not disturbed, however often it starts."""
    other = newcomer(daemon)
    for _ in range(3):  # as under `restart: unless-stopped`
        _is_turned_away(other, daemon)
    status = daemon.status()
    assert f"host {status['host']}, pid {status['pid']}, started {status['started_at']}" in other.log()
    _undisturbed(daemon)


def test_second_daemon_of_the_same_instance(daemon, make_daemon, publisher, database):
    """The same, and neither its status nor its row, nor the spool that both have, is touched."""
    other = make_daemon()
    other.env = dict(daemon.env)
    for _ in range(2):
        _is_turned_away(other, daemon)
    _undisturbed(daemon)
    assert daemon.status()["pid"] == daemon.process.pid
    assert f"is in use by host {daemon.status()['host']}, pid {daemon.process.pid}" in other.run("check").stdout
    publisher.flush([publisher.publish(f"{daemon.name}/vehicle/V1", _reading())])
    harness.wait_for(lambda: harness.count(database, "vehicle_reading") == 1)
    (row,) = harness.wait_for(lambda: _rows(database), what="its row")
    assert row == (daemon.name, f"voltd-{daemon.name}", daemon.status()["host"], daemon.process.pid)


def _reading():
    return {"timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "soc": 50}


def _rows(database):
    return databases.ask(database, "SELECT instance, client_id, host, pid FROM volt.daemon")


def test_while_the_database_is_away(make_daemon, newcomer, servers):
    """Neither needs it."""
    daemon = make_daemon(database__retry_max_s=0.5).start()
    servers.database.stop(immediate=True)
    try:
        _is_turned_away(newcomer(daemon), daemon)
    finally:
        servers.database.start()
    _undisturbed(daemon)


def test_while_the_window_is_full(make_daemon, newcomer, publisher, database):
    """The first daemon reads no more messages then, but answers the question."""
    daemon = make_daemon(mqtt__receive_maximum=10, spool__enabled=False).start()
    with psycopg.connect(database) as blocker:
        blocker.execute("LOCK TABLE volt.vehicle_reading IN ACCESS EXCLUSIVE MODE")
        infos = [publisher.publish(f"{daemon.name}/vehicle/V{number}", _reading()) for number in range(50)]
        publisher.flush(infos)
        harness.wait_for(lambda: daemon.status()["in_flight"] == 10, what="a full window")
        _is_turned_away(newcomer(daemon), daemon)
        blocker.rollback()
    _undisturbed(daemon)


def test_odd_client_id(make_daemon, newcomer):
    """Its characters mean nothing in a topic."""
    daemon = make_daemon(mqtt__client_id=f"a b%2F {secrets.token_hex(4)}").start()
    _is_turned_away(newcomer(daemon), daemon)
    _undisturbed(daemon)


def test_killed_predecessor(make_daemon):
    """It delays the next start by no more than 2 s."""
    daemon = make_daemon().start()
    daemon.kill()
    daemon.start(wait=False)
    assert _waited_s(daemon) < 2


def test_killed_predecessor_that_the_broker_takes_for_alive(make_daemon, broker_proxy):
    """Its connections are still open at the broker, and its status says online: likewise."""
    daemon = make_daemon(mqtt=broker_proxy.address).start()
    broker_proxy.keep_open()
    daemon.kill()
    assert daemon.status()["status"] == "online"
    daemon.start(wait=False)
    assert _waited_s(daemon) < 2


def test_forged_status_before_the_start(make_daemon, publisher):
    """It cannot answer: the start waits no more than 15 s."""
    daemon = make_daemon()
    publisher.flush([publisher.publish(f"voltd/{daemon.name}/status", FORGED, retain=True)])
    daemon.start(wait=False)
    assert 2 < _waited_s(daemon) < 15
    assert daemon.terminate() == 0


def test_stopped_while_it_waits(make_daemon, publisher):
    """It leaves at once."""
    daemon = make_daemon()
    publisher.flush([publisher.publish(f"voltd/{daemon.name}/status", FORGED, retain=True)])
    daemon.start(wait=False)
    harness.wait_for(lambda: daemon.events("client_id.asked"))
    assert daemon.terminate(5) == 0
    assert daemon.events("broker.connected") == 0


def test_forged_messages_while_it_runs(make_daemon, publisher):
    """A status, questions and answers that anybody may have written, retained or not, end nobody and stop no start."""
    daemon = make_daemon().start()
    base = f"voltd/client/voltd-{daemon.name}"
    word = {**FORGED, **FORGED["process"], "nonce": "forged", "state": "holding", "held_since": 0.0}
    for retain in (False, True):
        infos = [publisher.publish(f"{base}/{topic}", word, retain=retain) for topic in ("ask", "answer")]
        infos.append(publisher.publish(f"voltd/{daemon.name}/status", FORGED, retain=retain))
        infos += [publisher.publish(f"{base}/{topic}", b"\xff{", retain=retain) for topic in ("ask", "answer")]
        publisher.flush(infos)
    harness.wait_for(lambda: daemon.status().get("pid") == daemon.process.pid, what="its own status again")
    _undisturbed(daemon)
    assert daemon.terminate() == 0
    daemon.start()


def test_two_that_start_at_the_same_moment(make_daemon, newcomer):
    """Exactly one continues, and takes what is published."""
    for _ in range(2):
        first = make_daemon()
        both = [first, newcomer(first)]
        for one in both:
            one.start(wait=False)
        left = _one_of(*both)
        harness.wait_for(lambda: left.events("broker.connected") == 1, what="its connection")  # noqa: B023
        _undisturbed(left)
        assert left.terminate() == 0


def test_stopped_for_a_while(make_daemon, newcomer):
    """A daemon that does not answer loses its place; when it wakes up, one of the two ends and names the other."""
    daemon = make_daemon(mqtt__keepalive_s=5).start()
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        other = newcomer(daemon, mqtt__keepalive_s=5)
        other.start(wait=False)
        harness.wait_for(lambda: other.events("broker.connected") == 1, 20, "taking its place")
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    left = _one_of(daemon, other)
    ended = other if left is daemon else daemon
    assert f", pid {left.process.pid}, started " in ended.log()
    time.sleep(2)  # long enough for another round
    assert left.process.poll() is None
    harness.wait_for(lambda: json.dumps(left.status()).find(f'"pid": {left.process.pid}') > 0, what="its status")


def test_broker_restarts_while_a_newcomer_tries_again_and_again(make_daemon, newcomer, broker):
    """The first one stays."""
    daemon = make_daemon(mqtt__reconnect_max_s=0.5).start()
    other = newcomer(daemon, mqtt__reconnect_max_s=0.5)
    other.start(wait=False)
    broker.stop()
    if _ends_or_waits(other):
        other.start(wait=False)
    broker.start()
    assert _ends(other) == 78
    harness.wait_for(lambda: daemon.events("broker.connected") == 2, 30)
    assert daemon.process.poll() is None
    assert other.events("broker.connected") == 0


def _ends_or_waits(daemon):
    harness.wait_for(lambda: daemon.process.poll() is not None or daemon.events("broker.unavailable"), 20, "either")
    return daemon.process.poll() is not None
