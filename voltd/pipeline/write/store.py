"""Write: one batch, one transaction, into the hypertables and the dead letters.

``flush`` calls ``PostgresStore.write`` from its thread, the only user of this connection. The optimistic way is a plain
COPY, all of which is here. Where two readings are of one device and time, they are folded first (``write.fold``). Where
one is stored already, the batch is merged with what is there (``write.merge``). A row that the database refuses is
isolated (``write.isolate``) and becomes a dead letter. Nothing here decides on retries, and nothing is acked here.
"""

from __future__ import annotations

import contextlib
import enum
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg
import structlog

from voltd import errors, models, readings
from voltd.database import connections, queries, rollup, sqlstate
from voltd.pipeline.consume import pseudonyms
from voltd.pipeline.write import dead_letters, fold, isolate, pseudonym_changes
from voltd.pipeline.write.bounds import Bounds
from voltd.pipeline.write.excursions import Excursions
from voltd.pipeline.write.merge import Merge
from voltd.pipeline.write.refused import Refused

_log = structlog.get_logger()


class _Way(enum.Enum):
    PLAIN = enum.auto()  # COPY into the hypertables
    FOLDED = enum.auto()  # the same, what is of one device and time in one row
    STAGED = enum.auto()  # merged with what is stored
    ISOLATED = enum.auto()  # rows the database refuses are taken out one by one


_MERGES = {_Way.FOLDED: Merge.copy, _Way.STAGED: Merge.stage, _Way.ISOLATED: isolate.isolate}


class _Commit:
    """What is known of a transaction whose COMMIT was sent: enough to ask the server about it later."""

    def __init__(self, batch: models.Batch, name: str, xid: str, result: models.WriteResult) -> None:
        self.batch, self.name, self.xid, self.result = batch, name, xid, result


class PostgresStore:
    """Stores batches in TimescaleDB; implements ``flusher.Store``.

    Args:
        connect: opens a connection of the writer's; called again after each loss.
        client_id: part of the dead letters' redelivery key, as packet ids are per client.
        keep_dead_letters: keeps the dead letters in the transaction of their batch; returns those it had already.
        excursions: what to record for the evaluation of the rules; None: nothing.
        bounds: learns what the daemon that evaluates the rules has to see.
        refused: records devices of which everything is refused; None: nobody does.
        part: which of the client's connections this is; each has one store.
        overwrite: values that contradict stored ones replace them; the connection is the schema owner's.
        renamed: pseudonyms of VINs, whose changes are noted; None: they stay as they are.
        keep: whether anything is kept; False only finds out what would come of a batch, and takes it back.
    """

    def __init__(
        self,
        connect: connections.Connect,
        client_id: str,
        *,
        keep_dead_letters: Callable[
            [psycopg.Cursor[Any], Sequence[models.DeadLetter], str], Sequence[models.DeadLetter]
        ] = dead_letters.insert,
        excursions: Excursions | None = None,
        bounds: Bounds | None = None,
        refused: Refused | None = None,
        renamed: pseudonyms.Pseudonyms | None = None,
        part: str = "stream",
        overwrite: bool = False,
        keep: bool = True,
    ) -> None:
        self._connect = connect
        self._excursions, self._bounds = excursions or Excursions(), bounds
        self._keep_dead_letters, self._refused = keep_dead_letters, refused
        self._client_id = client_id
        self._writer = f"{client_id}/{part}"
        self._renamed = renamed
        self._overwrite, self._keep = overwrite, keep
        self._usual = _Way.PLAIN  # what the last batch was like, the next one mostly is
        self._connection: connections.Connection | None = None
        self._unanswered: _Commit | None = None
        self._earlier: list[models.WriteResult] = []  # not yet reported, of batches that were not given again

    def write(self, batch: models.Batch) -> models.WriteResult:
        """See ``flusher.Store.write``. A COMMIT that was never answered is looked up before the next write."""
        commit = self._look_up(self._unanswered) if self._unanswered is not None else None
        if commit is not None and commit.batch is batch:
            return commit.result
        if commit is not None:
            self._earlier.append(commit.result)
        way = _Way.STAGED if any(message.redelivered for message in batch.messages) else self._usual
        while True:
            try:
                result = self._transaction(batch, way)
            except psycopg.errors.UniqueViolation as error:
                way = _after_unique_violation(batch, way, error)
            except errors.StoreRejected as error:
                if way is _Way.ISOLATED:  # not a row, so nothing that could be set aside: keep the batch, loudly
                    raise errors.StoreUnavailable(str(error), hint=error.hint) from error
                _log.warning("batch.refused", error=str(error), sqlstate=error.sqlstate)
                way = _Way.ISOLATED
            else:
                result.earlier, self._earlier = self._earlier, []
                return result

    def late_results(self) -> list[models.WriteResult]:
        """See ``flusher.Store.late_results``."""
        commit = self._look_up(self._unanswered) if self._unanswered is not None else None
        if commit is not None:
            self._earlier.append(commit.result)
        found, self._earlier = self._earlier, []
        return found

    @property
    def heard_at(self) -> float:
        """When the server was last heard, on the monotonic clock: progress within a batch. For any thread."""
        return connections.heard_at(self._connection)

    def close(self) -> None:
        """Closes the connection; a later ``write`` opens another."""
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    def _transaction(self, batch: models.Batch, way: _Way) -> models.WriteResult:
        result = models.WriteResult(dead_letters=list(batch.dead_letters), staged=way is not _Way.PLAIN)
        with self._errors():
            connection = self._open()
            with connection.transaction(force_rollback=not self._keep), connection.cursor() as cursor:
                changes = pseudonym_changes.insert(cursor, self._renamed)  # with the first reading that needs them
                closing_watermark = rollup.begin_batch(connection)
                if way is _Way.PLAIN:
                    result.vehicles_written = _copy(cursor, models.DeviceType.VEHICLE, batch.vehicles)
                    result.meters_written = _copy(cursor, models.DeviceType.METER, batch.meters)
                else:
                    self._merge(cursor, batch, way, result)
                known = result.filled + result.conflicting + result.corrected + len(result.refused)
                result.duplicates = batch.readings - result.vehicles_written - result.meters_written - known
                if closing_watermark is not None:
                    rollup.mark_late(connection, closing_watermark, batch.vehicles, batch.meters)
                if self._bounds is not None:
                    self._bounds.learn(cursor)
                self._excursions.insert(cursor, batch)
                refused_devices = self._refused.insert(cursor, batch, result) if self._refused is not None else ()
                result.dead_letters_there = list(self._keep_dead_letters(cursor, result.dead_letters, self._client_id))
                until = next((one.received_at for one in reversed(batch.messages) if not one.redelivered), None)
                name = str(uuid.uuid4())
                noted = {"writer": self._writer, "batch": name, "received_until": until}
                (xid,) = cursor.execute(queries.text("note_batch"), noted).fetchone() or ("",)
                self._unanswered = _Commit(batch, name, xid, result)
            self._unanswered = None
        if self._refused is not None:
            self._refused.written(refused_devices)
        if self._renamed is not None:
            self._renamed.noted(changes)
        return result

    def _merge(self, cursor: psycopg.Cursor[Any], batch: models.Batch, way: _Way, result: models.WriteResult) -> None:
        """Readings into their tables beside those that are there; the next batch takes the way that was needed here."""
        merges = [Merge(one, batch, result, overwrite=self._overwrite) for one in models.DeviceType]
        merge = _MERGES[way]
        result.vehicles_written, result.meters_written = (merge(one, cursor) if one.readings else 0 for one in merges)
        if way is not _Way.ISOLATED:
            there, folded = any(one.there for one in merges), any(one.folded for one in merges)
            self._usual = _Way.STAGED if there else _Way.FOLDED if folded else _Way.PLAIN

    def _look_up(self, commit: _Commit) -> _Commit | None:
        """The unanswered COMMIT where it succeeded, None where nothing of it is stored."""
        running = False
        with self._errors():
            connection = self._open()
            # 22023: a server that never gave this number, say a promoted standby
            with contextlib.suppress(psycopg.errors.InvalidParameterValue):
                (running,) = connection.execute(queries.text("is_running"), {"xid": commit.xid}).fetchone() or (False,)
            if not running:
                noted = {"writer": self._writer, "batch": commit.name}
                (there,) = connection.execute(queries.text("is_committed"), noted).fetchone() or (False,)
        if running:
            raise errors.CommitUnknown("the server has not finished the last COMMIT yet")
        self._unanswered = None
        _log.info("commit.looked_up", committed=there)
        return commit if there else None

    def _open(self) -> psycopg.Connection[Any]:
        """The connection; a new one only after a transaction of its own has committed as durably as a batch has to.

        ``_look_up`` relies on that: a primary that crashed while a COMMIT waited for its standby shows the COMMIT as
        done without it. The temporary tables write their catalog rows, so their COMMIT comes after the lost one's in
        the WAL and waits for the standby; once it has answered, the standby has the lost one as well.
        """
        if self._connection is None or self._connection.closed:
            connection = self._connect()
            for name in ("create_vehicle_staging", "create_meter_staging"):
                connection.execute(queries.text(name))
            self._connection = connection
        return self._connection

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Foreign errors into ours; after a transient one the next write begins on a new connection."""
        try:
            yield
        except psycopg.errors.UniqueViolation:
            self._unanswered = None
            raise
        except psycopg.Error as error:
            wrapped = sqlstate.wrap(error)
            if isinstance(wrapped, errors.StoreUnavailable):
                self.close()
                if self._unanswered is not None:
                    raise errors.CommitUnknown(str(wrapped), hint=wrapped.hint) from error
            self._unanswered = None
            raise wrapped from error
        except isolate.UNENCODABLE as error:
            self._unanswered = None
            raise errors.StoreRejected(f"not encodable: {error}") from error


def _after_unique_violation(batch: models.Batch, way: _Way, error: psycopg.Error) -> _Way:
    """The way to take where rows that were copied straight in met others of their key (23505)."""
    if way is _Way.PLAIN:
        needed = fold.needed(batch.vehicles) or fold.needed(batch.meters)
        return _Way.FOLDED if needed else _Way.STAGED
    if way is _Way.FOLDED:
        return _Way.STAGED
    # With ON CONFLICT no reading can violate its key: it is another key.
    hint = "another unique key refuses it; was the database restored with sequences that lag behind?"
    raise errors.StoreUnavailable(str(error), hint=hint) from error


def _copy(cursor: psycopg.Cursor[Any], device_type: models.DeviceType, rows: Sequence[models.Reading]) -> int:
    """COPY straight into the hypertable; the number of rows."""
    if rows:
        queries.copy(cursor, f"copy_{device_type}_readings", readings.types(device_type), rows)
    return len(rows)
