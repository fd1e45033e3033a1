"""The leader's eye on TimescaleDB's own jobs: says which fail, and refreshes aggregates in their place.

``jobs`` calls it once a minute; ``database.policies`` knows what is wrong and how to refresh. Only a refresh is done
here: readings that are compressed or dropped late cost disk, figures that are refreshed late mislead.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg
import structlog

from voltd import config, errors, metrics
from voltd.database import connections, policies

_log = structlog.get_logger()


class PolicyWatch:
    """Knows how TimescaleDB's jobs did at the last look. One thread calls it.

    Args:
        settings: where the database is, and the owner's way into it.
        counters: get the names of jobs in trouble.
    """

    def __init__(self, settings: config.Settings, counters: metrics.Metrics) -> None:
        self._counters = counters
        self._troubles: dict[int, str] = {}  # by job, as logged
        self._tried_at: dict[int, float] = {}  # by job, on the monotonic clock
        self._reported: dict[int, str] = {}  # by job, what became of the refresh
        self.connect = connections.connector(settings, migrate=True)

    def forget(self) -> None:
        """Another daemon leads: what this one knew does not count any more."""
        self._counters.timescaledb_jobs_failing = None
        self._troubles, self._tried_at, self._reported = {}, {}, {}

    def look(self, connection: psycopg.Connection[Any]) -> list[policies.PolicyJob]:
        """Logs each change of a job, once, and keeps the metric; blocks for two round trips.

        Returns:
            refresh jobs whose work is to be done now, in this order.

        Raises:
            errors.StoreUnavailable: transient; look again.
        """
        jobs = policies.look(connection)
        if jobs is None:
            self.forget()
            return []
        known = {job.job_id for job in jobs}
        for gone in self._troubles.keys() - known:
            del self._troubles[gone]
        for job in jobs:
            if not job.running:  # how it ended is not known yet
                self._note(job)
        self._counters.timescaledb_jobs_failing = [job.name for job in jobs if job.job_id in self._troubles]
        if not self._troubles:
            _log.debug("timescaledb_jobs.ok", jobs=len(jobs))
        return [job for job in jobs if self._due(job)]

    def refresh(self, connection: psycopg.Connection[Any], job: policies.PolicyJob, go_on: Callable[[], bool]) -> None:
        """Refreshes the aggregate of a job, or logs why not and what an admin does; blocks, for minutes perhaps.

        Args:
            connection: from ``connect``, for this job alone.
            job: as ``look`` returned it.
            go_on: asked before each statement.
        """
        started = self._tried_at[job.job_id] = time.monotonic()
        try:
            if not policies.may_refresh(connection, job):
                if not job.works:
                    self._report(job, "not_allowed", do=policies.how_to_allow(job))
            elif policies.refresh(connection, job, go_on):
                self._report(job, "done", took_s=round(time.monotonic() - started, 1))
        except errors.VoltdError as error:
            if go_on():
                self._report(job, "failed", error=str(error), do=job.advice)

    def _note(self, job: policies.PolicyJob) -> None:
        before = self._troubles.pop(job.job_id, "")
        if job.in_trouble:
            self._troubles[job.job_id] = job.trouble
            if job.trouble != before:
                _log.warning(
                    "timescaledb_job.failing",
                    job=job.job_id,
                    what=job.name,
                    trouble=job.trouble,
                    failures=job.failures,
                    do=job.advice,
                )
        elif before:
            self._reported.pop(job.job_id, None)
            _log.info("timescaledb_job.recovered", job=job.job_id, what=job.name)

    def _due(self, job: policies.PolicyJob) -> bool:
        """At most as often as TimescaleDB would."""
        if job.refresh_from is None or job.running or not job.in_trouble:
            return False
        tried_at = self._tried_at.get(job.job_id)
        return tried_at is None or time.monotonic() - tried_at >= job.every.total_seconds()

    def _report(self, job: policies.PolicyJob, outcome: str, **facts: object) -> None:
        """Loud once; the same again is for who debugs."""
        level = "debug"
        if self._reported.get(job.job_id) != outcome:
            level = "info" if outcome == "done" else "warning"
        self._reported[job.job_id] = outcome
        getattr(_log, level)(f"aggregate.refresh_{outcome}", aggregate=job.relation, **facts)
