"""Whether this daemon can hear its devices now: what the rules need to tell a silent fleet from a deaf daemon.

``app`` makes one, the scheduler's jobs ask it about once a second and write the answer into ``volt.daemon``.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from voltd import metrics

_DEAF_LAG_S = 30.0


class Report(NamedTuple):
    """How one daemon is.

    Attributes:
        lag_s: seconds that the oldest held message has waited for its COMMIT, or that the broker has been away.
        spooling: readings go to the spool, or wait in it.
        healthy: broker and database are there and nothing holds messages back, so silence is the devices' own.
    """

    lag_s: float
    spooling: bool
    healthy: bool


class Health:
    """Looks at the daemon's own counters.

    Args:
        counters: of this daemon.
        subscribed: set while the broker sends messages.
        spool_in_use: whether new messages go to the spool.
        receive_maximum: the window; a full one holds messages back at the broker.
    """

    def __init__(
        self,
        counters: metrics.Metrics,
        subscribed: threading.Event,
        spool_in_use: Callable[[], bool],
        receive_maximum: int,
    ) -> None:
        self._counters = counters
        self._subscribed = subscribed
        self._spool_in_use = spool_in_use
        self._receive_maximum = receive_maximum
        self._away_since: float | None = time.monotonic()

    def look(self) -> Report:
        """How things are now; to be called regularly, as it notices when the broker went away."""
        counters, now = self._counters, time.monotonic()
        if self._subscribed.is_set():
            self._away_since = None
        elif self._away_since is None:
            self._away_since = now
        away_s = 0.0 if self._away_since is None else now - self._away_since
        lag_s = max(self._waited_s(), away_s)
        spooling = self._spool_in_use() or counters.readings_spooled > 0
        held_back = counters.in_flight >= self._receive_maximum or lag_s > _DEAF_LAG_S or bool(counters.halted)
        return Report(lag_s, spooling, counters.store_available and not (away_s or spooling or held_back))

    def _waited_s(self) -> float:
        oldest_at = self._counters.batch_oldest_at
        if oldest_at is None:
            return self._counters.lag_s if self._counters.in_flight else 0.0
        return max(0.0, (dt.datetime.now(dt.UTC) - oldest_at).total_seconds())


class Steady:
    """Since when all has been well, hiccups of a few seconds aside."""

    _HICCUP = dt.timedelta(seconds=10)
    _RESTART = dt.timedelta(seconds=60)

    def __init__(self) -> None:
        self.since: dt.datetime | None = None
        self._at: dt.datetime | None = None

    def note(self, *, healthy: bool, now: dt.datetime) -> None:
        """How it is now; to be called regularly."""
        short = self._at is not None and now - self._at <= self._HICCUP
        if healthy:
            self.since = self.since if self.since is not None and short else now
            self._at = now
        elif not short:
            self.since = None

    def resume(self, since: dt.datetime | None, at: dt.datetime | None, now: dt.datetime) -> None:
        """Goes on where a daemon was that ended a moment ago; does nothing where this one knows more."""
        if self._at is None and at is not None and now - at <= self._RESTART:
            self.since, self._at = since, now
