"""Dead letters into their table, once each even when their message comes again.

Called by ``write`` inside the batch's transaction. A message delivered with the DUP flag may have left its dead
letters already: the redelivery key tells.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from typing import Any

import psycopg

from voltd import errors, models
from voltd.database import queries
from voltd.pipeline import decode

_TYPES = ["timestamptz", "text", "bytea", "text", "text", "int4", "int8"]


# How long a message may lie unread in the socket of a daemon whose session another one has taken over: the redelivery
# to that one is then the older of the two.
_UNREAD = dt.timedelta(seconds=60)


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
    """Inserts the dead letters; those of redelivered messages only where they are not there yet: these are returned."""
    if letters:
        client = hashlib.blake2b(client_id.encode(), digest_size=8).digest()
        cursor.execute(queries.text("lock_dead_letters"), {"client": int.from_bytes(client, "big", signed=True)})
    first, there = _without_overtaken(
        cursor, [letter for letter in letters if not letter.message.redelivered], client_id
    )
    if first:
        with cursor.copy(queries.text("copy_dead_letters")) as copy:
            copy.set_types(_TYPES)
            for letter in first:
                copy.write_row(_row(client_id, letter))
    again = [letter for letter in letters if letter.message.redelivered]
    if again:
        names = ("received_at", "topic", "payload", "reason", "detail", "element", "redelivery_key")
        rows = [dict(zip(names, _row(client_id, letter), strict=True)) for letter in again]
        cursor.executemany(queries.text("insert_redelivered_dead_letter"), rows, returning=True)
    for letter in again:
        if cursor.fetchone() is None:
            there.append(letter)
        cursor.nextset()
    return there


def _without_overtaken(
    cursor: psycopg.Cursor[Any], letters: list[models.DeadLetter], client_id: str
) -> tuple[list[models.DeadLetter], list[models.DeadLetter]]:
    """Those that are not there, and those that the redelivery of their message has left already."""
    if not letters:
        return [], []
    keys = [redelivery_key(client_id, letter) for letter in letters]
    since = min(letter.message.received_at for letter in letters) - _UNREAD
    found = dict(cursor.execute(queries.text("dead_letters_overtaken"), {"keys": keys, "since": since}).fetchall())
    new: list[models.DeadLetter] = []
    there: list[models.DeadLetter] = []
    for key, letter in zip(keys, letters, strict=True):
        overtaken = key in found and found[key] >= letter.message.received_at - _UNREAD
        (there if overtaken else new).append(letter)
    return new, there


def refused(
    row: tuple[models.Reading, models.Source], messages: list[models.Message], error: errors.VoltdError
) -> models.DeadLetter:
    """The dead letter of a reading that passed our checks but not the database's."""
    _reading, (index, element) = row
    message = messages[index]
    payload = message.payload if element is None else bytes(decode.elements(message.payload)[element])
    return models.DeadLetter(message, payload, models.Reason.REJECTED, str(error)[:200], element)


def _row(client_id: str, letter: models.DeadLetter) -> tuple[Any, ...]:
    message = letter.message
    return (
        message.received_at,
        _storable(message.topic),
        letter.payload,
        str(letter.reason),
        _storable(letter.detail),
        letter.element,
        redelivery_key(client_id, letter),
    )


def _storable(text: str) -> str:
    """Text that PostgreSQL takes whatever a device put into it: no NUL, no lone surrogate."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode("utf-8")
