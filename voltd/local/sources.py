"""Which programs to run: those installed on this host if they are suitable, else the private tree's.

Called by ``servers``. Broker and database are chosen independently, so a host with PostgreSQL and TimescaleDB
but without Mosquitto uses its own PostgreSQL. It only reads files, except that ``private_tree`` may download.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping

from voltd import errors
from voltd.local import interfaces, postgres, private_tree

OLDEST_POSTGRES, NEWEST_POSTGRES = 15, 18
OLDEST_TIMESCALEDB = (2, 19)

HOW_TO_GET_SERVERS = """There are three ways to get them:
  1. a Docker engine that this user may talk to (only for `voltd demo` and the tests);
  2. mosquitto and PostgreSQL 15-18 with TimescaleDB 2.19 or newer, installed on this host
     (Debian 13: apt install mosquitto mosquitto-clients postgresql-17-timescaledb);
  3. servers that exist elsewhere: set VOLTD_MQTT__HOST, VOLTD_MQTT__PORT and VOLTD_DATABASE__DSN for voltd,
     VOLTD_TEST_MQTT_HOST, VOLTD_TEST_MQTT_PORT and VOLTD_TEST_DATABASE_DSN for the tests."""


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The programs to run, a text that says where they are from, and the folders with psql and mosquitto_pub."""

    mosquitto: pathlib.Path
    postgres: postgres.Programs
    text: str
    tools: tuple[pathlib.Path, ...]


def forced(environ: Mapping[str, str]) -> interfaces.ServerSource | None:
    """The source that VOLTD_LOCAL_SOURCE names; None tries all in order.

    ``docker``, ``host`` (the private tree only for what the host lacks) or ``private``.
    """
    value = environ.get("VOLTD_LOCAL_SOURCE", "").strip().lower()
    if not value:
        return None
    if value not in {"docker", "host", "private"}:
        raise errors.UsageError(
            f"VOLTD_LOCAL_SOURCE is {value!r}", hint="Use docker, host or private, or leave it unset."
        )
    return interfaces.ServerSource(value)


def choose(environ: Mapping[str, str], progress: interfaces.Progress, major: int | None = None) -> Chosen:
    """Chooses host programs if they are suitable, the private tree's for the rest; may download for a minute.

    Args:
        environ: PATH, XDG_CACHE_HOME, VOLTD_LOCAL_SOURCE.
        progress: called before each step that takes time.
        major: the PostgreSQL version that an existing cluster needs.

    Raises:
        ServersNotFound: no source has them; the message names the ways to get servers.
    """
    private = forced(environ) is interfaces.ServerSource.PRIVATE
    database = None if private else next(host_postgres(environ, major), None)
    mosquitto = None if private else host_mosquitto(environ)
    tools = [database.bin] if database else []
    if database and mosquitto:
        return Chosen(mosquitto, database, _text("host", database, "host"), tuple(tools))
    try:
        tree = private_tree.ready(environ, progress)
    except private_tree.NotPossible as problem:
        missing = [
            name for name, there in (("mosquitto", mosquitto), ("PostgreSQL with TimescaleDB", database)) if not there
        ]
        raise errors.ServersNotFound(
            f"Servers for a local run are missing: {' and '.join(missing)}. "
            f"A private copy is not possible here: {problem}.\n{HOW_TO_GET_SERVERS}"
        ) from problem
    where = "host" if database else "private"
    if database is None:
        database = _in_tree(tree, major)
        tools.append(database.bin)
    text = _text("host" if mosquitto else "private", database, where)
    return Chosen(mosquitto or tree / "usr/sbin/mosquitto", database, text, (*tools, tree / "usr/bin"))


def host_mosquitto(environ: Mapping[str, str]) -> pathlib.Path | None:
    """The host's mosquitto; Debian keeps it in a folder that an ordinary user's PATH lacks."""
    path = os.pathsep.join([environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which("mosquitto", path=path)
    return pathlib.Path(found) if found else None


def host_postgres(environ: Mapping[str, str], major: int | None = None) -> Iterator[postgres.Programs]:
    """The host's PostgreSQL installations with a recent TimescaleDB: first PATH's, then the newest."""
    folders = []
    configured = shutil.which("pg_config", path=environ.get("PATH", os.defpath))
    if configured:
        asked = subprocess.run([configured, "--bindir"], capture_output=True, text=True, check=False)
        folders.append(pathlib.Path(asked.stdout.strip()))
    installed = [*pathlib.Path("/usr/lib/postgresql").glob("*/bin"), *pathlib.Path("/usr").glob("pgsql-*/bin")]
    folders += sorted(installed, key=lambda folder: _number(folder.parent.name), reverse=True)
    for folder in dict.fromkeys(folders):
        programs = inspect(folder)
        if programs and major in {None, programs.major}:
            yield programs


def inspect(folder: pathlib.Path) -> postgres.Programs | None:
    """The installation in this bin folder; None if a part is missing or too old."""
    if not all((folder / program).exists() for program in ("postgres", "initdb", "pg_ctl")):
        return None
    asked = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False)
    version = re.search(r"\) (\d+)", asked.stdout)
    if not version or not OLDEST_POSTGRES <= int(version[1]) <= NEWEST_POSTGRES:
        return None
    major = int(version[1])
    usr = folder.parent.parent.parent.parent  # Debian: usr/lib/postgresql/17/bin beside usr/share/postgresql/17
    shares = (usr / f"share/postgresql/{major}", folder.parent / "share/postgresql", folder.parent / "share")
    for share in shares:
        try:
            control = (share / "extension/timescaledb.control").read_text()
        except OSError:
            continue
        found = re.search(r"^default_version\s*=\s*'(\d+)\.(\d+)([^']*)'", control, re.MULTILINE)
        if found and (int(found[1]), int(found[2])) >= OLDEST_TIMESCALEDB:
            return postgres.Programs(folder, major, f"{found[1]}.{found[2]}{found[3]}")
    return None


def _in_tree(tree: pathlib.Path, major: int | None) -> postgres.Programs:
    for folder in (tree / "usr/lib/postgresql").glob("*/bin"):
        programs = inspect(folder)
        if programs and major in {None, programs.major}:
            return programs
        if programs:
            raise errors.VoltdError(
                f"The data folder needs PostgreSQL {major}, the private copy is {programs.major}",
                hint="Install that version with TimescaleDB, or choose another folder with --home.",
            )
    raise errors.VoltdError(
        f"The private copy of the servers in {tree} is damaged", hint="Delete that folder and start again."
    )


def _text(broker: str, database: postgres.Programs, where: str) -> str:
    return f"Mosquitto ({broker}), PostgreSQL {database.major} with TimescaleDB {database.timescaledb} ({where})"


def _number(name: str) -> int:
    digits = re.search(r"\d+", name)
    return int(digits[0]) if digits else 0
