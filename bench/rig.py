"""What the scenes run on: private servers, a migrated database, the daemon as a process, and its log as a clock.

The daemon logs ``batch.flushed`` with the number of messages at each COMMIT. Their sum says when the n-th message
became visible, without a query that would disturb the database.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import load
import psycopg

from voltd import local
from voltd.database import migrate


class Rig:
    """Servers that live as long as the benchmark; each scene empties the tables first."""

    def __init__(self, report: Callable[[str], None], postgres_conf: Sequence[str] = ()) -> None:
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="voltd-bench-"))
        self.folder.chmod(0o755)
        self.servers = local.start(self.folder / "servers", progress=report, postgres_conf=postgres_conf, durable=True)
        self.dsn = self.servers.database.dsn
        self.port = self.servers.broker.port
        self.edition = migrate.migrate(self.dsn, migrate.MigrateOptions(), report=lambda _line: None).edition
        self._number = 0
        self._daemons: list[Daemon] = []

    def close(self) -> None:
        """Ends what still runs and deletes its data."""
        for daemon in self._daemons:
            daemon.kill()
        self.servers.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def rows(self, *tables: str) -> int:
        """Rows of the tables together."""
        with psycopg.connect(self.dsn) as connection:
            counts = (connection.execute(f"SELECT count(*) FROM volt.{name}").fetchall() for name in tables)
            return sum(number for ((number,),) in counts)

    def empty(self) -> None:
        """Empties the tables; a checkpoint, so that no scene pays for an earlier one."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(
                "TRUNCATE volt.vehicle_reading, volt.meter_reading, volt.dead_letter, volt.vehicle_current,"
                " volt.meter_current, volt.alert, volt.alert_delivery, volt.device_clock, volt_internal.alert_state,"
                " volt_internal.excursion, volt.retained_reading"
            )
            connection.execute("CHECKPOINT")

    def daemon(self, **settings: Any) -> Daemon:
        """A daemon with a session of its own, not started."""
        self._number += 1
        made = Daemon(self, f"bench{self._number}", settings)
        self._daemons.append(made)
        return made


class Daemon:
    """``voltd run`` and the figures in its log."""

    def __init__(self, rig: Rig, instance: str, settings: dict[str, Any]) -> None:
        self.instance = instance
        self._port = rig.port
        self.log = rig.folder / f"{instance}.log"
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("VOLTD_")},
            "VOLTD_INSTANCE": instance,
            "VOLTD_MQTT__PORT": str(rig.port),
            "VOLTD_MQTT__HOST": "127.0.0.1",
            "VOLTD_DATABASE__DSN": rig.dsn,
            "VOLTD_SPOOL__DIRECTORY": str(rig.folder / "spool"),
            "VOLTD_LOG__LEVEL": "debug",
            "VOLTD_LOG__FORMAT": "json",
            **{f"VOLTD_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of the running process."""
        assert self._process is not None  # noqa: S101 a scene's mistake
        return self._process.pid

    def start(self) -> float:
        """Starts it and returns the time at which that was, once it has subscribed."""
        before = self._count("broker.connected")
        began = time.time()
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "voltd.cli", "run"]
            self._process = subprocess.Popen(command, env=self._env, stdout=log, stderr=log)
        while self._count("broker.connected") == before:
            if self._process.poll() is not None:
                raise RuntimeError(self.log.read_text()[-2000:])
            time.sleep(0.02)
        return began

    def stop(self, *, keep_session: bool = False) -> None:
        """Sends SIGTERM and waits; ends its session at the broker, too, unless it is to be continued."""
        assert self._process is not None  # noqa: S101
        self._process.terminate()
        self._process.wait(20)
        if not keep_session:
            load.forget(self._port, f"voltd-{self.instance}")

    def kill(self) -> None:
        """Kills it if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def subscribe(self) -> None:
        """Makes the session, so that the broker queues what is published from now on."""
        self.start()
        self.stop(keep_session=True)
        self.log.unlink()

    def commits(self) -> list[tuple[float, int, float]]:
        """Each COMMIT: wall clock, messages in all until then, milliseconds from decode to COMMIT."""
        total, found = 0, []
        for line in self.log.read_text().splitlines():
            if '"batch.flushed"' in line:
                event = json.loads(line)
                total += event["messages"]
                found.append((_seconds(event["timestamp"]), total, event["ms"]))
        return found

    def wait_for(self, messages: int, within_s: float = 120) -> float:
        """Wall clock at which so many messages were committed."""
        ends = time.monotonic() + within_s
        while True:
            done = [at for at, total, _ms in self.commits() if total >= messages]
            if done:
                return done[0]
            if time.monotonic() > ends:
                raise RuntimeError(f"{messages} messages were not committed within {within_s} s")
            time.sleep(0.2)

    def spooled(self) -> int:
        """Readings in the spool, by the status that the daemon publishes."""
        command = [sys.executable, "-m", "voltd.cli", "status", "--json"]
        said = subprocess.run(command, env=self._env, capture_output=True, check=False).stdout
        return int(json.loads(said)["readings_spooled"]) if said else 0

    def connected_at(self) -> float:
        """Wall clock of the last ``broker.connected``."""
        lines = [line for line in self.log.read_text().splitlines() if '"broker.connected"' in line]
        return _seconds(json.loads(lines[-1])["timestamp"])

    def resident_mb(self) -> float:
        """Resident memory."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    def cpu_s(self) -> float:
        """CPU seconds used so far."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _count(self, event: str) -> int:
        return self.log.read_text().count(f'"{event}"') if self.log.exists() else 0


def _seconds(timestamp: str) -> float:
    return dt.datetime.fromisoformat(timestamp).timestamp()
