"""Advisory locks: what exactly one process does at a time in a database, and the key of each.

``jobs`` holds ``LEADER`` and ``RULES`` by ``Locks``, as long as its session lasts; ``migrate`` and ``rollup`` take
theirs for one run. PostgreSQL frees a lock when its holder's connection ends.

Three more are taken in SQL and end with their transaction: ``(7381240, 1)``, shared by writers and exclusive to the
closing of hours (``70_rollup.sql``); the hash of a client id, while its dead letters are written
(``37_dead_letters.sql``); the hash of a channel's name, while its repeats are added (``alert_delivery.sql``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterable
from typing import Any

import psycopg

from voltd.database import queries, session

LEADER = 0x6C656164  # "lead": runs the jobs meant for one daemon
RULES = 0x72756C65  # "rule": checks the rules
ROLLUP = 0x726F6C6C7570  # "rollup": brings the Apache-2 edition's aggregates up to date
MIGRATE = 0x766F6C7464  # "voltd": changes the schema


class Locks:
    """Some advisory locks, tried for by one thread; another one may ask ``holds``.

    Args:
        connect: opens a connection.
        keys: the locks.
    """

    def __init__(self, connect: session.Connect, keys: Iterable[int]) -> None:
        self._connect = connect
        self._keys = tuple(keys)
        self._held: frozenset[int] = frozenset()
        self._connection: psycopg.Connection[Any] | None = None

    def holds(self, key: int) -> bool:
        """Whether it is held, as of the last ``take``."""
        return key in self._held

    def take(self, leave: Container[int] = ()) -> frozenset[int]:
        """Takes those that are free, and finds out whether those held still are; returns the new ones.

        Args:
            leave: do not try for these now.

        Raises:
            psycopg.Error: the database is away; none is held any more.
        """
        try:
            if self._connection is None:
                self._connection = self._connect()
            wanted = [key for key in self._keys if key not in self._held and key not in leave]
            found = self._connection.execute(queries.text("try_locks"), {"keys": wanted}).fetchall()
        except psycopg.Error:
            self.release()
            raise
        taken = {key for key, free in found if free}
        new = frozenset(key for key in wanted if key in taken)
        self._held |= new
        if not self._held:
            self.release()
        return new

    def abandon(self) -> None:
        """Breaks the connection from another thread: a ``take`` that waits fails."""
        session.abandon(self._connection)

    def release(self) -> None:
        """Frees all of them."""
        self._held = frozenset()
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()
