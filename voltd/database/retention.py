"""What the scheduler ages out: raw chunks on the Apache-2 edition, dead letters on both.

On Community a policy drops the raw chunks, and the function called here does nothing there.
"""

import dataclasses
from typing import Any

import psycopg

from voltd.database import sqlstate

_AT_ONCE = 10_000


@dataclasses.dataclass(frozen=True, slots=True)
class RetentionResult:
    """How many chunks and dead letters one run dropped."""

    chunks: int
    dead_letters: int


def run_once(connection: psycopg.Connection[Any]) -> RetentionResult:
    """Drops what is older than the settings in ``volt.setting`` say; at most 10,000 dead letters a run.

    Raises:
        errors.StoreUnavailable: nothing of the step under way was dropped; the next run comes.
    """
    try:
        chunks = connection.execute("SELECT volt.drop_old_readings()").fetchone()
        letters = connection.execute("SELECT volt.drop_old_dead_letters(%s)", (_AT_ONCE,)).fetchone()
    except psycopg.Error as error:
        raise sqlstate.wrap(error) from error
    return RetentionResult(chunks[0] if chunks else 0, letters[0] if letters else 0)
