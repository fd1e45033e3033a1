"""Work that one process does at a time in a database, whose statements may take longer than those of other jobs."""

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg

from voltd.database import queries, sqlstate


@contextlib.contextmanager
def only_runner(connection: psycopg.Connection[Any], key: int, statement_limit: str) -> Iterator[bool]:
    """Whether nobody else is at it; the others are kept away until the block ends, or the connection breaks.

    Args:
        connection: in autocommit mode.
        key: of the advisory lock, from ``locks``.
        statement_limit: how long a statement of the block may take, as PostgreSQL writes it.

    Raises:
        errors.StoreUnavailable: transient, also for errors of the block; what was committed stays, call again.
    """
    try:
        row = connection.execute(queries.text("rollup_try_lock"), {"key": key}).fetchone()
        if row is None or row[0] is not True:
            yield False
            return
        row = connection.execute(queries.text("statement_limit")).fetchone()
        try:
            connection.execute(queries.text("limit_statements"), {"limit": statement_limit})
            yield True
        finally:
            connection.execute(queries.text("rollup_unlock"), {"key": key})
            connection.execute(queries.text("limit_statements"), {"limit": row[0] if row else "0"})
    except psycopg.Error as error:
        raise sqlstate.wrap(error) from error
