"""What the table of dead letters holds of each: its columns as arrays, and the key that identifies a redelivery.

Shared by ``write.dead_letters`` and ``write.bad_fields``.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg.types import array

from voltd import models


def redelivery_key(client_id: str, letter: models.DeadLetter) -> int:
    """64 bits that are the same for every delivery of one message (MQTT 5, 2.2.1: a redelivery keeps its packet id).

    A message that is published again by its device has another packet id, so it is another dead letter.
    """
    message = letter.message
    # Of one message several fields may be in conflict with what is stored.
    field = f"{letter.field}\0" if letter.reason is models.Reason.CONFLICT else ""
    head = f"{client_id}\0{message.packet_id}\0{letter.element}\0{message.topic}\0{field}".encode()
    digest = hashlib.blake2b(head + letter.payload, digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


@contextlib.contextmanager
def cursor_for_arrays(cursor: psycopg.Cursor[Any]) -> Iterator[psycopg.Cursor[Any]]:
    """A cursor of the same transaction that sends arrays in binary form, which costs half as much."""
    with cursor.connection.cursor() as binary:
        binary.adapters.register_dumper(list, array.ListBinaryDumper)
        yield binary


def columns(letters: Sequence[models.DeadLetter]) -> dict[str, list[Any]]:
    """What the table holds of each letter itself, as arrays."""
    return {
        "received_ats": [letter.message.received_at for letter in letters],
        "topics": [_storable(letter.message.topic) for letter in letters],
        "payloads": [letter.payload for letter in letters],
        "reasons": [str(letter.reason) for letter in letters],
        "details": [_storable(letter.detail) for letter in letters],
        "elements": [letter.element for letter in letters],
        "fields": [letter.field for letter in letters],
        "device_types": [letter.device_type for letter in letters],
        "device_ids": [None if letter.device_id is None else _storable(letter.device_id) for letter in letters],
    }


def _storable(text: str) -> str:
    """Text that PostgreSQL takes whatever a device put into it: no NUL, no lone surrogate."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode("utf-8")
