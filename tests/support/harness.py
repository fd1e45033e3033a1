"""What integration and acceptance tests share: the daemon as a process, a publisher, a proxy, waiting for facts."""

import contextlib
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import threading
import time

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from support import commands, databases
from voltd import config, errors
from voltd.daemon import status

VOLTD = str(pathlib.Path(sys.executable).with_name("voltd"))


def wait_for(fact, within_s=45.0, what="it"):
    """Polls until ``fact()`` is true and returns its value; fails with ``what`` after the time."""
    began = time.monotonic()
    while True:
        value = fact()
        if value:
            return value
        waited = time.monotonic() - began
        if waited > within_s:
            raise AssertionError(f"{what} did not happen within {within_s} s")
        time.sleep(min(0.02 + waited / 20, 0.25))  # a look may cost more than what it waits for


def contention():
    """By how much a promise of time may be exceeded on this machine now: 1 where nothing else computes.

    Two where computing takes half again as long as its own CPU time, three where it takes twice as long, as with a busy
    loop on each core.
    """
    began, computed = time.monotonic(), time.thread_time()
    while time.thread_time() - computed < 0.05:
        pass
    return max(1.0, 2 * (time.monotonic() - began) / 0.05 - 1)


class Daemon:
    """``voltd run`` as a process of its own, with a private instance, topics and database."""

    def __init__(self, *, dsn, mqtt, name, log, **settings):
        self.name = name
        self.topics = {kind: f"{name}/{kind}" for kind in ("vehicle", "meter", "ingest")}
        self.env = {
            **{key: value for key, value in os.environ.items() if not key.startswith("VOLTD_")},
            "VOLTD_INSTANCE": name,
            "VOLTD_DATABASE__DSN": dsn,
            "VOLTD_MQTT__HOST": mqtt[0],
            "VOLTD_MQTT__PORT": str(mqtt[1]),
            "VOLTD_MQTT__TOPICS__VEHICLE": json.dumps([f"{name}/vehicle/+"]),
            "VOLTD_MQTT__TOPICS__METER": json.dumps([f"{name}/meter/+"]),
            "VOLTD_MQTT__TOPICS__INGEST": json.dumps([f"{name}/ingest"]),
            "VOLTD_SPOOL__DIRECTORY": str(log.parent / "spool"),
            "VOLTD_LOG__FORMAT": "json",
            "VOLTD_LOG__LEVEL": "debug",
            **{f"VOLTD_{key.upper()}": str(value) for key, value in settings.items()},
        }
        self.program, self.words = None, ["run"]  # a program in place of the forked one
        self._log = log
        self.process = None
        self.starts = 0

    def run(self, *words):
        """Another command with the same settings."""
        return commands.run(words, self.env)

    def start(self, *, wait=True):
        """Starts it; with ``wait``, returns once it has subscribed."""
        connected = self.events("broker.connected")
        self.starts += 1
        if self.program is None:
            self.process = commands.start(self.words, self.env, self._log, self._log)
        else:
            with self._log.open("a") as log:
                self.process = subprocess.Popen([*self.program, *self.words], env=self.env, stdout=log, stderr=log)
        if wait:
            wait_for(
                lambda: self.events("broker.connected") > connected or self.process.poll() is not None, what="start"
            )
            assert self.process.poll() is None, self.log()
            wait_for(lambda: self.status().get("status") == "online", what="status online")
        return self

    def log(self):
        return self._log.read_text() if self._log.exists() else ""

    def events(self, name):
        """How often an event was logged."""
        return self.log().count(f'"event": "{name}"')

    def status(self):
        """The retained status, {} without one; asked here, since a process for each look costs more than the daemon."""
        mqtt = {"host": self.env["VOLTD_MQTT__HOST"], "port": int(self.env["VOLTD_MQTT__PORT"])}
        try:
            return status.fetch(config.Settings(instance=self.env["VOLTD_INSTANCE"], mqtt=mqtt))
        except errors.BrokerUnavailable:
            return {}

    def kill(self):
        """Ends it with kill -9."""
        self.process.kill()
        self.process.wait()

    def terminate(self, within_s=15.0):
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within_s)

    def close(self):
        if self.process and self.process.poll() is None:
            self.kill()


def end_session(host, port, client_id):
    """Ends a session at the broker, with its subscriptions: a daemon's outlives it."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5)
    connected = threading.Event()
    client.on_connect = lambda *_: connected.set()
    client.connect(host, port, clean_start=True)
    client.loop_start()
    wait_for(connected.is_set, what="the CONNACK")
    client.disconnect()
    client.loop_stop()


class Publisher:
    """Publishes at QoS 1 and knows what the broker has acked."""

    def __init__(self, host, port):
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.max_inflight_messages_set(1000)
        self._client.connect(host, port)
        self._client.loop_start()

    def publish(self, topic, payload, **options):
        wait_for(self._client.is_connected, what="the publisher's connection")
        body = payload if isinstance(payload, bytes | str) else json.dumps(payload)
        return self._client.publish(topic, body, qos=options.pop("qos", 1), **options)

    def retained(self, topic, within_s=5.0):
        """What is retained on a topic, as text; empty where nothing is."""
        found, arrived = [], threading.Event()
        self._client.on_message = lambda _client, _userdata, one: found.append(one.payload.decode()) or arrived.set()
        self._client.subscribe(topic, 1)
        arrived.wait(within_s)
        self._client.unsubscribe(topic)
        return found[0] if found else ""

    def flush(self, infos, within_s=60.0):
        """Returns once the broker has acked them all."""
        ends = time.monotonic() + within_s
        for info in infos:
            info.wait_for_publish(max(0.1, ends - time.monotonic()))
            assert info.is_published()

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


class Proxy:
    """A TCP proxy in front of a server that can hold what the client sends, or cut every connection."""

    def __init__(self, host, port):
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self._held = threading.Event()
        self._silent = threading.Event()
        self._shut = threading.Event()
        self._kept = False
        self._pairs = []
        threading.Thread(target=self._accept, daemon=True).start()

    def hold_client(self):
        """From now on nothing of what clients send reaches the server."""
        self._held.set()

    def fall_silent(self):
        """From now on nothing passes in either direction, and nothing is closed: a black hole."""
        self._held.set()
        self._silent.set()

    def keep_open(self):
        """From now on the server does not hear that a client has gone; ``cut`` ends what is left."""
        self._kept = True

    def pass_on(self):
        self._held.clear()
        self._silent.clear()

    def shut_out(self):
        """New connections are closed at once."""
        self._shut.set()

    def admit(self):
        self._shut.clear()

    def accepts(self):
        """Whether to take a new connection; for subclasses."""
        return True

    def passes(self, data, *, from_client):  # noqa: ARG002 for subclasses
        """Whether to pass these bytes on; False cuts the connection."""
        return True

    def transfer(self, data, sink, *, from_client):  # noqa: ARG002 for subclasses
        """Passes bytes on."""
        sink.sendall(data)

    def cut(self):
        """Closes every connection."""
        for pair in self._pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self._pairs = []

    def close(self):
        """On return nobody can connect any more: closing alone would let one more in, whom ``accept`` waits for."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._shut.is_set() or not self.accepts():
                    client.close()
                    continue
                try:
                    server = socket.create_connection(self._target)
                except OSError:
                    client.close()
                    continue
                self._pairs.append((client, server))
                threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source, sink, from_client):
        with contextlib.suppress(OSError, ValueError):
            while True:
                held = self._held if from_client else self._silent
                if held.is_set():
                    time.sleep(0.01)
                    continue
                ready, _, _ = select.select([source], [], [], 0.05)
                if not ready or held.is_set():
                    continue
                data = source.recv(65536)
                if not data:
                    break
                if not self.passes(data, from_client=from_client):
                    break
                self.transfer(data, sink, from_client=from_client)
        source.close()
        if not (self._kept and from_client):
            sink.close()


class CommitLosingProxy(Proxy):
    """Cuts the connection when the server has answered a COMMIT and the client has not heard it yet."""

    def __init__(self, host, port):
        super().__init__(host, port)
        self._lose = threading.Event()
        self._refuse = threading.Event()

    def lose_reply_of_commit(self):
        self._lose.set()

    def refuse_once(self):
        self._refuse.set()

    def accepts(self):
        refused = self._refuse.is_set()
        self._refuse.clear()
        return not refused

    def passes(self, data, *, from_client):
        """False cuts. CommandComplete 'COMMIT' is the server's word that it is durable."""
        if not from_client and self._lose.is_set() and b"COMMIT\0" in data:
            self._lose.clear()
            return False
        return True


def count(dsn, table, where="true", schema="volt"):
    """How many rows a table of the schema has."""
    ((number,),) = databases.ask(dsn, f"SELECT count(*) FROM {schema}.{table} WHERE {where}")
    return number
