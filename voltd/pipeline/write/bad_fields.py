"""Dead letters of single fields: repeats of one device, field and reason are counted in one row an hour.

Called by ``write.dead_letters`` inside the batch's transaction. A device that sends the same bad value every minute
leaves 24 rows a day. What was sent again (DUP) does not count again, and neither does what the spool gives again: it is
drained in the order of arrival, so what arrived before the end of its last committed batch was counted with that.
(Where this host's clock went back in between, too few are counted.)
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Sequence
from typing import Any

import psycopg

from voltd import models
from voltd.database import queries
from voltd.pipeline.write import letter_rows

_HOUR = dt.timedelta(hours=1)


@dataclasses.dataclass(slots=True)
class _Repeats:
    """What a batch has of one key."""

    first: models.DeadLetter
    earlier_key: int  # of the hour before: a redelivery may have been counted there
    counted: int = 0  # delivered for the first time
    at_end: int = 0  # of these what arrived at the very end of the last batch from the spool: of it or after it
    last: dt.datetime | None = None
    redelivered: list[models.DeadLetter] = dataclasses.field(default_factory=list)


def repeat_key(letter: models.DeadLetter, hour: dt.datetime) -> int:
    """64 bits that are the same for a device, field and reason in one hour (UTC)."""
    text = f"{letter.device_type}\0{letter.device_id}\0{letter.field}\0{letter.reason}\0{hour:%Y%m%d%H}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def count(
    cursor: psycopg.Cursor[Any],
    letters: Sequence[models.DeadLetter],
    client_id: str,
    run: int,
) -> list[models.DeadLetter]:
    """Counts them; those that an earlier delivery of their message has left are returned.

    Raises:
        psycopg.Error: as it comes; the transaction is lost.
    """
    drained_until = _drained_until(cursor, letters, client_id)
    groups = _grouped(letters, drained_until)
    keys = sorted({*groups, *(one.earlier_key for one in groups.values() if not one.counted)})
    found = [groups.get(key) for key in keys]
    arguments: dict[str, Any] = {
        "keys": keys,
        "counts": [one.counted if one else 0 for one in found],
        "at_ends": [one.at_end if one else 0 for one in found],
        "drained_until": drained_until,
        "lasts": [one.last if one else None for one in found],
    }
    with letter_rows.cursor_for_arrays(cursor) as arrays:
        there = {key for (key,) in arrays.execute(queries.text("count_bad_fields"), arguments)}
    known: list[models.DeadLetter] = []
    new: list[tuple[int, _Repeats]] = []
    for key, one in groups.items():
        known += one.redelivered
        if key in there or (not one.counted and one.earlier_key in there):
            continue
        if not one.counted:
            known.pop()
        new.append((key, one))
    if new:
        with letter_rows.cursor_for_arrays(cursor) as arrays:
            arrays.execute(queries.text("insert_bad_fields"), _rows(new, client_id, run))
    return known


def _drained_until(
    cursor: psycopg.Cursor[Any], letters: Sequence[models.DeadLetter], client_id: str
) -> dt.datetime | None:
    """Where these come from the spool, until when what it holds was committed by an earlier batch."""
    if all(letter.message.connection for letter in letters):
        return None
    row = cursor.execute(queries.text("drained_until"), {"writer": f"{client_id}/spool"}).fetchone()
    return row[0] if row else None


def _grouped(letters: Sequence[models.DeadLetter], drained_until: dt.datetime | None) -> dict[int, _Repeats]:
    groups: dict[int, _Repeats] = {}
    keys: dict[tuple[Any, ...], int] = {}
    for letter in letters:
        message = letter.message
        hour = message.received_at.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0)
        of = (letter.device_type, letter.device_id, letter.field, letter.reason, hour)
        key = keys.get(of)
        if key is None:
            key = keys[of] = repeat_key(letter, hour)
            groups[key] = _Repeats(letter, repeat_key(letter, hour - _HOUR))
        one = groups[key]
        until = None if message.connection else drained_until
        if message.redelivered or (until and message.received_at < until):
            one.redelivered.append(letter)
            continue
        if not one.counted:
            one.first = letter
        one.counted += 1
        one.at_end += message.received_at == until
        one.last = max(one.last or message.received_at, message.received_at)
    return groups


def _rows(new: Sequence[tuple[int, _Repeats]], client_id: str, run: int) -> dict[str, list[Any]]:
    first = [one.first for _, one in new]
    return {
        **letter_rows.columns(first),
        "redelivery_keys": [letter_rows.redelivery_key(client_id, letter) for letter in first],
        "redelivered_to": [run if letter.message.redelivered else None for letter in first],
        "keys": [key for key, _ in new],
        "counts": [max(one.counted, 1) for _, one in new],
        "lasts": [one.last if one.counted > 1 else None for _, one in new],
    }
