"""APScheduler, set up for jobs that may wait for a silent database on a clock that may step.

``jobs`` says what runs and when. Each run has a thread of its own; a job that is still running is not started again; a
job that fails is logged and runs again at its next time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import psycopg
import psycopg_pool
import structlog
from apscheduler import events
from apscheduler.executors import pool
from apscheduler.schedulers import background
from apscheduler.triggers import base

from voltd import errors
from voltd.daemon import threads

_log = structlog.get_logger()

_TRANSIENT = (errors.VoltdError, psycopg.Error, psycopg_pool.PoolTimeout)


class Job(NamedTuple):
    """What runs periodically.

    Attributes:
        name: in the log.
        run: does it; may block.
        every_s: between two runs.
        first_s: from the start to the first run.
        may_run: whether this daemon is the one to do it; asked before each run.
    """

    name: str
    run: Callable[[], None]
    every_s: float
    first_s: float
    may_run: Callable[[], bool]


class Every(base.BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Every so many seconds; runs that were missed are left out.

    The library's own interval goes through every run that a step of the clock has skipped, one by one: from 1970 to
    today these are more than fit into memory.

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


class _Executor(pool.BasePoolExecutor):  # type: ignore[misc]  # APScheduler has no types
    """The library's executor on threads that do not hold up the end of the process."""

    def __init__(self) -> None:
        super().__init__(threads.DaemonThreads("job"))


def make() -> Any:
    """A ``BackgroundScheduler`` without jobs, not started yet. Once it is shut down it logs defects only."""
    made = background.BackgroundScheduler(
        executors={"default": _Executor()},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        timezone="UTC",
    )

    def report(event: events.JobExecutionEvent) -> None:
        if isinstance(event.exception, _TRANSIENT):
            if made.running:
                _log.warning("job.failed", job=event.job_id, error=str(event.exception))
        else:
            _log.error("job.failed", job=event.job_id, error=repr(event.exception), traceback=event.traceback)

    made.add_listener(report, events.EVENT_JOB_ERROR)
    return made


def add(scheduler: Any, jobs: Iterable[Job]) -> None:
    """Has the scheduler run these."""
    now = dt.datetime.now(dt.UTC)
    for job in jobs:
        first = now + dt.timedelta(seconds=job.first_s)
        scheduler.add_job(_run, Every(job.every_s), args=(job,), next_run_time=first, id=job.name, name=job.name)


def _run(job: Job) -> None:
    if job.may_run():
        job.run()
