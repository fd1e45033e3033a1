"""What device families know of their devices from earlier messages, kept over a restart in a file beside the spool.

Values are written at a clean stop alone, and are gone once they were read: after a crash they would be older than the
messages that were acked since. What stays true (a switch measures one direction, a transaction runs on a connector) is
written now and then. A file that cannot be read or written costs registers of some minutes, and a warning.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import threading
from typing import Any

import msgspec
import structlog

from voltd.pipeline.decode.devices import families

_log = structlog.get_logger()
_MOST_BYTES = 1 << 26
_FORM = 1  # of the content; another one is left alone


class MemoryFile:
    """The file of one daemon.

    Args:
        path: of it.
        known: the families of the stream.
    """

    def __init__(self, path: pathlib.Path, known: families.Families) -> None:
        self._path = path
        self._families = known
        self._written = b""
        self._lock = threading.Lock()
        self._ended = False

    def load(self) -> None:
        """Gives the families what they knew; before the stream begins."""
        try:
            with self._path.open("rb") as file:
                content = msgspec.json.decode(file.read(_MOST_BYTES))  # a longer one is cut short, which is no JSON
            if content["form"] == _FORM:
                self._families.recall(content["families"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            _log.warning("memory.unreadable", file=str(self._path), error=str(error), hint="it is written anew")
        self.save()  # without values

    def save(self, *, stopped: bool = False) -> None:
        """Writes what stays true; with values once the daemon has ``stopped``, and nothing after that."""
        with self._lock:
            if self._ended:
                return
            self._ended = stopped
            known: dict[str, Any] = self._families.remember(values=stopped)
            content = msgspec.json.encode({"form": _FORM, "families": known})
            if content == self._written or not (known or self._path.exists()):
                return
            try:
                self._write(content)
            except OSError as error:
                _log.warning("memory.unwritable", file=str(self._path), error=str(error), hint="check its folder")

    def _write(self, content: bytes) -> None:
        beside = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path)
            self._written = content
        finally:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
