"""Spool: messages on this machine's disk while the store is away.

``flush`` puts a batch's messages here when the database has been away for longer than a few seconds, and acks them once
they are on disk; ``spool.drain`` takes them out, oldest first, when it is back. An SQLite file in WAL mode, synced at
each commit. Keeps messages as they arrived; nothing is decoded here.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import pathlib
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import structlog

from voltd import errors, models
from voltd.host import identity
from voltd.pipeline.consume import window

_log = structlog.get_logger()

_FORMAT = 1
_COMPRESS_FROM_BYTES = 4096
_RAW, _ZLIB, _DAMAGED = 0, 1, 9
_SCHEMA = """
CREATE TABLE IF NOT EXISTS batch (
  number INTEGER PRIMARY KEY,
  messages INTEGER NOT NULL, readings INTEGER NOT NULL, oldest_at REAL NOT NULL,
  packing INTEGER NOT NULL, bytes INTEGER NOT NULL, body BLOB NOT NULL)
"""
_SUMS = "SELECT coalesce(sum(messages), 0), coalesce(sum(readings), 0), coalesce(sum(bytes), 0) FROM batch"
_MOST_READINGS = 50_000  # taken out together
_ROW_BYTES = 64  # a row beside its body, about
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[models.Message]).decode


class Spooled(NamedTuple):
    """The oldest messages of the spool, and the number up to which ``remove`` is to remove them."""

    through: int
    messages: list[models.Message]
    earlier: bool  # an earlier run received all of them; otherwise this one did


class SpoolFile:
    """One daemon's spool. Opened when it is first needed; ``put`` and ``remove`` may be called from different threads.

    Args:
        file: where; its folder is made. Only the owner can read it.
        max_bytes: how large the spool may grow.
        min_free_bytes: how much of the disk stays free for others.
    """

    def __init__(self, file: pathlib.Path, max_bytes: int, min_free_bytes: int) -> None:
        self.file = file
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._number = 0  # the last one given; never given again, not even after another file replaced this one
        self._earlier = -1  # the last number that an earlier run gave; negative: not known yet
        self.messages = self.readings = self.bytes = 0
        self.oldest_at: dt.datetime | None = None
        self.dropped = 0  # messages of damaged files or batches

    def open(self) -> None:
        """Opens what an earlier run has left; without that, the file is made when it is first needed.

        Raises:
            SpoolUnavailable: the disk failed, or another process has the file; a damaged file was set aside.
        """
        with self._lock, self._errors():
            if self.file.exists():
                self._open()

    def put(self, messages: list[models.Message], readings: int) -> None:
        """Makes the messages durable; blocks until they are on disk.

        Raises:
            SpoolUnavailable: full, or the disk failed: nothing was stored, the messages must not be acked.
        """
        spooling = models.Spooling(dt.datetime.now(dt.UTC), identity.run_number())
        body = _pack([message._replace(spooling=spooling) for message in messages])
        packing = _RAW
        if len(body) >= _COMPRESS_FROM_BYTES:
            body, packing = zlib.compress(body, 1), _ZLIB
        size = len(body) + _ROW_BYTES
        oldest_at = min(message.received_at for message in messages)
        with self._lock, self._errors():
            connection = self._open()
            self._require_room(size)
            self._number += 1
            connection.execute(
                "INSERT INTO batch (number, messages, readings, oldest_at, packing, bytes, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (self._number, len(messages), readings, oldest_at.timestamp(), packing, size, body),
            )
            self._count(len(messages), readings, size)
            self.oldest_at = min(self.oldest_at or oldest_at, oldest_at)

    def oldest(self, max_messages: int, max_bytes: int, after: int = 0) -> Spooled | None:
        """The oldest messages put after number ``after``: at least one batch, further ones while they fit; None: none.

        They come as they were put, but of no connection: nobody waits for their acks. The store may have any of them:
        after a COMMIT whose reply was lost, an ack that never arrived, a kill between COMMIT and ``remove``.

        Args:
            max_messages: so many together.
            max_bytes: of payload, together.
            after: the last ``Spooled.through``, if the store has these messages and ``remove`` failed.

        Returns:
            Messages with a bounded number of readings and array elements (a larger batch comes alone).

        Raises:
            SpoolUnavailable: the disk failed; try again.
        """
        found: list[models.Message] = []
        through = after
        size = readings = commas = 0
        if not self.messages if self._connection is not None else not self.file.exists():
            return None
        with self._lock, self._errors():
            rows = self._open().execute(
                "SELECT number, messages, readings, packing, body FROM batch WHERE number > ? AND packing <> ?"
                " ORDER BY number",
                (after, _DAMAGED),
            )
            with contextlib.closing(rows):
                for number, count, more, packing, body in rows:
                    readings += more
                    other_run = through <= self._earlier < number
                    if found and (other_run or len(found) + count > max_messages or readings > _MOST_READINGS):
                        break
                    messages = self._unpacked(number, count, packing, body)
                    size += sum(len(message.payload) for message in messages)
                    commas += sum(window.parts(one.payload) for one in messages)
                    if found and (size > max_bytes or commas > window.MOST_COMMAS):
                        break
                    found += [message._replace(connection=0) for message in messages]
                    through = number
        return Spooled(through, found, through <= self._earlier) if found else None

    def remove(self, through: int) -> None:
        """Removes the messages up to a number, which the store has now.

        If the file was set aside meanwhile, nothing of its successor is removed: no number comes twice.

        Raises:
            SpoolUnavailable: the disk failed; they are still there.
        """
        with self._lock, self._errors():
            connection = self._open()
            keep = connection.execute(
                "SELECT count(*) FROM batch WHERE number > ? OR packing = ?", (through, _DAMAGED)
            ).fetchone()[0]
            if keep:
                gone = (through, _DAMAGED)
                row = connection.execute(_SUMS + " WHERE number <= ? AND packing <> ?", gone).fetchone()
                connection.execute("DELETE FROM batch WHERE number <= ? AND packing <> ?", gone)
                self._count(*(-value for value in row))
                self._look_at_oldest(connection)
            else:  # works without a byte of room on the disk
                self._close()
                self._unlink()

    def close(self) -> None:
        """Closes the file; its messages stay for the next start, an empty file is removed."""
        with self._lock:
            empty = False
            if self._connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    empty = self._connection.execute("SELECT count(*) FROM batch").fetchone() == (0,)
            self._close()
            if empty:
                with contextlib.suppress(OSError):
                    self._unlink()

    def _unlink(self) -> None:
        """Removes the empty file; the next message makes a new one."""
        for suffix in _SUFFIXES:
            self._beside(suffix).unlink(missing_ok=True)
        self.messages = self.readings = self.bytes = 0
        self.oldest_at = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._beside("-wal").exists() and not self.file.exists():  # killed while it was set aside
                self._set_aside()
            connection = sqlite3.connect(self.file, isolation_level=None, check_same_thread=False, timeout=1.0)
            self._connection = connection
            self.file.chmod(0o600)
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA wal_autocheckpoint = 4000")
            connection.execute(_SCHEMA)
            if connection.execute("PRAGMA user_version").fetchone() != (_FORMAT,):  # no write on a full disk
                connection.execute(f"PRAGMA user_version = {_FORMAT}")
            (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM batch").fetchone()
            self._number = max(self._number, last)
            self._earlier = last if self._earlier < 0 else self._earlier
            sums = connection.execute(_SUMS + " WHERE packing <> ?", (_DAMAGED,)).fetchone()
            self.messages, self.readings, self.bytes = sums
            self._look_at_oldest(connection)
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _require_room(self, size: int) -> None:
        if self.bytes + size > self._max_bytes:
            raise errors.SpoolUnavailable(
                f"the spool is full: {self.bytes} of spool.max_bytes = {self._max_bytes} bytes are used",
                hint="bring the database back, or raise spool.max_bytes; until then the broker keeps new messages",
            )
        disk = os.statvfs(self.file.parent)
        free = disk.f_bavail * disk.f_frsize
        if free - size < self._min_free_bytes:
            raise errors.SpoolUnavailable(
                f"only {free} bytes are free at {self.file.parent}, spool.min_free_bytes = {self._min_free_bytes}",
                hint="make room on that disk, or point spool.directory at another",
            )

    def _count(self, messages: int, readings: int, size: int) -> None:
        self.messages += messages
        self.readings += readings
        self.bytes += size

    def _look_at_oldest(self, connection: sqlite3.Connection) -> None:
        row = connection.execute(
            "SELECT oldest_at FROM batch WHERE packing <> ? ORDER BY number LIMIT 1", (_DAMAGED,)
        ).fetchone()
        self.oldest_at = None if row is None else dt.datetime.fromtimestamp(row[0], dt.UTC)

    def _unpacked(self, number: int, count: int, packing: int, body: bytes) -> list[models.Message]:
        """The messages of a row; a damaged row stays in the file, and the others continue."""
        try:
            return _unpack(zlib.decompress(body) if packing == _ZLIB else body)
        except (zlib.error, msgspec.DecodeError) as error:
            _log.error("spool.batch_damaged", file=str(self.file), number=number, error=str(error))
            self.dropped += count
            self._open().execute("UPDATE batch SET packing = ? WHERE number = ?", (_DAMAGED, number))
            return []

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """SQLite's and the disk's errors as ours; after one the file is opened again."""
        try:
            yield
        except sqlite3.Error as error:
            self._close()
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code of an extended one
            if code == sqlite3.SQLITE_BUSY:
                raise errors.SpoolUnavailable(
                    f"another process uses the spool {self.file}",
                    hint="end it; each daemon on a machine needs an instance (or a spool.directory) of its own",
                ) from error
            if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                self._set_aside()
            raise errors.SpoolUnavailable(f"the spool {self.file} does not work: {error}", hint=_DISK_HINT) from error
        except OSError as error:
            self._close()
            raise errors.SpoolUnavailable(f"the spool {self.file} does not work: {error}", hint=_DISK_HINT) from error

    def _set_aside(self) -> None:
        """A damaged file must neither end the spooling nor be overwritten: messages may still be recovered from it.

        It is moved with its log into a folder of its own, which SQLite's tools can open. The log is moved last: SQLite
        would delete a log without a file, and take a file without its log for complete.
        """
        aside = self._beside(f".damaged-{time.time_ns()}")
        with contextlib.suppress(OSError):
            aside.mkdir(mode=0o700)
            for suffix in _SUFFIXES:
                with contextlib.suppress(FileNotFoundError):
                    self._beside(suffix).rename(aside / (self.file.name + suffix))
            _log.error("spool.damaged", kept_as=aside.name, hint="messages that the store lacks may be in there")
        self.dropped += self.messages
        self.messages = self.readings = self.bytes = 0
        self.oldest_at = None

    def _beside(self, suffix: str) -> pathlib.Path:
        return self.file.with_name(self.file.name + suffix)


_SUFFIXES = ("", "-shm", "-wal")  # SQLite's files
_DISK_HINT = "look at that disk; until it works, messages that cannot be stored stay with the broker"
