"""Which thread has made no progress for too long: what ``app`` feeds systemd's watchdog by. Pure but for the clock.

A thread that waits for a silent server is none of its business: the connection gives that up by itself.
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
        limit_s: without progress for longer it has stalled.
    """

    name: str
    beat: Callable[[], float]
    limit_s: float


class Watchdog:
    """Looks after threads; called from one thread, now and then."""

    def __init__(self) -> None:
        self._watched: list[Watched] = []

    def add(self, watched: Watched) -> None:
        """Looks after one more."""
        self._watched.append(watched)

    def look(self) -> str | None:
        """The name of a thread that has stalled, or None."""
        now = time.monotonic()
        return next((one.name for one in self._watched if now - one.beat() > one.limit_s), None)
