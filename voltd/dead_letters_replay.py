"""``voltd dead-letters replay``: dead letters through decode and write once more, after a limit or voltd has changed.

Time is judged against when the message was received, as then. What is stored now is marked in the transaction that
stores it, so a replay that is killed can be run again; what is refused again stays as it is.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import psycopg

from voltd import config, errors, models
from voltd.database import migrate, queries, session, sqlstate
from voltd.pipeline import decode, write, write_current

OWNER_HINT = "payloads are for the schema's owner only: set database.migrate_dsn to a user with the role volt_owner"
_AT_ONCE = 1000  # dead letters in one transaction
_MOST_BYTES = 32 << 20
_INSTANCE = "dead-letters"


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """What is replayed: the filters of the SQL, and how."""

    filters: dict[str, Any]
    again: bool = False
    dry_run: bool = False


@dataclasses.dataclass(slots=True)
class _Tally:
    stored: int = 0
    duplicates: int = 0
    refused: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)


def run(settings: config.Settings, options: Options) -> int:
    """Replays and prints what came of it; 1 where some were refused again.

    Raises:
        ConfigurationError: this user may not read payloads, or the schema is not this version's; nothing was done.
        StoreUnavailable: the database went away; what was stored until then is marked, call again.
    """
    migrate.status(session.dsn(settings, migrate=True)).require_current()
    connect = functools.partial(_connect, settings)
    tally = _Tally()
    try:
        with connect() as connection:
            after = 0
            while letters := _next(connection, options, after):
                after = letters[-1][0]
                _replay(letters, connect, settings, tally, dry_run=options.dry_run)
    except psycopg.errors.InsufficientPrivilege as error:
        raise errors.ConfigurationError(str(error).strip(), hint=OWNER_HINT) from error
    except psycopg.Error as error:
        raise sqlstate.wrap(error) from error
    would = "would be " if options.dry_run else ""
    print(f"{tally.stored} readings {would}stored, {tally.duplicates} were there already")
    if tally.refused:
        reasons = ", ".join(f"{count} {reason}" for reason, count in tally.refused.most_common())
        print(f"{sum(tally.refused.values())} dead letters {would}refused again: {reasons}")
    return 1 if tally.refused else 0


def _connect(settings: config.Settings) -> psycopg.Connection[Any]:
    owner = settings.model_copy(
        update={"database": settings.database.model_copy(update={"dsn": session.dsn(settings, migrate=True)})}
    )
    return session.connector(owner)()


def _next(connection: psycopg.Connection[Any], options: Options, after: int) -> list[tuple[Any, ...]]:
    parameters = {**options.filters, "again": options.again, "after": after, "limit": _AT_ONCE}
    found: list[tuple[Any, ...]] = []
    size = 0
    with connection.transaction(), connection.cursor() as cursor:
        for row in cursor.execute(queries.text("next_dead_letters"), parameters):
            size += len(row[3])
            if found and size > _MOST_BYTES:
                break
            found.append(row)
    return found


def _replay(
    letters: list[tuple[Any, ...]],
    connect: session.Connect,
    settings: config.Settings,
    tally: _Tally,
    *,
    dry_run: bool,
) -> None:
    messages = [
        models.Message(topic, payload, number, received_at, retained=True, size=len(payload))
        for number, (_identity, received_at, topic, payload) in enumerate(letters)
    ]
    batch = decode.Decoder(settings.mqtt.topics, settings.limits, settings.max_age_days).decode(messages)
    refused = {letter.message.packet_id: str(letter.reason) for letter in batch.dead_letters}
    batch.dead_letters = []
    if dry_run:
        tally.stored += batch.readings
        tally.refused.update(refused.values())
        return

    def mark(cursor: psycopg.Cursor[Any], found: Sequence[models.DeadLetter], _client_id: str) -> None:
        """Instead of dead letters: what the database refuses has its row already, the others are marked."""
        still = refused | {letter.message.packet_id: str(letter.reason) for letter in found}
        stored = [letters[number][0] for number in range(len(letters)) if number not in still]
        cursor.execute(queries.text("mark_replayed"), {"ids": stored})

    store = write.PostgresStore(connect, _INSTANCE, keep_dead_letters=mark)
    current = write_current.CurrentState(connect, _INSTANCE, 1.0, heal=False)
    try:
        result = store.write(batch)
        current.note(batch, result)
        current.merge()
    finally:
        store.close()
        current.close()
    refused |= {letter.message.packet_id: str(letter.reason) for letter in result.dead_letters}
    tally.stored += result.vehicles_written + result.meters_written
    tally.duplicates += result.duplicates
    tally.refused.update(refused.values())
