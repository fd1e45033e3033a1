"""Broker and database from the official images, where a Docker engine answers.

Called by ``servers`` for the demo and the tests only: containers end with the process that started them. It needs the
development dependency testcontainers, which is imported when it is used.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from voltd import errors
from voltd.local import interfaces, mosquitto, postgres, process

_MOSQUITTO = "eclipse-mosquitto:2"
_TIMESCALEDB = "timescale/timescaledb:latest-pg17"
_START_TIMEOUT_S = 90


def engine_answers() -> bool:
    """Whether testcontainers is installed and a Docker engine of this host answers a ping; takes 3 s at most."""
    address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if not address.startswith("unix://"):
        return False  # the loopback address of another machine cannot be reached
    with socket.socket(socket.AF_UNIX) as probe:  # docker-py leaks its socket when nothing listens
        if probe.connect_ex(address.removeprefix("unix://")):
            return False
    try:
        import docker  # type: ignore[import-untyped] # noqa: PLC0415 - see module docstring
        import testcontainers.core.container  # noqa: F401, PLC0415

        with contextlib.closing(docker.from_env(timeout=3)) as client:
            return bool(client.ping())
    except Exception:  # noqa: BLE001 - on any error of Docker the next source is tried
        return False


class _Container:
    """A container with one port published at a fixed port of the loopback address."""

    def __init__(self, image: str, inner_port: int, command: list[str], environment: dict[str, str]) -> None:
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - see module docstring

        self.port = process.free_port()
        self.ours: Any = DockerContainer(image)
        self.ours.with_command(command)
        published: Any = {f"{inner_port}/tcp": ("127.0.0.1", self.port)}  # docker-py's form for one address only
        self.ours.ports = published
        for name, value in environment.items():
            self.ours.with_env(name, value)
        self._created = False

    def start(self, answers: Callable[[], bool]) -> None:
        if self._created:
            self.ours.get_wrapped_container().start()
        else:
            self.ours.start()
            self._created = True
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not answers():
            if time.monotonic() > deadline:
                log = self.ours.get_wrapped_container().logs(tail=12).decode(errors="replace")
                raise errors.VoltdError(f"Container {self.ours.image} does not answer. Its log ends with\n{log}")
            time.sleep(0.1)

    def signal(self, name: str) -> None:
        container = self.ours.get_wrapped_container()
        container.reload()
        if container.status == "running":
            container.kill(signal=name)
            container.wait(timeout=60)

    def remove(self) -> None:
        if self._created:
            self.ours.stop(force=True, delete_volume=True)


class DockerBroker(interfaces.BrokerServer):
    """Mosquitto in a container; its data lives as long as the container, over restarts too."""

    def __init__(self, conf: Sequence[str]) -> None:
        self.host = "127.0.0.1"
        text = mosquitto.configuration("listener 1883", "/mosquitto/data/", "stdout", conf)
        script = 'printf "%s" "$VOLTD_CONF" > /tmp/voltd.conf && exec mosquitto -c /tmp/voltd.conf'
        self._container = _Container(_MOSQUITTO, 1883, ["sh", "-c", script], {"VOLTD_CONF": text})
        self.port = self._container.port

    def start(self) -> None:
        """See BrokerServer."""
        self._container.start(lambda: mosquitto.answers(self.host, self.port))

    def stop(self) -> None:
        """See BrokerServer."""
        self._container.signal("SIGTERM")

    def kill(self) -> None:
        """See BrokerServer."""
        self._container.signal("SIGKILL")

    def remove(self) -> None:
        """Deletes the container."""
        self._container.remove()


class DockerDatabase(interfaces.DatabaseServer):
    """PostgreSQL with TimescaleDB in a container."""

    def __init__(self, conf: Sequence[str], durable: bool) -> None:
        self.host = "127.0.0.1"
        socket_for_image = "unix_socket_directories = '/var/run/postgresql'"  # its entrypoint sets up through it
        settings = postgres.settings(5432, [socket_for_image, *conf], durable, listen="*")
        script = (
            'printf "%s" "$VOLTD_CONF" > /tmp/voltd.conf && chmod a+r /tmp/voltd.conf'
            " && exec docker-entrypoint.sh postgres -c config_file=/tmp/voltd.conf"
        )
        self._container = _Container(
            _TIMESCALEDB,
            5432,
            ["sh", "-c", script],
            {"VOLTD_CONF": settings, "POSTGRES_HOST_AUTH_METHOD": "trust", "POSTGRES_DB": "volt"},
        )
        self.port = self._container.port
        self.dsn = f"host={self.host} port={self.port} dbname=volt user=postgres"

    def start(self) -> None:
        """See DatabaseServer."""
        self._container.start(self._answers)

    def stop(self, immediate: bool = False) -> None:
        """See DatabaseServer."""
        self._container.signal("SIGQUIT" if immediate else "SIGINT")

    def remove(self) -> None:
        """Deletes the container."""
        self._container.remove()

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.dsn, connect_timeout=5, autocommit=True) as connection:
                connection.execute("create extension if not exists timescaledb")
        except psycopg.OperationalError:
            return False
        return True
