"""The servers of `voltd.local` start, restart, survive and go; the fixtures give what they promise."""

import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import paho.mqtt.client as mqtt
import psycopg
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from voltd import errors, local
from voltd.local import persistent, process, sources


@pytest.fixture
def environ():
    """The environment without servers that others run: these tests stop theirs."""
    return {name: value for name, value in os.environ.items() if not name.startswith("VOLTD_TEST_")}


@pytest.fixture
def home():
    """A home that the servers' own user can reach; pytest's folders are closed to others."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="voltd-test-home-"))
    yield folder
    persistent.down(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def own_programs(servers, environ):  # noqa: ARG001 - whatever must be downloaded is there then
    """Skips where servers can only be had from Docker or from somebody else."""
    try:
        sources.choose(environ, lambda _line: None)
    except errors.ServersNotFound as problem:
        pytest.skip(str(problem).splitlines()[0])


def _quiet(_line):
    """Nobody reads the progress."""


def _running(home):
    return process.find(["postgres"], home / "postgresql") + process.find(["mosquitto"], home / "mosquitto.conf")


def _wait_until(condition, patience_s=20):
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Client:
    """An MQTT client with a persistent session."""

    def __init__(self, broker, client_id):
        self.heard = []
        self.subscribed = threading.Event()
        self._mqtt = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, protocol=mqtt.MQTTv5)
        self._mqtt.on_message = lambda _client, _data, message: self.heard.append(message.payload)
        self._mqtt.on_subscribe = lambda *_: self.subscribed.set()
        expiry = Properties(PacketTypes.CONNECT)
        expiry.SessionExpiryInterval = 3600
        self._mqtt.connect(broker.host, broker.port, clean_start=False, properties=expiry)
        self._mqtt.loop_start()

    def subscribe(self, topic):
        self._mqtt.subscribe(topic, qos=1)
        assert self.subscribed.wait(10)

    def publish(self, topic, payload):
        self._mqtt.publish(topic, payload, qos=1).wait_for_publish(10)

    def leave(self):
        self._mqtt.disconnect()
        self._mqtt.loop_stop()


def test_fresh_database_has_the_extension_and_nothing_else(fresh_database):
    with psycopg.connect(fresh_database) as connection:
        assert connection.execute("select count(*) from pg_extension where extname = 'timescaledb'").fetchone() == (1,)
        assert connection.execute("select count(*) from timescaledb_information.hypertables").fetchone() == (0,)


@pytest.mark.parametrize("edition", ["timescale", "apache"])
def test_database_of_an_edition_has_its_licence(database_of, edition):
    with psycopg.connect(database_of(edition)) as connection:
        assert connection.execute("show timescaledb.license").fetchone() == (edition,)


def test_each_database_is_a_new_one(database_of, editions):
    assert database_of(editions[0]) != database_of(editions[0])


class TestRestart:
    def test_broker_keeps_port_and_queued_messages(self, broker):
        if not broker.controllable:
            pytest.skip("the broker is somebody else's")
        port = broker.port
        name = f"listener-{secrets.token_hex(4)}"
        listener = Client(broker, name)
        listener.subscribe(f"{name}/#")
        listener.leave()
        talker = Client(broker, "talker")
        talker.publish(f"{name}/x", b"while you were away")
        talker.leave()

        broker.stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((broker.host, port))
        broker.start()

        assert broker.port == port
        again = Client(broker, name)
        _wait_until(lambda: again.heard == [b"while you were away"])
        again.leave()

    def test_database_crash_keeps_port_and_committed_rows(self, servers, fresh_database):
        if not servers.database.controllable:
            pytest.skip("the database is somebody else's")
        with psycopg.connect(fresh_database) as connection:
            connection.execute("create table t as select 42 as answer")

        servers.database.stop(immediate=True)
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(fresh_database)
        servers.database.start()

        with psycopg.connect(fresh_database) as connection:
            assert connection.execute("select answer from t").fetchone() == (42,)


@pytest.mark.usefixtures("own_programs")
class TestEphemeral:
    def test_stop_leaves_neither_process_nor_folder(self, home, environ):
        servers = local.start(home, progress=_quiet, environ=environ)
        _wait_until(lambda: len(_running(home)) == 2)  # a child that PostgreSQL has just forked looks like it
        servers.stop()
        assert not _running(home)
        assert not home.exists()

    def test_killed_starter_leaves_neither_process_nor_folder(self, home, environ):
        """Whatever ends the test run, nothing stays behind."""
        code = (
            "import pathlib, sys, time; from voltd import local\n"
            "local.start(pathlib.Path(sys.argv[1]), progress=lambda line: None)\n"
            "print('up', flush=True); time.sleep(99)"
        )
        with subprocess.Popen([sys.executable, "-c", code, home], env=environ, stdout=subprocess.PIPE) as starter:
            assert starter.stdout.readline() == b"up\n"
            _wait_until(lambda: len(_running(home)) == 2)  # a child that PostgreSQL has just forked looks like it
            starter.send_signal(signal.SIGKILL)
        _wait_until(lambda: not home.exists())
        assert not _running(home)

    def test_server_that_refuses_its_configuration_is_quoted(self, home, environ):
        with pytest.raises(errors.VoltdError, match=r"(?s)Mosquitto.*no_such_setting"):
            local.start(home, progress=_quiet, environ=environ, broker_conf=["no_such_setting 1"])
        assert not home.exists()

    def test_database_that_refuses_its_configuration_is_quoted(self, home, environ):
        with pytest.raises(errors.VoltdError, match="no_such_setting"):
            local.start(home, progress=_quiet, environ=environ, postgres_conf=["no_such_setting = 1"])
        assert not home.exists()

    def test_taken_ports_are_passed_over(self, home, environ, monkeypatch):
        free_port = process.free_port
        with socket.create_server(("127.0.0.1", 0)) as taken:
            answers = [taken.getsockname()[1], free_port(), taken.getsockname()[1], free_port()]
            monkeypatch.setattr(process, "free_port", lambda: answers.pop(0))
            servers = local.start(home, progress=_quiet, environ=environ)
            assert taken.getsockname()[1] not in {servers.database.port, servers.broker.port}
            servers.stop()

    def test_folder_with_other_files_is_left_alone(self, home, environ):
        (home / "thesis.txt").write_text("mine")
        with pytest.raises(errors.VoltdError, match="did not make"):
            local.start(home, progress=_quiet, environ=environ)
        assert (home / "thesis.txt").read_text() == "mine"


@pytest.mark.usefixtures("own_programs")
class TestUpDownEnv:
    def test_servers_outlive_the_command_and_end_with_down(self, home, environ):
        code = (
            "import pathlib, sys; from voltd.local import persistent\n"
            "persistent.up(pathlib.Path(sys.argv[1]), lambda line: None)"
        )
        for _ in range(2):  # the second finds them running
            subprocess.run([sys.executable, "-c", code, home], env=environ, check=True, timeout=60)
        variables = persistent.env(home)
        with psycopg.connect(variables["VOLTD_DATABASE__DSN"]) as connection:
            connection.execute("create table t as select 42 as answer")
            assert connection.execute("show fsync").fetchone() == ("on",)
        socket.create_connection((variables["VOLTD_MQTT__HOST"], int(variables["VOLTD_MQTT__PORT"]))).close()

        said = []
        persistent.up(home, said.append, environ)
        assert said == ["The servers run already"]

        assert persistent.down(home)
        assert not _running(home)
        assert not persistent.down(home)
        with pytest.raises(errors.VoltdError, match="no local servers run"):
            persistent.env(home)

        persistent.up(home, _quiet, environ)
        assert persistent.env(home)["VOLTD_MQTT__PORT"] == variables["VOLTD_MQTT__PORT"]
        with psycopg.connect(variables["VOLTD_DATABASE__DSN"]) as connection:
            assert connection.execute("select answer from t").fetchone() == (42,)

    def test_ports_taken_meanwhile_are_replaced(self, home, environ):
        persistent.up(home, _quiet, environ)
        before = persistent.env(home)
        persistent.down(home)
        with socket.create_server(("127.0.0.1", int(before["VOLTD_MQTT__PORT"]))):
            persistent.up(home, _quiet, environ)
        assert persistent.env(home)["VOLTD_MQTT__PORT"] != before["VOLTD_MQTT__PORT"]
        assert persistent.env(home)["VOLTD_DATABASE__DSN"] == before["VOLTD_DATABASE__DSN"]

    def test_two_at_once_start_one_pair(self, home, environ):
        threads = [threading.Thread(target=persistent.up, args=(home, _quiet, environ)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        _wait_until(lambda: len(_running(home)) == 2)  # a child that PostgreSQL has just forked looks like it

    def test_one_that_died_is_started_again(self, home, environ):
        servers = persistent.up(home, _quiet, environ)
        before = persistent.env(home)
        servers.broker.kill()
        with pytest.raises(errors.VoltdError, match="no local servers run"):
            persistent.env(home)
        persistent.up(home, _quiet, environ)
        assert persistent.env(home) == before

    def test_up_that_was_cut_short_is_made_good(self, home, environ):
        """Killed after the servers started and before their ports were written down."""
        persistent.up(home, _quiet, environ)
        (home / "servers.json").unlink()
        persistent.up(home, _quiet, environ)
        _wait_until(lambda: len(_running(home)) == 2)  # a child that PostgreSQL has just forked looks like it
        socket.create_connection(("127.0.0.1", int(persistent.env(home)["VOLTD_MQTT__PORT"]))).close()
