"""A small pool of connections for what reads beside the pipeline: the scheduler's jobs and the commands.

The pipeline's writer has a connection of its own; nothing here may be used to write batches.
"""

import psycopg
import psycopg_pool
from psycopg import conninfo

from voltd.database import connections

Pool = psycopg_pool.ConnectionPool[psycopg.Connection[tuple[object, ...]]]

_STATEMENT_TIMEOUT_S = 30


class _Connection(connections.Connection):
    patience_s = _STATEMENT_TIMEOUT_S + connections.SILENT_S


def open_pool(dsn: str, size: int = 2, *, application_name: str = "voltd") -> Pool:
    """A pool of up to ``size`` autocommit connections in UTC, each statement limited to half a minute.

    Does not block: connections are made in the background, and made anew when they break. The caller closes it.
    """
    pool: Pool = psycopg_pool.ConnectionPool(
        conninfo.make_conninfo(dsn, application_name=application_name),
        connection_class=_Connection,
        min_size=1,
        max_size=size,
        kwargs={"autocommit": True, "options": f"-c TimeZone=UTC -c statement_timeout={_STATEMENT_TIMEOUT_S}s"},
        check=psycopg_pool.ConnectionPool.check_connection,
        name=application_name,
        open=False,
    )
    pool.open()
    return pool
