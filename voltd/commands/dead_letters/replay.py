"""``voltd dead-letters replay``: decodes and writes dead letters again, after a limit or voltd has changed.

Times are compared with the time of receipt, as at first. With ``--reason in_future`` that time is taken for wrong: a
reading that is no longer in the future may have been received when it is dated. Stored dead letters (and duplicates)
are marked last, so a replay that was killed can be run again. A dead letter that is refused again stays unchanged, and
no second one is made of it. With ``--overwrite`` the values of conflicts replace the stored ones, one dead letter at a
time in the order of their ids, so that the last one wins.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import sys
import time
from typing import Any

import psycopg

from voltd import config, models
from voltd.commands.dead_letters import tally
from voltd.database import connections, queries, retention, rollup, schema_state
from voltd.pipeline.consume import pseudonyms
from voltd.pipeline.current import state
from voltd.pipeline.decode import clock, decoder, fields
from voltd.pipeline.decode.devices import families
from voltd.pipeline.write import store

_AT_ONCE = 1000  # dead letters in one transaction
# Of payloads in one transaction; this many of the smallest readings fit into CurrentState.
_MOST_BYTES = 8 << 20
_INSTANCE = "dead-letters"
_PROGRESS_S = 10.0
_FOUND_BY_THE_DATABASE = frozenset({models.Reason.CONFLICT, models.Reason.REJECTED})


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """Which dead letters are processed (the filters of the SQL), and how."""

    filters: dict[str, Any]
    again: bool = False
    dry_run: bool = False
    overwrite: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class _Letter:
    """A row of the query ``next_dead_letters``."""

    id: int
    received_at: dt.datetime
    topic: str
    payload: bytes
    reason: str
    detail: str
    element: int | None
    field: str | None
    partial: bool  # the rest of its reading was stored, or has dead letters of its own
    repeats: int  # further messages that it stands for


def run(settings: config.Settings, options: Options) -> int:
    """Processes the dead letters and prints the tally, after an error too; 1 if some were refused again.

    Raises:
        SchemaError: the schema is not this version's; nothing was done.
        StoreUnavailable, psycopg.Error: dead letters marked until then are stored; call it again for the rest.
    """
    dsn = connections.dsn(settings, migrate=True)
    schema_state.status(dsn).require_current()
    # The password, if any, is in the connection string already; the daemon's is not the owner's.
    database = settings.database.model_copy(update={"dsn": dsn, "password": None})
    connect = connections.connector(settings.model_copy(update={"database": database}))
    with connect() as connection:
        replay = _Replay(connection, connect, settings, options)
        try:
            replay.run()
        except BaseException:
            if replay.tally.letters:
                replay.show()
            raise
        finally:
            replay.close()
    replay.show()
    return 1 if replay.tally.refused else 0


class _Replay:
    def __init__(
        self,
        connection: psycopg.Connection[Any],
        connect: connections.Connect,
        settings: config.Settings,
        options: Options,
    ) -> None:
        self.tally = tally.ReprocessTally()
        self._connection = connection
        self._options = options
        self._keep_days = settings.raw_retention_days
        others = families.of(settings)
        self._pseudonyms = pseudonyms.of(settings)
        wanted = (settings.mqtt.topics, settings.limits, settings.max_age_days, settings.timestamps, others)
        self._decoder = decoder.Decoder(*wanted)
        self._retimer = clock.Retimer(*wanted)
        self._store = store.PostgresStore(
            connect,
            _INSTANCE,
            keep_dead_letters=lambda _cursor, _found, _client: (),
            overwrite=options.overwrite,
            keep=not options.dry_run,
        )
        self._corrected_days: set[dt.datetime] = set()
        self._current = state.CurrentState(connect, _INSTANCE, 1.0, heal=False)

    def run(self) -> None:
        letters = self._next(0)
        if letters and not self._options.dry_run and retention.ensure(self._connection, self._keep_days):
            print(f"raw readings are kept {self._keep_days} days from now on, as limits.max_age_days asks")
        oldest = self._oldest_kept()
        said_at = time.monotonic()
        while letters:
            self._replay(letters, oldest)
            if time.monotonic() - said_at > _PROGRESS_S:
                said_at = time.monotonic()
                print(f"{tally.many(self.tally.letters, 'dead letter')} so far", file=sys.stderr)
            letters = self._next(letters[-1].id)
        rollup.follow_corrections(self._connection, self._corrected_days)

    def show(self) -> None:
        options = self._options
        self.tally.show(dry_run=options.dry_run, again=options.again, reason=options.filters["reason"])

    def close(self) -> None:
        self._store.close()
        self._current.close()

    def _next(self, after: int) -> list[_Letter]:
        parameters = {
            **self._options.filters,
            "again": self._options.again,
            "overwrite": self._options.overwrite,
            "after": after,
            "limit": 1 if self._options.overwrite else _AT_ONCE,
            "most_bytes": _MOST_BYTES,
        }
        with self._connection.cursor(row_factory=psycopg.rows.class_row(_Letter)) as cursor:
            return cursor.execute(queries.text("next_dead_letters"), parameters).fetchall()

    def _now(self) -> dt.datetime:
        """The earlier one of this host's clock and the database's: a time before it has certainly passed."""
        row = self._connection.execute(queries.text("clock")).fetchone()
        now = dt.datetime.now(dt.UTC)
        return min(now, row[0]) if row else now

    def _oldest_kept(self) -> dt.datetime:
        """Retention would drop older readings at once, before the hourly history has them."""
        row = self._connection.execute(queries.text("raw_retention_days")).fetchone()
        days = max(self._keep_days, int(row[0]) if row else 0)
        return dt.datetime.now(dt.UTC) - dt.timedelta(days=days)

    def _replay(self, letters: list[_Letter], oldest: dt.datetime) -> None:
        refused: dict[int, str] = {}  # by index in letters, which is the packet id of its message
        messages = [_message(index, letter) for index, letter in enumerate(letters)]
        if self._pseudonyms is not None:  # for what was refused before they were switched on
            messages = [self._pseudonyms.message(message) for message in messages]
        batch = self._decoder.decode(messages, replayed=True)
        if self._options.filters["reason"] == models.Reason.IN_FUTURE:
            batch = self._retimer.received_when_dated(batch, self._now())
        _drop_older(batch, oldest, refused)
        _refuse(_its_own(batch.dead_letters, letters), refused)
        batch.dead_letters = []
        counts = self._write(batch, letters, refused)
        done = [letter for index, letter in enumerate(letters) if index not in refused]
        if not self._options.dry_run:
            self._connection.execute(queries.text("mark_replayed"), {"ids": [letter.id for letter in done]})
        for name, count in counts.items():  # after they are marked: others are processed again
            setattr(self.tally, name, getattr(self.tally, name) + count)
        self.tally.replayed += len(done)
        self.tally.repeats_lost += sum(letter.repeats for letter in done)
        self.tally.refused.update(refused.values())
        sources = (*batch.vehicle_sources, *batch.meter_sources)
        kept = {number for number, reason in refused.items() if reason != models.Reason.CONFLICT}
        self.tally.partly += len({batch.messages[at].packet_id for at, _ in sources} & kept)

    def _write(self, batch: models.Batch, letters: list[_Letter], refused: dict[int, str]) -> dict[str, int]:
        """Stores the batch; returns counts by name of the tally, and adds to ``refused`` what the database refuses."""
        if not batch.readings:
            return {}
        result = self._store.write(batch)
        if not self._options.dry_run:
            self._current.note(batch, result)
            self._current.merge()
        _refuse(_against(batch, result, letters), refused)
        if result.corrected and not self._options.dry_run:
            times = [one.recorded_at for one in batch.vehicles] + [one.recorded_at for one in batch.meters]
            self._corrected_days.update(
                at.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0) for at in times
            )
        return {
            "readings": result.vehicles_written + result.meters_written,
            "filled": result.filled,
            "corrected": result.corrected,
            "duplicates": result.duplicates,
        }


def _message(index: int, letter: _Letter) -> models.Message:
    """The message as received; an element of an array in an array of its own, so that it is decoded as an element."""
    payload = letter.payload if letter.element is None else b"[" + letter.payload + b"]"
    # Retained messages are history: they refresh no liveness and fire no rule.
    return models.Message(letter.topic, payload, index, letter.received_at, retained=True, size=len(payload))


def _its_own(found: list[models.DeadLetter], letters: list[_Letter]) -> list[models.DeadLetter]:
    """Drops fields that have dead letters of their own, made together with this one."""
    return [
        one
        for one in found
        if not (one.partial and _others_have_letters(letters[one.message.packet_id]))
        or one.field == letters[one.message.packet_id].field
    ]


def _others_have_letters(letter: _Letter) -> bool:
    """Whether the reading's fields were validated one by one then: not if its id or time was refused."""
    return letter.partial or (letter.field is None and letter.reason in _FOUND_BY_THE_DATABASE)


def _against(batch: models.Batch, result: models.WriteResult, letters: list[_Letter]) -> list[models.DeadLetter]:
    """What the database refused, without the conflicts of fields other than the one that is processed."""
    if not any(one.reason is models.Reason.CONFLICT for one in result.dead_letters):
        return result.dead_letters
    contradicting: dict[int, set[str]] = {}  # columns, by packet id
    rows: list[tuple[models.Reading, models.Source]] = [
        *zip(batch.vehicles, batch.vehicle_sources, strict=True),
        *zip(batch.meters, batch.meter_sources, strict=True),
    ]
    for reading, (index, _element) in rows:
        stored = result.effective.get(id(reading), reading)
        columns = {
            name
            for name, mine, there in zip(reading._fields, reading, stored, strict=True)
            if mine is not None and mine != there
        }
        contradicting.setdefault(batch.messages[index].packet_id, set()).update(columns)
    return [
        one
        for one in result.dead_letters
        if one.reason is not models.Reason.CONFLICT
        or not letters[one.message.packet_id].partial
        or contradicting.get(one.message.packet_id, set()) & fields.columns(letters[one.message.packet_id].field)
    ]


def _refuse(found: list[models.DeadLetter], refused: dict[int, str]) -> None:
    for letter in found:
        refused.setdefault(letter.message.packet_id, str(letter.reason))


def _drop_older(batch: models.Batch, oldest: dt.datetime, refused: dict[int, str]) -> None:
    """Removes readings that are older than raw history."""
    for readings, sources in ((batch.vehicles, batch.vehicle_sources), (batch.meters, batch.meter_sources)):
        for at in range(len(readings) - 1, -1, -1):
            if readings[at].recorded_at < oldest:
                refused.setdefault(batch.messages[sources[at][0]].packet_id, str(models.Reason.TOO_OLD))
                del readings[at], sources[at]
