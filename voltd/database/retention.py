"""Ages what the settings say is old: raw readings whose energy is kept, dead letters, alerts.

The scheduler calls ``run_once`` about once an hour. It deletes through functions of the schema's owner, because the
daemon's role may not delete.
"""

import dataclasses
from typing import Any

import psycopg

from voltd.database import queries, sqlstate

_AT_ONCE = 10_000


@dataclasses.dataclass(frozen=True, slots=True)
class RetentionResult:
    """What one run dropped: chunks of raw readings, single dead letters, episodes of alerts."""

    chunks: int
    dead_letters: int
    alerts: int = 0


def run_once(connection: psycopg.Connection[Any]) -> RetentionResult:
    """Drops what is too old; ``connection`` must be in autocommit mode. Blocks until done.

    Raises:
        errors.StoreUnavailable: transient; what was dropped stays dropped, call again.
    """
    try:
        chunks = _number(connection, "drop_old_readings")
        dead_letters = alerts = 0
        while gone := _number(connection, "drop_old_dead_letters", at_most=_AT_ONCE):
            dead_letters += gone
        while gone := _number(connection, "drop_old_alerts", at_most=_AT_ONCE):
            alerts += gone
    except psycopg.Error as error:
        raise sqlstate.wrap(error) from error
    return RetentionResult(chunks, dead_letters, alerts)


def ensure(connection: psycopg.Connection[Any], at_least_days: int) -> bool:
    """Raises the database's retention of raw readings where a daemon takes older ones; whether it had to.

    To be called before such readings are written, or the retention may drop them as soon as they are stored.

    Raises:
        errors.StoreUnavailable: transient; nothing was changed.
    """
    try:
        row = connection.execute(queries.text("raise_raw_retention"), {"at_least_days": at_least_days}).fetchone()
    except psycopg.Error as error:
        raise sqlstate.wrap(error) from error
    return bool(row and row[0])


def _number(connection: psycopg.Connection[Any], name: str, **parameters: object) -> int:
    row = connection.execute(queries.text(name), parameters).fetchone()
    return int(row[0]) if row else 0
