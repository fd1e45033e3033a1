"""Databases for the tests: each a copy of a template, as making and migrating one anew takes six times as long.

``conftest`` has one ``Cluster`` a server. A template is made when first asked for and goes with the run. Copies are
databases like any other: what is done in them stays in them.
"""

import contextlib
import secrets
from collections.abc import Iterator, Sequence
from typing import Any, LiteralString

import psycopg
from psycopg import conninfo, rows, sql

from voltd.database import migrate

_kept: dict[str, psycopg.Connection[Any]] = {}  # by DSN


def ask(dsn: str, query: str, values: Sequence[Any] | None = None, row_factory: Any = rows.tuple_row) -> list[Any]:
    """The rows of a query, over a session that is kept: a new one computes for longer than most queries.

    A kept session that has ended is replaced; the query is asked again.
    """
    while True:
        kept = _kept.pop(dsn, None)
        session = kept or psycopg.connect(dsn, autocommit=True, prepare_threshold=None)
        try:
            found = session.cursor(row_factory=row_factory).execute(query, values).fetchall()
        except BaseException as error:
            session.close()
            if kept is None or not isinstance(error, psycopg.OperationalError):
                raise
            continue
        if _kept.setdefault(dsn, session) is not session:  # another thread has kept one meanwhile
            session.close()
        return found


def end_sessions(*dsns: str) -> None:
    """Ends the kept sessions of these databases; without one, of all."""
    for dsn in dsns or tuple(_kept):
        session = _kept.pop(dsn, None)
        if session:
            session.close()


class Cluster:
    """New databases on one server.

    Args:
        superuser_dsn: to any database of the server.
    """

    def __init__(self, superuser_dsn: str) -> None:
        self._superuser_dsn = superuser_dsn
        self._templates: dict[bool, str] = {}

    @contextlib.contextmanager
    def database(self, *, schema: bool) -> Iterator[str]:
        """A new database with the extension timescaledb and, with ``schema``, voltd's; its DSN. Dropped afterwards."""
        name = f"test_{secrets.token_hex(6)}"
        if schema not in self._templates:
            self._templates[schema] = self._template(schema)
        # Copying files is half the work of writing each block to the log.
        self._execute("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", name, self._templates[schema])
        try:
            yield self._dsn(name)
        finally:
            end_sessions(self._dsn(name))
            # over a new connection: a test may have restarted the server
            self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def close(self) -> None:
        """Drops the templates; on a server that was given, nothing stays behind."""
        for name in self._templates.values():
            self._execute("ALTER DATABASE {} IS_TEMPLATE false", name)
            self._execute("DROP DATABASE {} WITH (FORCE)", name)
        self._templates = {}

    def _template(self, schema: bool) -> str:
        name = f"test_template_{secrets.token_hex(6)}"
        self._execute("CREATE DATABASE {}", name)
        if schema:
            migrate.migrate(self._dsn(name), migrate.MigrateOptions(), report=lambda _line: None)
        else:
            with psycopg.connect(self._dsn(name), autocommit=True) as connection:
                connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        # Only a database without sessions can be copied: TimescaleDB leaves one alone that nobody may connect to.
        self._execute("ALTER DATABASE {} IS_TEMPLATE true ALLOW_CONNECTIONS false", name)
        with psycopg.connect(self._superuser_dsn, autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [name])
        return name

    def _dsn(self, name: str) -> str:
        return conninfo.make_conninfo(self._superuser_dsn, dbname=name)

    def _execute(self, statement: LiteralString, *names: str) -> None:
        with psycopg.connect(self._superuser_dsn, autocommit=True) as admin:
            admin.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
