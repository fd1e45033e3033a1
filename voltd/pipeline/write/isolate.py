"""Isolate: a batch with rows that the database refuses goes in without them, whatever their number.

Called by ``write`` inside the batch's transaction once the quick ways have failed. The rows are sent in slices, and a
function of the session inserts each under a savepoint at the server: a slice costs the same few statements with one bad
row as with nothing but bad ones. Decides nothing about retries: an error that is not a row's fault goes through.
"""

from __future__ import annotations

from typing import Any

import psycopg

from voltd import errors, readings
from voltd.database import queries, sqlstate
from voltd.pipeline.write import dead_letters
from voltd.pipeline.write.merge import Merge

_SLICE_ROWS = 5_000  # inserted by one statement, far within its time limit

# What psycopg's dumpers raise, beside its own errors, for a value that has no binary form.
UNENCODABLE = (ValueError, TypeError, OverflowError)


def isolate(merge: Merge, cursor: psycopg.Cursor[Any]) -> int:
    """Inserts what can be inserted, and fills in what can be filled in; the number of new rows.

    Args:
        merge: the readings; its result gets the dead letters, the refused readings and what was filled in.
        cursor: within the batch's transaction.

    Raises:
        psycopg.Error: not a row's fault; the transaction is lost.
    """
    cursor.execute(queries.text("unpack_as_needed"))
    cursor.execute(queries.text(f"create_{merge.device_type}_isolation"))
    places = range(len(merge.readings))
    return sum(_slice(cursor, merge, places[start : start + _SLICE_ROWS]) for start in places[::_SLICE_ROWS])


def _slice(cursor: psycopg.Cursor[Any], merge: Merge, places: range) -> int:
    device_type = merge.device_type
    rows = ((*merge.readings[place], place) for place in places)
    try:
        with cursor.connection.transaction():
            queries.copy(cursor, f"copy_{device_type}_isolation", [*readings.types(device_type), "int4"], rows)
    except psycopg.Error as error:
        refusal = sqlstate.wrap(error)
        if not isinstance(refusal, errors.StoreRejected):
            raise
    except UNENCODABLE as error:
        refusal = errors.StoreRejected(f"not encodable: {error}")
    else:
        others = cursor.execute(queries.text(f"isolate_{device_type}_readings")).fetchall()
        cursor.execute(queries.text(f"clear_{device_type}_isolation"))
        for place, code, text, _ in others:
            if code is not None:
                _refuse(merge, place, sqlstate.rejected(code, text))
        there = [(place, filled) for place, code, _, filled in others if code is None]
        if there:
            merge.compare(cursor, there)
        return len(places) - len(others)
    # Not even a value of its type, which ``decode`` should have seen: halves, until such rows stand alone.
    if len(places) == 1:
        _refuse(merge, places[0], refusal)
        return 0
    middle = len(places) // 2
    return sum(_slice(cursor, merge, half) for half in (places[:middle], places[middle:]))


def _refuse(merge: Merge, place: int, why: errors.VoltdError) -> None:
    merge.result.dead_letters += dead_letters.refused(merge.sources[place], merge.batch, why)
    merge.result.refused.append(merge.readings[place])
