"""Connections as voltd wants them: named, in UTC, durable, and never silent for long when the network is.

Used by ``write`` and the jobs for long-lived connections; psycopg's errors come as they are, the caller wraps them.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import conninfo
from psycopg.types import json

from voltd import config

Connect = Callable[[], psycopg.Connection[Any]]


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


def connector(settings: config.Settings) -> Connect:
    """A function that opens a connection for long use: autocommit, UTC, synchronous commit on.

    Raises (when called):
        psycopg.Error: the database cannot be reached or refuses the session.
    """
    text = dsn(settings)
    timeout_ms = settings.database.statement_timeout_s * 1000

    def connect() -> psycopg.Connection[Any]:
        connection: psycopg.Connection[Any] = psycopg.connect(text, autocommit=True)
        json.set_json_dumps(str, connection)  # diagnostics are JSON text already
        connection.execute("SET TIME ZONE 'UTC'")
        connection.execute(f"SET statement_timeout = {timeout_ms}")
        # The server, too, must give up a transaction whose client vanished: its rows and locks would stay in the way.
        connection.execute("SET idle_in_transaction_session_timeout = '30s'")
        connection.execute(
            "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
        )
        # Invariant 4: an acked reading is on disk. A stricter setting of the server stays.
        connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )
        return connection

    return connect


def abandon(connection: psycopg.Connection[Any] | None) -> None:
    """Breaks a connection from another thread: whoever waits for its answer gets an OperationalError."""
    if connection is not None and not connection.closed:
        with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as peer:
            peer.shutdown(socket.SHUT_RDWR)
