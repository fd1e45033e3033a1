"""One PostgreSQL cluster with TimescaleDB on a free port of the loopback address, all of it in a home folder.

Called by ``servers``. ``pg_ctl`` detaches the server, so it may outlive the command that started it; it is found
again by its data folder. Creates the database ``volt`` with the extension; migrations create voltd's schema.
"""

from __future__ import annotations

import dataclasses
import pathlib
import signal
import time
from collections.abc import Sequence

import psycopg

from voltd import errors
from voltd.local import interfaces, process

_START_TIMEOUT_S = 60
_ATTEMPTS = 5


@dataclasses.dataclass(frozen=True)
class Programs:
    """A PostgreSQL installation that has TimescaleDB."""

    bin: pathlib.Path
    major: int
    timescaledb: str


class Postgres(interfaces.DatabaseServer):
    """A cluster of our own: loopback only, every local user is trusted.

    Args:
        programs: what to run it with; its major version must be the cluster's.
        home: folder for data and log; belongs to ``account``.
        port: the port to try first; 0 for a free one. After the first start it does not change.
        conf: extra lines of postgresql.conf; they win over ours.
        durable: False skips fsync: data survives every crash except the machine's.
    """

    def __init__(
        self,
        programs: Programs,
        home: pathlib.Path,
        account: process.Account,
        *,
        port: int,
        conf: Sequence[str],
        durable: bool,
    ) -> None:
        self.host = "127.0.0.1"
        self.port = port
        self._settled = False  # clients know the port
        self._programs = programs
        self._account = account
        self._conf = conf
        self._durable = durable
        self._data = home / "postgresql"
        self._log = home / "postgresql.log"

    @property
    def dsn(self) -> str:  # type: ignore[override] # follows the port
        """Superuser's conninfo to the database ``volt``."""
        return self._conninfo("volt", self.port)

    @property
    def running(self) -> bool:
        """Whether its postmaster runs."""
        return bool(process.find(["postgres"], self._data))

    def start(self) -> None:
        """See DatabaseServer."""
        if self.port and self.running:
            self._settled = True
            self._await(self.port)
            return
        if not (self._data / "voltd.conf").exists():
            self._create_cluster()
        for attempt in range(_ATTEMPTS):
            keep = self.port and (self._settled or attempt == 0)
            port = self.port if keep else process.free_port()
            if self._try(port):
                self.port = port
                self._settled = True
                self._ensure_database()
                return
        raise errors.VoltdError(
            f"PostgreSQL cannot listen on 127.0.0.1:{port}: another program has taken the port; its log ends with\n"
            + process.tail(self._log)
        )

    def stop(self, immediate: bool = False) -> None:
        """See DatabaseServer."""
        at_once = [(signal.SIGQUIT, 20.0), (signal.SIGKILL, 10.0)]
        in_order = [(signal.SIGINT, 60.0)]
        process.end(["postgres"], self._data, at_once if immediate else in_order + at_once)

    def _conninfo(self, database: str, port: int) -> str:
        return f"host={self.host} port={port} dbname={database} user=postgres"

    def _run(self, program: str, *arguments: str) -> str:
        done = process.run([str(self._programs.bin / program), *arguments], self._account)
        if done.returncode != 0:
            raise errors.VoltdError(f"{program} failed:\n{done.stdout.strip()}\n{process.tail(self._log)}")
        return done.stdout

    def _create_cluster(self) -> None:
        """Runs initdb. voltd.conf is written last, so a cluster without it is incomplete and is made anew."""
        process.remove(self._data)
        process.hand_over(self._data, self._account)
        self._run(
            "initdb", "-D", str(self._data), "--username=postgres", "--auth=trust", "--no-sync", "--no-instructions",
            "--encoding=UTF8", "--locale=C.UTF-8",
        )  # fmt: skip
        main = self._data / "postgresql.conf"
        main.write_text(main.read_text() + "\ninclude 'voltd.conf'\n")

    def _try(self, port: int) -> bool:
        """Starts it on this port; False when another program has the port."""
        file = self._data / "voltd.conf"
        file.write_text(settings(port, self._conf, self._durable))
        file.chmod(0o644)
        log_start = self._log.stat().st_size if self._log.exists() else 0
        try:
            self._run(
                "pg_ctl",
                "start",
                "--wait",
                f"--timeout={_START_TIMEOUT_S}",
                "--silent",
                "-D",
                str(self._data),
                "-l",
                str(self._log),
            )
            self._await(port)
        except errors.VoltdError:
            self.stop(immediate=True)
            news = self._log.read_bytes()[log_start:] if self._log.exists() else b""
            if b"Address already in use" in news:
                return False
            raise
        return True

    def _await(self, port: int) -> None:
        """Blocks until it takes connections; recovery after a crash is part of the wait."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                psycopg.connect(self._conninfo("postgres", port), connect_timeout=5).close()
            except psycopg.OperationalError as problem:
                ended = not self.running
                if ended or time.monotonic() > deadline:
                    what = "ended at once" if ended else f"took no connection for {_START_TIMEOUT_S} s ({problem})"
                    raise errors.VoltdError(
                        f"PostgreSQL ({self._programs.bin}) {what}. Its log {self._log} ends with\n"
                        f"{process.tail(self._log)}"
                    ) from problem
                time.sleep(0.02)
            else:
                return

    def _ensure_database(self) -> None:
        with psycopg.connect(self._conninfo("postgres", self.port), autocommit=True) as connection:
            if not connection.execute("select from pg_database where datname = 'volt'").fetchall():
                connection.execute("create database volt")
        # loading the old library would fail after an upgrade of the packages
        no_load = "-c timescaledb.disable_load=on"
        with psycopg.connect(self.dsn, autocommit=True, options=no_load) as connection:
            versions = connection.execute(
                "select installed_version, default_version from pg_available_extensions where name = 'timescaledb'"
            ).fetchone()
        installed, available = versions or (None, None)
        if installed == available:
            return
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(
                "alter extension timescaledb update" if installed else "create extension timescaledb cascade"
            )


def settings(port: int, conf: Sequence[str], durable: bool, listen: str = "127.0.0.1") -> str:
    """voltd.conf as text: moderate for 2 cores; lines of ``conf`` win over ours."""
    zone = "UTC" if pathlib.Path("/usr/share/zoneinfo/UTC").exists() else "GMT"  # GMT needs no zone files
    ours = {
        "listen_addresses": listen,
        "port": port,
        "unix_socket_directories": "",
        "shared_preload_libraries": "timescaledb",
        "timescaledb.telemetry_level": "off",
        "timescaledb.max_background_workers": 8,
        "max_worker_processes": 16,
        "max_connections": 100,
        "max_locks_per_transaction": 256,  # one per chunk that a query touches
        "shared_buffers": "256MB",
        "max_wal_size": "2GB",
        "fsync": "on" if durable else "off",
        "full_page_writes": "on" if durable else "off",
        "synchronous_commit": "on",
        "jit": "off",  # the private tree is without LLVM
        "timezone": zone,
        "log_timezone": zone,
        "log_line_prefix": "%m [%p] %q%a@%d ",
    }
    lines = [f"{name} = '{value}'" for name, value in ours.items()]
    return "\n".join(["# written by voltd at each start; changes are lost", *lines, *conf, ""])
