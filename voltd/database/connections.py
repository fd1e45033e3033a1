"""Connections as voltd wants them: named, in UTC, durable, and never silent for long when the network is.

Used by ``write`` and the jobs for long-lived connections; psycopg's errors come as they are, the caller wraps them.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import psycopg
from psycopg import conninfo
from psycopg.types import json

from voltd import config

SILENT_S = 5.0  # a server that keeps its own time limit answers within so long of it

# Of a session, sent at once:
# - Whoever waits for another's lock must see what that one has committed, whatever the server's default is.
# - The server, too, must give up a transaction whose client vanished: its rows and locks would stay in the way.
# - Ruling a plan out makes it look dear enough to be compiled, which takes longer than these statements.
# - Invariant 4: an acked reading is on disk. A stricter setting of the server stays.
_SETUP = """
SET TIME ZONE 'UTC';
SET statement_timeout = {statement_timeout_ms};
SET default_transaction_isolation = 'read committed';
SET idle_in_transaction_session_timeout = '30s';
SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;
SET jit = off;
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
"""

_Result = TypeVar("_Result")


class Connection(psycopg.Connection[Any]):
    """A connection that ends itself when the server says nothing for too long, though nothing was closed.

    A time limit at the server is no help against a network that has become a black hole. Whoever waits then gets an
    OperationalError, and the connection is closed.

    Attributes:
        patience_s: longer than any answer of a healthy server may take.
        heard_at: when the server last took or sent anything, on the monotonic clock; 0: never yet.
    """

    patience_s: float = 60.0 + SILENT_S
    heard_at: float = 0.0

    def wait(self, gen: Generator[Any, Any, _Result], *args: Any, **kwargs: Any) -> _Result:
        """As psycopg's, through which every answer comes."""
        try:
            return super().wait(self._patient(gen), *args, **kwargs)
        except _SilentError:
            self.close()
            raise

    def _patient(self, gen: Generator[Any, Any, _Result]) -> Generator[Any, Any, _Result]:
        """The same, given up when nothing has been ready for so long; psycopg says now and then that nothing is (0)."""
        ends = time.monotonic() + self.patience_s
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                now = time.monotonic()
                if ready:
                    self.heard_at = now
                    ends = now + self.patience_s
                elif now > ends:
                    raise _SilentError(f"the server has said nothing for {self.patience_s:.0f} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            result: _Result = end.value
            return result


class _SilentError(psycopg.OperationalError):
    """No answer, and no error."""


Connect = Callable[[], Connection]


def heard_at(connection: Connection | None) -> float:
    """When the server was last heard on this connection, on the monotonic clock; 0: never yet."""
    return connection.heard_at if connection is not None else 0.0


def dsn(settings: config.Settings, *, migrate: bool = False) -> str:
    """The connection string with the password from its file and with time limits, unless it names them itself."""
    database = settings.database
    text = database.migrate_dsn if migrate and database.migrate_dsn else database.dsn
    given = conninfo.conninfo_to_dict(text)
    defaults: dict[str, Any] = {
        "application_name": f"voltd-{settings.instance}",
        "connect_timeout": database.connect_timeout_s,
        # A peer that vanished is noticed within about half a minute.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
    }
    if database.password is not None and not (migrate and database.migrate_dsn):
        defaults["password"] = database.password.get_secret_value()
    return conninfo.make_conninfo(**{**defaults, **given})


def connector(settings: config.Settings, *, patience_s: float | None = None, migrate: bool = False) -> Connect:
    """A function that opens a connection for long use: autocommit, UTC, synchronous commit on.

    A silent server holds it up for the connect timeout twice: for the log-in, and for the answer to the settings.

    Args:
        settings: where the database is.
        patience_s: see ``Connection``; by default a little more than the time limit of a statement.
        migrate: log in as the schema's owner, where the settings name that user.

    Raises (when called):
        psycopg.Error: the database cannot be reached or refuses the session.
    """
    text = dsn(settings, migrate=migrate)
    opening_s = int(conninfo.conninfo_to_dict(text)["connect_timeout"] or 0)
    if patience_s is None:
        patience_s = settings.database.statement_timeout_s + SILENT_S
    setup = _SETUP.format(statement_timeout_ms=settings.database.statement_timeout_s * 1000)

    def connect() -> Connection:
        connection = Connection.connect(text, autocommit=True)
        connection.patience_s = opening_s or patience_s  # nobody can abandon it yet
        json.set_json_dumps(str, connection)  # diagnostics are JSON text already
        connection.execute(setup)
        connection.patience_s = patience_s
        return connection

    return connect


def abandon(connection: psycopg.Connection[Any] | None) -> None:
    """Breaks a connection from another thread: whoever waits for its answer gets an OperationalError."""
    if connection is not None and not connection.closed:
        with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as peer:
            peer.shutdown(socket.SHUT_RDWR)
