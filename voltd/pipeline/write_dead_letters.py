"""Dead letters into their table, once each even when their message comes again.

Called by ``write`` inside the batch's transaction. Of a message that may have left its dead letters already, the
redelivery key finds them. Where MQTT leaves it unknowable whether it is the same message, they are left twice.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

import psycopg

from voltd import errors, models
from voltd.database import queries
from voltd.pipeline import decode

_TYPES = ["timestamptz", "text", "bytea", "text", "text", "int4", "int8", "int8"]
_RUN = secrets.randbits(63)  # this run of the daemon, in what was redelivered to it
_ACK_UNDER_WAY = dt.timedelta(minutes=2)  # as in the query dead_letters_there


def redelivery_key(client_id: str, letter: models.DeadLetter) -> int:
    """64 bits that are the same for every delivery of one message (MQTT 5, 2.2.1: a redelivery keeps its packet id).

    A message that is published again by its device has another packet id, so it is another dead letter.
    """
    message = letter.message
    head = f"{client_id}\0{message.packet_id}\0{letter.element}\0{message.topic}\0".encode()
    digest = hashlib.blake2b(head + letter.payload, digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def insert(
    cursor: psycopg.Cursor[Any], letters: Sequence[models.DeadLetter], client_id: str
) -> list[models.DeadLetter]:
    """Inserts the dead letters that no earlier delivery of their message has left; those that one has are returned."""
    if not letters:
        return []
    client = hashlib.blake2b(client_id.encode(), digest_size=8).digest()
    cursor.execute(queries.text("lock_dead_letters"), {"client": int.from_bytes(client, "big", signed=True)})
    keys = [redelivery_key(client_id, letter) for letter in letters]
    places = _there(cursor, letters, keys, client_id) | _again_within(letters, keys)
    with cursor.copy(queries.text("copy_dead_letters")) as copy:
        copy.set_types(_TYPES)
        for place, (letter, key) in enumerate(zip(letters, keys, strict=True)):
            if place not in places:
                copy.write_row(_row(letter, key))
    return [letters[place] for place in sorted(places)]


def _there(
    cursor: psycopg.Cursor[Any], letters: Sequence[models.DeadLetter], keys: list[int], client_id: str
) -> set[int]:
    """The places of those in the table; without a packet id (QoS 0) nothing tells one message from another."""
    asked = [place for place, letter in enumerate(letters) if letter.message.packet_id]
    if not asked:
        return set()
    messages = [letters[place].message for place in asked]
    arguments = {
        "keys": [keys[place] for place in asked],
        "received_ats": [message.received_at for message in messages],
        "redelivered": [message.redelivered for message in messages],
        "acked": [not message.connection for message in messages],
        "writers": [f"{client_id}/stream", f"{client_id}/spool"],
        "run": _RUN,
    }
    return {asked[place - 1] for (place,) in cursor.execute(queries.text("dead_letters_there"), arguments)}


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


def refused(
    row: tuple[models.Reading, models.Source], messages: list[models.Message], error: errors.VoltdError
) -> models.DeadLetter:
    """The dead letter of a reading that passed our checks but not the database's."""
    _reading, (index, element) = row
    message = messages[index]
    payload = message.payload if element is None else bytes(decode.elements(message.payload)[element])
    return models.DeadLetter(message, payload, models.Reason.REJECTED, str(error)[:200], element)


def _row(letter: models.DeadLetter, key: int) -> tuple[Any, ...]:
    message = letter.message
    return (
        message.received_at,
        _storable(message.topic),
        letter.payload,
        str(letter.reason),
        _storable(letter.detail),
        letter.element,
        key,
        _RUN if message.redelivered else None,
    )


def _storable(text: str) -> str:
    """Text that PostgreSQL takes whatever a device put into it: no NUL, no lone surrogate."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode("utf-8")
