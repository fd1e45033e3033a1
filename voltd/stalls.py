"""Which thread has made no progress for too long: what ``app`` feeds systemd's watchdog by. Pure but for the clock.

A thread that waits for a silent server can be freed: its connection is broken, and it sees an ordinary failure.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import structlog

_log = structlog.get_logger()


class Watched(NamedTuple):
    """A thread.

    Attributes:
        name: of the thread.
        beat: when it last made progress, on the monotonic clock.
        limit_s: without progress for longer it has stalled.
        free: breaks what it waits for, after ``free_s`` without progress; None: nothing can.
        free_s: longer than any answer of a healthy server may take.
    """

    name: str
    beat: Callable[[], float]
    limit_s: float
    free: Callable[[], None] | None = None
    free_s: float = float("inf")


class Stalls:
    """Looks after threads; called from one thread, now and then."""

    def __init__(self) -> None:
        self._watched: list[Watched] = []
        self._freed: dict[str, float] = {}

    def add(self, watched: Watched) -> None:
        """Looks after one more."""
        self._watched.append(watched)

    def look(self) -> str | None:
        """Frees those that wait for too long; the name of one that has stalled all the same, or None."""
        stalled = None
        now = time.monotonic()
        for one in self._watched:
            beat = one.beat()
            if one.free is not None and now - max(beat, self._freed.get(one.name, 0.0)) > one.free_s:
                self._freed[one.name] = now
                _log.error("server.silent", thread=one.name, s=round(now - beat), hint="its connection is given up")
                one.free()
            if now - beat > one.limit_s:
                stalled = one.name
        return stalled
