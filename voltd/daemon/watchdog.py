"""Finds a thread that has made no progress for too long; then ``app`` stops feeding systemd's watchdog.

It does not look for threads that wait for a silent server: the connection gives that up by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple


class Watched(NamedTuple):
    """A thread.

    Attributes:
        name: of the thread.
        beat: when it last made progress, on the monotonic clock.
        limit_s: after so long without progress it has stalled.
    """

    name: str
    beat: Callable[[], float]
    limit_s: float


class Watchdog:
    """Watches threads; called from one thread, now and then."""

    def __init__(self) -> None:
        self._watched: list[Watched] = []

    def add(self, watched: Watched) -> None:
        """Watches one more thread."""
        self._watched.append(watched)

    def look(self) -> str | None:
        """The name of a thread that has stalled, or None."""
        now = time.monotonic()
        return next((thread.name for thread in self._watched if now - thread.beat() > thread.limit_s), None)
