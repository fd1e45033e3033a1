"""Whether the store answers, and where new messages go while it does not.

``flush`` and the drain report what the store and the spool did, from their threads, and ``app`` before these start.
Nobody else changes either fact; ``flush`` and ``health`` read them.
"""

from __future__ import annotations

import threading

import structlog

from voltd import metrics

_log = structlog.get_logger()


class Outage:
    """For any thread.

    Args:
        counters: ``store_available`` is written here alone.

    Attributes:
        spooling: new messages go into the spool.
    """

    def __init__(self, counters: metrics.Metrics) -> None:
        self._counters = counters
        self._lock = threading.Lock()  # two threads may hear at once that the store is back: one of them logs it
        self.spooling = False

    def store_failed(self, *, spool: bool) -> None:
        """The store is away; with ``spool`` new messages go into the spool from now on."""
        with self._lock:
            self._counters.store_available = False
            self.spooling = self.spooling or spool

    def store_answered(self) -> None:
        """The store is there: new messages go into it."""
        with self._lock:
            self.spooling = False
            recovered = not self._counters.store_available
            self._counters.store_available = True
        if recovered:
            _log.info("store.recovered")

    def spool_failed(self) -> None:
        """The spool takes nothing: the store is tried once more."""
        with self._lock:
            self.spooling = False
