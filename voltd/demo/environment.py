"""Everything the demo runs on: private servers, the schema, the fleet's registry, and the daemon as a process.

It is opened before the fleet starts and closed after it has ended; nothing is left behind. The daemon connects as a
member of ``volt_writer``, as it would in production.
"""

from __future__ import annotations

import ctypes
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable
from typing import Self

import psycopg
from psycopg import conninfo

from voltd import errors, local
from voltd.database import edition, migrate
from voltd.simulate.families import catalogue
from voltd.simulate.fleet import registry

INSTANCE = "demo"
# A fleet that runs faster than life needs families whose messages have a time; with these the numbers add up, too.
FAMILIES = ("tasmota", "zigbee2mqtt", "ocpp", "dsmr_reader", catalogue.OWN)
_STOP_WITHIN_S = 15.0
_PR_SET_PDEATHSIG = 1  # prctl(2)


class Environment:
    """A context manager; inside it servers and schema are up, and ``start_daemon`` may be called.

    Args:
        report: called with a line for people before each step that takes time.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="voltd-demo-"))
        self._folder.chmod(0o755)  # under root, the servers run as another user
        self._daemon: subprocess.Popen[bytes] | None = None
        self.servers: local.Servers
        self.edition: edition.Edition

    def __enter__(self) -> Self:
        try:
            self.servers = local.start(self._folder / "servers", progress=self._report, ephemeral=True, durable=True)
            self._report("Creating the schema")
            self.edition = migrate.migrate(self.dsn, migrate.MigrateOptions(), report=lambda _line: None).edition
            with psycopg.connect(self.dsn, autocommit=True) as connection:
                exists = connection.execute("SELECT FROM pg_roles WHERE rolname = 'voltd_demo'").fetchone()
                if exists is None:
                    connection.execute("CREATE ROLE voltd_demo LOGIN IN ROLE volt_writer")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_daemon()
        if hasattr(self, "servers"):
            self.servers.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def dsn(self) -> str:
        """The superuser's connection string, for the demo's counts and for people."""
        return self.servers.database.dsn

    @property
    def psql(self) -> str:
        """A command line to query the data."""
        return f'{self.servers.tool("psql") or "psql"} "{self.dsn}"'

    @property
    def log(self) -> pathlib.Path:
        """The daemon's log."""
        return self._folder / "voltd.log"

    def write_registry(self, entries: registry.Registry) -> None:
        """Registers the fleet and which meter feeds which vehicle."""
        with psycopg.connect(self.dsn) as connection:
            registry.write_registry(connection, entries)

    def start_daemon(self) -> None:
        """Starts ``voltd run``; it is up once its status says online."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("VOLTD_")}
        environ |= {
            "VOLTD_INSTANCE": INSTANCE,
            "VOLTD_MQTT__HOST": self.servers.broker.host,
            "VOLTD_MQTT__PORT": str(self.servers.broker.port),
            "VOLTD_DATABASE__DSN": conninfo.make_conninfo(self.dsn, user="voltd_demo"),
            "VOLTD_SPOOL__DIRECTORY": str(self._folder / "spool"),
            "VOLTD_DEVICES": json.dumps(tomllib.loads(catalogue.settings(FAMILIES))["devices"]),
        }
        with self.log.open("ab") as log:
            self._daemon = subprocess.Popen(
                [sys.executable, "-m", "voltd.cli", "run"],
                env=environ,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the demo, which then stops the daemon in order
                preexec_fn=_die_with_parent,  # noqa: PLW1509 one thread so far
            )

    def check_daemon(self) -> None:
        """Returns while the daemon runs.

        Raises:
            VoltdError: it ended by itself; the message quotes its log.
        """
        if self._daemon is not None and (code := self._daemon.poll()) is not None:
            tail = "\n".join(self.log.read_text().splitlines()[-10:])
            raise errors.VoltdError(f"the daemon ended with {code}:\n{tail}")

    def stop_daemon(self) -> None:
        """Sends SIGTERM and waits until the daemon has written what is in flight."""
        if self._daemon is None or self._daemon.poll() is not None:
            return
        self._daemon.send_signal(signal.SIGTERM)
        try:
            self._daemon.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._daemon.kill()
            self._daemon.wait()


def _die_with_parent() -> None:
    """Ends the daemon with the demo, even when that is killed (prctl(2), Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
