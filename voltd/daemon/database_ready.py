"""Whether readings can be stored. ``app`` asks before it takes any, and the drain when the database is back.

The schema is this version's, the database keeps readings for as long as they are taken, and its clock is noted beside
the host's. Answers may take long, so ``app`` asks in a thread of its own while the main thread hears signals.
"""

from __future__ import annotations

import psycopg
import structlog

from voltd import config
from voltd.database import connections, retention, schema_state, sqlstate
from voltd.host import host_clock, witnesses

_log = structlog.get_logger()

_ANSWER_S = 10.0  # for an answer that takes no work


class DatabaseReady:
    """Asks the database.

    Args:
        settings: which database, and how old readings may be.
        clock: learns what time it is there.
    """

    def __init__(self, settings: config.Settings, clock: host_clock.HostClock) -> None:
        self._settings, self._clock = settings, clock

    def require(self) -> None:
        """Returns if readings can be stored; blocks for some round trips.

        Raises:
            SchemaError: the schema is not the one that this version expects; nothing was written.
            StoreUnavailable: transient; ask again.
        """
        schema_state.status(connections.dsn(self._settings)).require_current()
        try:
            with connections.connector(self._settings, patience_s=_ANSWER_S)() as connection:
                self._clock.note_database(witnesses.database(connection))
                # What is taken must outlive the database's retention, which may have been set for other limits.
                if retention.ensure(connection, self._settings.max_age_days):
                    _log.warning("retention.raised", days=self._settings.max_age_days)
        except psycopg.Error as error:
            raise sqlstate.wrap(error) from error
