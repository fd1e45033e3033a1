"""Keeps charging sessions: marks what the current state shows, and looks for sessions where that is marked.

One runner at a time, by an advisory lock. Each look is a transaction of its own, in which the marks go and the sessions
come; a kill loses a look, and no session is there twice.
"""

import time
from typing import Any

import psycopg

from voltd.database import locks, one_runner, queries

_VEHICLES_AT_ONCE = 5
_STATEMENT_LIMIT = "5min"  # a month of a vehicle that reports each second takes longer than statements of jobs may


def run_once(connection: psycopg.Connection[Any], *, within_s: float = 10.0) -> int:
    """Looks once at the current state, and then at what is marked, for about ``within_s`` seconds at most.

    Args:
        connection: in autocommit mode.
        within_s: what is left then is for the next run.

    Returns:
        How many marks were worked off; 0 also where another daemon is at it.

    Raises:
        errors.StoreUnavailable: transient; what was committed stays, call again.
    """
    until = time.monotonic() + within_s
    with one_runner.only_runner(connection, locks.SESSIONS, _STATEMENT_LIMIT) as alone:
        if not alone:
            return 0
        connection.execute(queries.text("mark_sessions"))
        return _keep(connection, until)


def _keep(connection: psycopg.Connection[Any], until: float) -> int:
    done = 0
    while True:
        row = connection.execute(queries.text("keep_sessions"), {"at_once": _VEHICLES_AT_ONCE}).fetchone()
        if row is None or not row[0]:
            return done
        done += int(row[0])
        if time.monotonic() > until:
            return done
