"""Isolate: a batch with rows that the database refuses goes in without them, whatever their number.

Called by ``write`` inside the batch's transaction once the quick ways have failed. The rows are sent in slices, and a
function of the session inserts each under a savepoint at the server: a slice costs the same few statements with one bad
row as with nothing but bad ones. Decides nothing about retries: an error that is not a row's fault goes through.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from voltd import errors, models
from voltd.database import queries, sqlstate
from voltd.pipeline import write_dead_letters

_SLICE_ROWS = 5_000  # inserted by one statement, far within its time limit

# What psycopg's dumpers raise, beside its own errors, for a value that has no binary form.
UNENCODABLE = (ValueError, TypeError, OverflowError)

Row = tuple[models.Reading, models.Source]


def isolate(
    cursor: psycopg.Cursor[Any],
    noun: str,
    types: Sequence[str],
    rows: list[Row],
    *,
    messages: list[models.Message],
    result: models.WriteResult,
) -> int:
    """Inserts what can be inserted; the number of new rows.

    Args:
        cursor: within the batch's transaction.
        noun: ``vehicle`` or ``meter``.
        types: PostgreSQL types of the readings' columns.
        rows: readings with their sources.
        messages: of the batch; the sources point into it.
        result: gets the dead letters and the refused readings.

    Raises:
        psycopg.Error: not a row's fault; the transaction is lost.
    """
    cursor.execute(queries.text(f"create_{noun}_isolation"))
    new = 0
    for start in range(0, len(rows), _SLICE_ROWS):
        new += _slice(
            cursor, noun, [*types, "int4"], rows[start : start + _SLICE_ROWS], messages=messages, result=result
        )
    return new


def _slice(
    cursor: psycopg.Cursor[Any],
    noun: str,
    types: Sequence[str],
    rows: list[Row],
    *,
    messages: list[models.Message],
    result: models.WriteResult,
) -> int:
    try:
        with cursor.connection.transaction(), cursor.copy(queries.text(f"copy_{noun}_isolation")) as copy:
            copy.set_types(types)
            for place, (reading, _) in enumerate(rows):
                copy.write_row((*reading, place))
    except psycopg.Error as error:
        refusal = sqlstate.wrap(error)
        if not isinstance(refusal, errors.StoreRejected):
            raise
    except UNENCODABLE as error:
        refusal = errors.StoreRejected(f"not encodable: {error}")
    else:
        others = cursor.execute(queries.text(f"isolate_{noun}_readings")).fetchall()
        cursor.execute(queries.text(f"clear_{noun}_isolation"))
        for place, code, text in others:
            if code is not None:
                _refuse(rows[place], messages, result, sqlstate.rejected(code, text))
        return len(rows) - len(others)
    # Not even a value of its type, which ``decode`` should have seen: halves, until such rows stand alone.
    if len(rows) == 1:
        _refuse(rows[0], messages, result, refusal)
        return 0
    middle = len(rows) // 2
    halves = (rows[:middle], rows[middle:])
    return sum(_slice(cursor, noun, types, half, messages=messages, result=result) for half in halves)


def _refuse(row: Row, messages: list[models.Message], result: models.WriteResult, why: errors.VoltdError) -> None:
    result.dead_letters.append(write_dead_letters.refused(row, messages, why))
    result.refused.append(row[0])
