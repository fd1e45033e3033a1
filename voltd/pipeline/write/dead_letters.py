"""Dead letters into their table, once each even when their message comes again.

Called by ``write`` inside the batch's transaction. Of a message that may have left its dead letters already, the
redelivery key finds them. Where MQTT leaves it unknowable whether it is the same message, they are left twice.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from typing import Any

import psycopg

from voltd import errors, models
from voltd.database import queries
from voltd.host import identity
from voltd.pipeline.decode import decoder
from voltd.pipeline.write import bad_fields, letter_rows

_ACK_UNDER_WAY = dt.timedelta(minutes=2)  # as in the function record_dead_letters


def insert(
    cursor: psycopg.Cursor[Any], letters: Sequence[models.DeadLetter], client_id: str
) -> list[models.DeadLetter]:
    """Keeps the dead letters that no earlier delivery of their message has left; those that one has are returned.

    Of a field that is refused alone, repeats within an hour are counted in one row.

    Raises:
        psycopg.Error: as it comes; the transaction is lost.
    """
    if not letters:
        return []
    partial = [letter for letter in letters if letter.partial]
    whole = letters if not partial else [letter for letter in letters if not letter.partial]
    there = _insert_whole(cursor, whole, client_id) if whole else []
    if partial:
        there += bad_fields.count(cursor, partial, client_id, identity.run_number())
    return there


def _insert_whole(
    cursor: psycopg.Cursor[Any], letters: Sequence[models.DeadLetter], client_id: str
) -> list[models.DeadLetter]:
    keys = [letter_rows.redelivery_key(client_id, letter) for letter in letters]
    again = _again_within(letters, keys)
    asked = [place for place in range(len(letters)) if place not in again] if again else range(len(letters))
    chosen = [letters[place] for place in asked]
    client = hashlib.blake2b(client_id.encode(), digest_size=8).digest()
    arguments = {
        "client": int.from_bytes(client, "big", signed=True),
        "run": identity.run_number(),
        "writers": [f"{client_id}/stream", f"{client_id}/spool"],
        "keys": [keys[place] for place in asked],
        "redelivered": [letter.message.redelivered for letter in chosen],
        "runs": [_run(letter.message) for letter in chosen],
        "held_untils": [_held_until(letter.message) for letter in chosen],
        "named": [letter.message.packet_id != 0 for letter in chosen],
        **letter_rows.columns(chosen),
    }
    with letter_rows.cursor_for_arrays(cursor) as arrays:
        there = arrays.execute(queries.text("record_dead_letters"), arguments).fetchall()
    found = {asked[place - 1] for (place,) in there}
    return [letters[place] for place in sorted(found | again)]


def _run(message: models.Message) -> int | None:
    """The run of the daemon that received it; None: not known."""
    if message.connection:
        return identity.run_number()
    return message.spooling.run if message.spooling else None


def _held_until(message: models.Message) -> dt.datetime | None:
    """Until when its packet id was its own for certain: its ack was sent later. None: it is not acked yet."""
    if message.connection:
        return None
    return max(message.received_at, message.spooling.at) if message.spooling else message.received_at


def _again_within(letters: Sequence[models.DeadLetter], keys: list[int]) -> set[int]:
    """The places of redelivered ones whose message came earlier in the same batch."""
    places: set[int] = set()
    last: dict[int, dt.datetime] = {}
    until: dt.datetime | None = None  # the latest first delivery
    for place, (letter, key) in enumerate(zip(letters, keys, strict=True)):
        message = letter.message
        if not message.redelivered:
            until = message.received_at
        elif message.packet_id and key in last:
            # Not acked yet, the packet id is the message's own; from the spool it may have come round since.
            since = min(message.received_at, until or message.received_at) - _ACK_UNDER_WAY
            if message.connection or last[key] >= since:
                places.add(place)
        last[key] = message.received_at
    return places


def payload_of(message: models.Message, element: int | None) -> bytes:
    """What a dead letter keeps: the message's payload, or the JSON of one element of its array."""
    return message.payload if element is None else bytes(decoder.elements(message.payload)[element])


def refused(source: models.Source, batch: models.Batch, error: errors.VoltdError) -> list[models.DeadLetter]:
    """The dead letters of a reading that passed our checks but not the database's, one for each of its messages."""
    index, element = source
    return [
        models.DeadLetter(message, payload_of(message, element), models.Reason.REJECTED, str(error)[:200], element)
        for message in batch.messages[index : index + batch.gathered.get(index, 1)]
    ]
