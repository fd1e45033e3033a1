"""Who leads. Of the daemons of a database one runs the jobs meant for one, and one evaluates the rules.

Mostly it is the same daemon. It leads as long as its connection holds an advisory lock (``database.locks`` has the
keys); PostgreSQL frees the lock when the connection ends. Who has lost its connection and not noticed yet still takes
itself for the leader. The epoch of the evaluation cycles (``rules.cycle``) is the fencing token: a cycle that does not
continue the last one writes nothing.

After an outage the daemon that evaluated the rules before continues, as only it knows what it notified meanwhile; the
others yield for 15 s.
"""

from __future__ import annotations

import contextlib
import enum
import threading
import time
from collections.abc import Container, Iterable
from typing import Any

import psycopg
import structlog

from voltd import config
from voltd.alerts import service
from voltd.database import connections, locks, queries

_log = structlog.get_logger()

_ANSWER_S = 10.0  # for an answer that takes no work
_YIELD_S = 15.0
_GIVE_OVER_AFTER_S = 60.0  # from the end of the outage


class Locks:
    """Some advisory locks, tried for by one thread; another one may ask ``holds``.

    Args:
        connect: opens a connection.
        keys: the locks.
    """

    def __init__(self, connect: connections.Connect, keys: Iterable[int]) -> None:
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
        connections.abandon(self._connection)

    def release(self) -> None:
        """Frees all of them."""
        self._held = frozenset()
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()


class Role(enum.Enum):
    """What this daemon is to the rules.

    While the database answers it leads, follows or yields; the first failure makes a leader offline and any other wait.
    """

    LEADS = "it holds the lock of the rules, or did not ask yet"
    FOLLOWS = "it tries for the lock"
    OFFLINE = "the database is away, and it led before: it evaluates itself"
    WAITS = "the database is away, and another daemon led before"
    YIELDS = "the database is back, and the lock is left to the daemon that led before"


class Leader:
    """The election. One thread calls ``look``; any thread may ask ``holds`` and ``role``, or ``close`` it.

    Args:
        settings: where the database is; daemons that share a subscription do not begin as leaders, as one of them must
            not notify what all of them would.
        alerting: learns when this daemon leads and when it may not any more; None: the rules are not evaluated here.
    """

    def __init__(self, settings: config.Settings, alerting: service.Alerting | None) -> None:
        self._instance, self._alerting = settings.instance, alerting
        keys = (locks.LEADER,) if alerting is None else (locks.LEADER, locks.RULES)
        self._locks = Locks(connections.connector(settings, patience_s=_ANSWER_S), keys)
        self.role = Role.LEADS if settings.mqtt.share_group is None else Role.FOLLOWS
        self._back_at = float("-inf")  # when the last outage ended
        self._looking = threading.Lock()
        self._closed = False

    def holds(self, key: int) -> bool:
        """Whether this daemon leads in what the key stands for, as of the last ``look``."""
        return self._locks.holds(key)

    def look(self) -> None:
        """Takes the lead where nobody has it; blocks for a round trip.

        Raises:
            psycopg.Error: the database is away; this daemon does not lead any more.
        """
        with self._looking:
            if self._closed:
                return
            evaluated = self.holds(locks.RULES)
            yields = self.role is Role.WAITS or (self.role is Role.YIELDS and self._back_s() < _YIELD_S)
            try:
                new = self._locks.take(leave=(locks.RULES,) if yields else ())
            except psycopg.Error:
                self._lose(evaluated=evaluated)
                raise
            self._note(new, yields=yields)

    def close(self) -> None:
        """Leads no more; a ``look`` that waits fails."""
        self._closed = True
        self._locks.abandon()
        with self._looking:
            self._locks.release()

    def _lose(self, *, evaluated: bool) -> None:
        if evaluated and self._alerting is not None:
            self._alerting.follow()
        self.role = Role.OFFLINE if self.role in {Role.LEADS, Role.OFFLINE} else Role.WAITS
        if self._alerting is not None:
            self._alerting.cycle.abandon()  # it may wait for a silent server, and has a limit that suits its work

    def _note(self, new: frozenset[int], *, yields: bool) -> None:
        if self.role in {Role.OFFLINE, Role.WAITS}:
            self._back_at = time.monotonic()
        if self.holds(locks.RULES):
            self.role = Role.LEADS
        else:
            self.role = Role.YIELDS if yields else Role.FOLLOWS
            if self._alerting is not None and self._back_s() > _GIVE_OVER_AFTER_S:
                self._alerting.give_over()
        if locks.LEADER in new:
            _log.info("jobs.leading", instance=self._instance)
        if locks.RULES in new and self._alerting is not None:
            self._alerting.lead()
            _log.info("rules.leading", instance=self._instance)

    def _back_s(self) -> float:
        """Seconds since the end of the last outage."""
        return time.monotonic() - self._back_at
