"""When a periodic job runs next: APScheduler's interval trigger for a clock that may step.

Used by ``jobs``. The library's own goes through every run that a step has skipped, one by one: from 1970 to today these
are more than fit into memory.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from apscheduler.triggers import base


class Every(base.BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Every so many seconds; runs that were missed are left out.

    Args:
        seconds: between two runs.
    """

    __slots__ = ("_every",)

    def __init__(self, seconds: float) -> None:
        self._every = dt.timedelta(seconds=seconds)

    def get_next_fire_time(self, previous: dt.datetime | None, now: dt.datetime) -> Any:
        """The first time after ``now`` that is a whole number of intervals after the previous run."""
        if previous is None:
            return now
        missed = max(0, (now - previous) // self._every)
        return previous + (missed + 1) * self._every

    def __str__(self) -> str:
        return f"every {self._every.total_seconds():g} s"
