"""A small pool of connections for what reads beside the pipeline: the scheduler's jobs and the commands.

The pipeline's writer has a connection of its own; nothing here may be used to write batches.
"""

import psycopg
import psycopg_pool
from psycopg import conninfo

from voltd.database import sqlstate

Pool = psycopg_pool.ConnectionPool[psycopg.Connection[tuple[object, ...]]]

_OPEN_WITHIN_S = 10.0


def open_pool(dsn: str, size: int = 2, *, password: str | None = None, application_name: str = "voltd") -> Pool:
    """An open pool of up to ``size`` autocommit connections in UTC; blocks until the first one is made.

    The caller closes it. Connections that break are made anew in the background.

    Raises:
        errors.StoreUnavailable: no connection within ten seconds.
    """
    overrides = {"application_name": application_name} | ({"password": password} if password else {})
    pool: Pool = psycopg_pool.ConnectionPool(
        conninfo.make_conninfo(dsn, **overrides),
        min_size=1,
        max_size=size,
        kwargs={"autocommit": True, "options": "-c TimeZone=UTC"},
        check=psycopg_pool.ConnectionPool.check_connection,
        name=application_name,
        open=False,
    )
    try:
        pool.open(wait=True, timeout=_OPEN_WITHIN_S)
    except psycopg.Error as error:
        pool.close()
        raise sqlstate.wrap(error) from error
    return pool
