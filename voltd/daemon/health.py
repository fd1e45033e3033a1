"""Whether this daemon can hear its devices now: so that the rules can distinguish a silent fleet from a deaf daemon.

``wiring`` makes one; the scheduler's jobs ask it every two seconds, whatever else they do, and write the answer into
``volt.daemon``. The evaluation cycle asks too, and combines what all daemons say.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable

from voltd import metrics
from voltd.host import host_clock
from voltd.rules.cycle import interfaces

_BUSY_PART = 10
_DEAF_LAG_S = 30.0
_STEP = dt.timedelta(seconds=1)


class Health:
    """Looks at the daemon's own counters.

    Args:
        counters: of this daemon.
        subscribed: set while the broker sends messages.
        spool_in_use: whether new messages go to the spool.
        receive_maximum: the window; a full one holds messages back at the broker.
        clock: the time.
        clock_trouble: how far this host's clock is off, s, and what to do; 0 and empty: it is not, as far as is known.
    """

    def __init__(
        self,
        counters: metrics.Metrics,
        subscribed: threading.Event,
        spool_in_use: Callable[[], bool],
        receive_maximum: int,
        *,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        clock_trouble: Callable[[], tuple[float, str]] = lambda: (0.0, ""),
    ) -> None:
        self._counters = counters
        self._subscribed = subscribed
        self._spool_in_use = spool_in_use
        self._receive_maximum = receive_maximum
        self._clock, self._clock_trouble = clock, clock_trouble
        self._away_since: float | None = time.monotonic()
        self._looked_at: dt.datetime | None = None
        self._well_at: dt.datetime | None = None
        self._unwell_at: dt.datetime | None = None
        self._first_well_at: dt.datetime | None = None

    def look(self) -> interfaces.Report:
        """How things are now.

        To be called every few seconds: it notices when the broker went away. After a longer time without a call it
        assumes that this daemon was stopped, perhaps with its machine, and heard nobody.
        """
        counters, now = self._counters, time.monotonic()
        if self._subscribed.is_set():
            self._away_since = None
        elif self._away_since is None:
            self._away_since = now
        away_s = 0.0 if self._away_since is None else now - self._away_since
        lag_s = max(self._waited_s(), away_s)
        spooling = self._spool_in_use() or counters.readings_spooled > 0
        stopped = bool(counters.halted or counters.clock_hold)
        held_back = counters.in_flight >= self._receive_maximum or lag_s > _DEAF_LAG_S or stopped
        well = counters.store_available and not (away_s or spooling or held_back)
        healthy, unwell_s = self._over_time(well=well, now=self._clock())
        return interfaces.Report(max(lag_s, self._clock_trouble()[0]), spooling, healthy, unwell_s)

    def busy(self) -> bool:
        """Whether messages wait for the machine."""
        return self._counters.in_flight > self._receive_maximum // _BUSY_PART

    def trouble(self) -> str:
        """What keeps messages from being taken or dated, and what to do, for the alert of an outage."""
        held = self._counters.clock_hold
        return f"{held}; messages are held until it is right: {host_clock.ADVICE}" if held else self._clock_trouble()[1]

    def well_since(self) -> dt.datetime | None:
        """Since when it has been healthy without a break; None: it is not, or ``look`` was not called for a while."""
        well_at, unwell_at = self._well_at, self._unwell_at
        if well_at is None or self._clock() - well_at > interfaces.HICCUP:
            return None
        return self._first_well_at if unwell_at is None else unwell_at

    def _over_time(self, *, well: bool, now: dt.datetime) -> tuple[bool, float | None]:
        """Whether it is healthy, and how long ago it was not. A clock that stepped says nothing of the time before."""
        if self._looked_at is not None and self._looked_at - now > _STEP:
            if self._well_at is not None:
                self._well_at -= self._looked_at - now
                self._unwell_at = now
            self._looked_at = now
        healthy = well or (self._well_at is not None and now - self._well_at <= interfaces.HICCUP)
        stopped = self._looked_at is not None and now - self._looked_at > interfaces.HICCUP
        if (stopped or not healthy) and self._well_at is not None:
            self._unwell_at = now
        self._looked_at = now
        if well:
            self._well_at = now
            self._first_well_at = self._first_well_at or now
        return healthy, None if self._unwell_at is None else (now - self._unwell_at).total_seconds()

    def _waited_s(self) -> float:
        oldest_at = self._counters.batch_oldest_at
        if oldest_at is None:
            return self._counters.lag_s if self._counters.in_flight else 0.0
        return max(0.0, (self._clock() - oldest_at).total_seconds())
