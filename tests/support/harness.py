"""What integration and acceptance tests share: the daemon as a process, a publisher, waiting for facts."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Self

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from support import commands, databases
from voltd import config, errors
from voltd.daemon import status

VOLTD = str(pathlib.Path(sys.executable).with_name("voltd"))


def wait_for(fact: Callable[..., Any], within_s: float = 45.0, what: object = "it") -> Any:
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


def contention() -> float:
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

    def __init__(self, *, dsn: str, mqtt: tuple[str, int], name: str, log: pathlib.Path, **settings: object) -> None:
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
        self.program: list[str] | None = None  # in place of the forked one
        self.words = ["run"]
        self._log = log
        self.process: Any = None  # a commands.Running or, with a program, a subprocess.Popen
        self.starts = 0

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Another command with the same settings."""
        return commands.run(words, self.env)

    def start(self, *, wait: bool = True) -> Self:
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

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def events(self, name: str) -> int:
        """How often an event was logged."""
        return self.log().count(f'"event": "{name}"')

    def status(self) -> dict[str, Any]:
        """The retained status, {} without one; asked here, since a process for each look costs more than the daemon."""
        mqtt: dict[str, Any] = {"host": self.env["VOLTD_MQTT__HOST"], "port": int(self.env["VOLTD_MQTT__PORT"])}
        try:
            return status.fetch(config.Settings(instance=self.env["VOLTD_INSTANCE"], mqtt=mqtt))
        except errors.BrokerUnavailable:
            return {}

    def kill(self) -> None:
        """Ends it with kill -9."""
        self.process.kill()
        self.process.wait()

    def terminate(self, within_s: float = 15.0) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return int(self.process.wait(within_s))

    def close(self) -> None:
        if self.process and self.process.poll() is None:
            self.kill()


def end_session(host: str, port: int, client_id: str) -> None:
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

    def __init__(self, host: str, port: int) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.max_inflight_messages_set(1000)
        self._client.connect(host, port)
        self._client.loop_start()

    def publish(self, topic: str, payload: Any, **options: Any) -> paho.MQTTMessageInfo:
        wait_for(self._client.is_connected, what="the publisher's connection")
        body = payload if isinstance(payload, bytes | str) else json.dumps(payload)
        return self._client.publish(topic, body, qos=options.pop("qos", 1), **options)

    def retained(self, topic: str, within_s: float = 5.0) -> str:
        """What is retained on a topic, as text; empty where nothing is."""
        found: list[str] = []
        arrived = threading.Event()

        def note(_client: paho.Client, _userdata: object, one: paho.MQTTMessage) -> None:
            found.append(one.payload.decode())
            arrived.set()

        self._client.on_message = note
        self._client.subscribe(topic, 1)
        arrived.wait(within_s)
        self._client.unsubscribe(topic)
        return found[0] if found else ""

    def flush(self, infos: Iterable[paho.MQTTMessageInfo], within_s: float = 60.0) -> None:
        """Returns once the broker has acked them all."""
        ends = time.monotonic() + within_s
        for info in infos:
            info.wait_for_publish(max(0.1, ends - time.monotonic()))
            assert info.is_published()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def count(dsn: str, table: str, where: str = "true", schema: str = "volt") -> int:
    """How many rows a table of the schema has."""
    ((number,),) = databases.ask(dsn, f"SELECT count(*) FROM {schema}.{table} WHERE {where}")
    return int(number)
