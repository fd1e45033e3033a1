"""Another daemon with our client id, as the database knows it: for a broker that lets daemons ask nothing.

``consume.client_id.presence`` asks it, in its own thread. Every running daemon reports to ``volt.daemon`` every two
seconds (``jobs``): a daemon whose report gets newer while this one looks is alive, whatever the clocks say. Nothing
else proves it: a pid belongs to one machine, and two machines may have the same host name.
"""

from __future__ import annotations

import datetime as dt
import time

import psycopg
import structlog

from voltd import config
from voltd.database import connections, queries
from voltd.host import identity

_log = structlog.get_logger()

_FRESH_S = 10.0
_LOOK_S, _EVERY_S = 5.0, 0.25
_ANSWER_S = 3.0

_Process = tuple[str, int, dt.datetime]


class Heartbeats:
    """Looks into ``volt.daemon``.

    Args:
        settings: client id and database.
    """

    def __init__(self, settings: config.Settings) -> None:
        self._settings = settings
        self._me = identity.own()
        self._connect = connections.connector(settings, patience_s=_ANSWER_S)

    def living(self, before: dt.datetime | None) -> identity.Identity | None:
        """A process with our client id that keeps reporting; None if there is none, or the database is away.

        Blocks for up to 5 s if there may be one, and while the database does not answer.

        Args:
            before: only a process that started earlier counts; None: any, and it returns at once if none can be alive.
        """
        try:
            with self._connect() as connection:
                return self._watch(connection, before)
        except psycopg.Error as error:
            _log.debug("client_id.no_heartbeats", error=str(error))
            return None

    def _watch(self, connection: connections.Connection, before: dt.datetime | None) -> identity.Identity | None:
        first: dict[_Process, dt.datetime] = {}
        ends = time.monotonic() + _LOOK_S
        while time.monotonic() < ends:
            for process, reported_at in self._look(connection):
                if before is not None and process[2] >= before:
                    continue
                if first.setdefault(process, reported_at) != reported_at:
                    return identity.Identity("", *process)
            if before is None and not first:
                break
            time.sleep(_EVERY_S)
        return None

    def _look(self, connection: connections.Connection) -> list[tuple[_Process, dt.datetime]]:
        ours = {"client_id": self._settings.client_id, **self._me._asdict()}
        rows = connection.execute(queries.text("daemons_of_client_id"), ours).fetchall()
        return [
            ((host, pid, started_at), reported_at)
            for host, pid, started_at, reported_at, age_s in rows
            if age_s < _FRESH_S
        ]
