"""The bytes of a recording: a file, which can be read repeatedly, or a pipe, which cannot.

``recording`` opens it each time the rows are needed. A pipe (``-`` is standard input) is either read once,
as it arrives, or first copied to a temporary file (``buffer``). gzip is recognised by content.
"""

from __future__ import annotations

import gzip
import io
import os
import pathlib
import select
import stat
import tempfile
import threading
from types import TracebackType
from typing import IO, Protocol, Self, cast

from voltd import errors

STDIN = pathlib.Path("-")
_GZIP_MAGIC = b"\x1f\x8b"
_LOOK_S = 0.2  # how often a reader that waits for a pipe checks whether to stop
_PIECE_BYTES = 1 << 20


class Stopped(Exception):
    """The command was ended while it was reading."""


class Source:
    """A recording's bytes; a context manager that closes the pipe and the temporary file.

    Args:
        path: of the file or pipe; ``-`` is standard input.
        stop: set to end reading, also while it waits for a pipe: ``Stopped`` is raised.
    """

    def __init__(self, path: pathlib.Path, stop: threading.Event | None = None) -> None:
        self.path = path
        self.name = "standard input" if path == STDIN else str(path)
        self._stop = stop or threading.Event()
        self._copy: IO[bytes] | None = None
        self._pipe: int | None = None
        self._taken = False
        try:
            mode = 0 if path == STDIN else path.stat().st_mode
            self.is_pipe = not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
        except OSError:
            self.is_pipe = False  # ``open`` reports the error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._copy is not None:
            self._copy.close()
        if self._pipe:  # standard input is not ours
            os.close(self._pipe)

    @property
    def repeatable(self) -> bool:
        """Whether ``open`` can be called more than once."""
        return not self.is_pipe or self._copy is not None

    def go_on(self) -> None:
        """Does nothing unless the command is to end.

        Raises:
            Stopped: see ``Source``.
        """
        if self._stop.is_set():
            raise Stopped

    def buffer(self) -> None:
        """Copies a pipe into a temporary file, so that it can be read again. Blocks until the pipe ends.

        Raises:
            Stopped: see ``Source``. UsageError: it cannot be opened. VoltdError: it breaks, or there is no room for it.
        """
        if self.repeatable:
            return
        try:
            pipe = self._open_pipe()
        except OSError as error:
            raise errors.UsageError(f"{self.name}: {error.strerror}", hint="name a readable file or pipe") from error
        self._copy = tempfile.TemporaryFile(prefix="voltd-replay-")  # noqa: SIM115 closed in __exit__
        while piece := self._piece(pipe):
            try:
                self._copy.write(piece)
                self._copy.flush()
            except OSError as error:
                raise errors.VoltdError(
                    f"{self.name} cannot be kept in a temporary file in {tempfile.gettempdir()}: {error.strerror}",
                    hint="point TMPDIR at a folder with room, or save it as a file and replay that",
                ) from error

    def _piece(self, pipe: _Raw) -> bytes | None:
        try:
            return pipe.read(_PIECE_BYTES)
        except OSError as error:
            raise errors.VoltdError(f"{self.name} broke: {error.strerror}", hint="start again") from error

    def open(self) -> IO[bytes]:
        """Opens the recording at its beginning, unpacked.

        Raises:
            OSError: as for any file.
        """
        if not self.is_pipe:
            with self.path.open("rb") as file:
                packed = file.read(2) == _GZIP_MAGIC
            return cast("IO[bytes]", gzip.open(self.path, "rb")) if packed else self.path.open("rb")
        raw = self._open_pipe() if self._copy is None else _Raw(_Copy(self._copy.fileno()))
        head = raw.peek(2)
        plain = io.BufferedReader(raw)
        return cast("IO[bytes]", gzip.open(plain, "rb")) if head == _GZIP_MAGIC else plain

    def _open_pipe(self) -> _Raw:
        if self._taken:
            raise RuntimeError("a pipe can be read once only: buffer it first")
        self._taken = True
        self._pipe = 0 if self.path == STDIN else os.open(self.path, os.O_RDONLY)
        return _Raw(_Pipe(self._pipe, self._stop))


class _Reads(Protocol):
    """Bytes in order; no bytes at the end."""

    def read(self, size: int) -> bytes:
        """At least one byte and at most ``size``; none at the end."""


class _Pipe:
    def __init__(self, descriptor: int, stop: threading.Event) -> None:
        self._descriptor = descriptor
        self._stop = stop

    def read(self, size: int) -> bytes:
        while not self._stop.is_set():
            if select.select([self._descriptor], [], [], _LOOK_S)[0]:
                return os.read(self._descriptor, size)
        raise Stopped


class _Copy:
    """A position of its own in an open file, so that several readers do not disturb each other."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._at = 0

    def read(self, size: int) -> bytes:
        piece = os.pread(self._descriptor, size, self._at)
        self._at += len(piece)
        return piece


class _Raw(io.RawIOBase):
    """``_Reads`` for Python's buffered readers, with peeking."""

    def __init__(self, source: _Reads) -> None:
        self._source = source
        self._ahead = b""

    def readable(self) -> bool:
        return True

    def peek(self, size: int) -> bytes:
        """The first ``size`` bytes, which are read again later; fewer where there are no more."""
        while len(self._ahead) < size and (piece := self._source.read(size - len(self._ahead))):
            self._ahead += piece
        return self._ahead

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override] # any writable buffer
        if self._ahead:
            piece, self._ahead = self._ahead[: len(buffer)], self._ahead[len(buffer) :]
        else:
            piece = self._source.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)
