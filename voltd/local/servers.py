"""Starts Mosquitto and PostgreSQL with TimescaleDB: given ones, from Docker, from this host or from a private tree.

Called by the demo, ``voltd local`` and the test fixtures; see ``start`` for the order. VOLTD_LOCAL_SOURCE
(``docker``, ``host`` or ``private``) forces one source. Everything listens on the loopback address only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg

from voltd import errors
from voltd.local import containers, interfaces, mosquitto, postgres, process, sources
from voltd.local.interfaces import BrokerServer, DatabaseServer, Progress, ServerSource
from voltd.local.keeper import Keeper

_STATE = "servers.json"


@dataclasses.dataclass
class Servers:
    """Running servers.

    Attributes:
        broker: the broker.
        database: the database.
        source: one line for people: what runs and where it came from.
        tools: folders that hold psql and mosquitto_pub, as far as they came with the servers.
    """

    broker: BrokerServer
    database: DatabaseServer
    source: str
    tools: tuple[pathlib.Path, ...] = ()
    clean_up: Callable[[], None] | None = None  # of ephemeral servers: deletes their home or containers

    def stop(self) -> None:
        """Ends the servers that voltd started and blocks until they have ended; deletes the data of ephemeral ones."""
        try:
            if self.broker.controllable:
                self.broker.stop()
            if self.database.controllable:
                self.database.stop(immediate=self.clean_up is not None)
        finally:
            if self.clean_up:
                self.clean_up()

    def tool(self, name: str) -> str | None:
        """Path of a client program such as psql or mosquitto_pub; None where this host has none."""
        # our own first: PATH's psql may be Debian's wrapper script, or older than the server
        path = os.pathsep.join([*map(str, self.tools), os.environ.get("PATH", os.defpath)])
        return shutil.which(name, path=path)


def start(
    home: pathlib.Path,
    *,
    progress: Progress,
    environ: Mapping[str, str] = os.environ,
    broker_conf: Sequence[str] = (),
    postgres_conf: Sequence[str] = (),
    ephemeral: bool = True,
    durable: bool | None = None,
) -> Servers:
    """Uses the first source that works: given servers, Docker, this host's programs, the private tree. Blocks.

    Args:
        home: folder for data, configuration and logs; created if it is missing. As root its parents must be open to
            all users, since the servers run as an unprivileged one.
        progress: called with a line for people before each step that takes time.
        environ: VOLTD_TEST_DATABASE_DSN, VOLTD_TEST_MQTT_HOST, VOLTD_TEST_MQTT_PORT, VOLTD_LOCAL_SOURCE.
        broker_conf: extra lines of mosquitto.conf.
        postgres_conf: extra lines of postgresql.conf.
        ephemeral: True deletes ``home`` at ``stop()``, and also when this process is killed; False leaves the servers
            running, and uses neither given servers nor Docker.
        durable: whether to fsync; by default only for servers that are not ephemeral.

    Raises:
        ServersNotFound: no source works here.
        VoltdError: a server does not start; the message quotes its log.
    """
    home = home.resolve()
    durable = not ephemeral if durable is None else durable
    wanted = sources.forced(environ)
    if ephemeral:
        given_broker = _given_broker(environ) if wanted is None else None
        given_database = _given_database(environ) if wanted is None else None
        if given_broker and given_database:
            return Servers(given_broker, given_database, "servers named in the environment")
        if wanted in {None, ServerSource.DOCKER} and containers.engine_answers():
            try:
                return _in_docker(
                    given_broker,
                    given_database,
                    broker_conf=broker_conf,
                    postgres_conf=postgres_conf,
                    durable=durable,
                    progress=progress,
                )
            except Exception as problem:  # no image, no network, an engine that is not this host's
                if wanted is ServerSource.DOCKER:
                    raise errors.VoltdError(
                        f"Docker answers, but the servers did not start in it: {problem}"
                    ) from problem
                progress(f"Docker answers, but the servers did not start in it ({problem}); trying without")
    else:
        given_broker = given_database = None
    if wanted is ServerSource.DOCKER:
        reason = "no Docker engine answers" if ephemeral else "servers that keep running do not come from Docker"
        raise errors.ServersNotFound(f"VOLTD_LOCAL_SOURCE asks for Docker, but {reason}.\n{sources.HOW_TO_GET_SERVERS}")

    process.claim(home)
    keeper = Keeper(home) if ephemeral else None
    try:
        chosen = sources.choose(environ, progress, _major(home))
        account = process.account()
        process.hand_over(home, account)
        ports = recorded(home)
        database: DatabaseServer = given_database or postgres.Postgres(
            chosen.postgres,
            home,
            account,
            port=ports.get("database_port", 0),
            conf=postgres_conf,
            durable=durable,
        )
        broker: BrokerServer = given_broker or mosquitto.Mosquitto(
            chosen.mosquitto, home, account, port=ports.get("broker_port", 0), conf=broker_conf
        )
        servers = Servers(broker, database, chosen.text, chosen.tools, keeper.finish if keeper else None)
        progress(f"Starting {chosen.text}")
        broker.start()  # first, because it rejects a bad configuration quickly
        database.start()
        _record(home, servers)
    except BaseException:
        if keeper:
            keeper.finish()
        raise
    return servers


def prepare(progress: Progress, environ: Mapping[str, str] = os.environ) -> None:
    """Downloads the private tree if the first ephemeral ``start`` would have to.

    Raises:
        ServersNotFound: no source works here.
    """
    given = environ.get("VOLTD_TEST_DATABASE_DSN") and environ.get("VOLTD_TEST_MQTT_HOST")
    wanted = sources.forced(environ)
    if wanted is None and (given or containers.engine_answers()):
        return
    if wanted is not ServerSource.DOCKER:
        sources.choose(environ, progress)


def recorded(home: pathlib.Path) -> dict[str, Any]:
    """What the last start in this home recorded: ports, source, tools; empty if there was none."""
    try:
        state: dict[str, Any] = json.loads((home / _STATE).read_text())
    except (OSError, ValueError):
        return {}
    return state


def _record(home: pathlib.Path, servers: Servers) -> None:
    state = {
        "broker_port": servers.broker.port,
        "database_port": servers.database.port,
        "source": servers.source,
        "tools": [str(folder) for folder in servers.tools],
    }
    new = home / f"{_STATE}.new"
    new.write_text(json.dumps(state, indent=1))
    new.chmod(0o644)
    new.rename(home / _STATE)


def _major(home: pathlib.Path) -> int | None:
    """The PostgreSQL version of the cluster in this home."""
    try:
        return int((home / "postgresql/PG_VERSION").read_text())
    except (OSError, ValueError):
        return None


def _given_broker(environ: Mapping[str, str]) -> BrokerServer | None:
    host = environ.get("VOLTD_TEST_MQTT_HOST")
    return interfaces.GivenBroker(host, int(environ.get("VOLTD_TEST_MQTT_PORT", "1883"))) if host else None


def _given_database(environ: Mapping[str, str]) -> DatabaseServer | None:
    dsn = environ.get("VOLTD_TEST_DATABASE_DSN")
    if not dsn:
        return None
    try:
        with psycopg.connect(dsn, connect_timeout=10) as connection:
            return interfaces.GivenDatabase(dsn, connection.info.host, connection.info.port)
    except psycopg.Error as problem:
        raise errors.VoltdError(
            f"the database of VOLTD_TEST_DATABASE_DSN does not answer: {problem}",
            hint="Correct the variable, or unset it to get servers of voltd's own.",
        ) from problem


def _in_docker(
    broker: BrokerServer | None,
    database: DatabaseServer | None,
    *,
    broker_conf: Sequence[str],
    postgres_conf: Sequence[str],
    durable: bool,
    progress: Progress,
) -> Servers:
    progress("Starting Mosquitto and TimescaleDB in Docker (the images are downloaded once) …")
    with contextlib.ExitStack() as stack:
        if database is None:
            database = own_database = containers.DockerDatabase(postgres_conf, durable)
            stack.callback(own_database.remove)
        if broker is None:
            broker = own_broker = containers.DockerBroker(broker_conf)
            stack.callback(own_broker.remove)
        database.start()
        broker.start()
        return Servers(broker, database, "official images in Docker", clean_up=stack.pop_all().close)
