"""TimescaleDB's own jobs for voltd's tables: which fail or are overdue, and the refresh of aggregates in their place.

TimescaleDB refreshes the continuous aggregates, compresses old readings and drops those that are too old, in the
background. ``daemon.policy_watch`` and ``voltd check`` ask here how that goes. The Apache-2 edition has no such jobs.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import rows

from voltd.database import edition, queries, sqlstate

_OVERDUE = 3  # intervals without a success
_STEP = dt.timedelta(days=1)
_SHORT_S, _LONG_S = 2.0, 10.0  # far below the time limit of a statement: one that is cancelled does all its work again
_KINDS = {"refresh": "refresh of {}", "columnstore": "columnstore of {}", "retention": "retention of {}"}
_INVALID_CURSOR_STATE = "24000"  # PostgreSQL 15.20 to TimescaleDB 2.28.3, when its worker tidies up after the COMMIT


@dataclasses.dataclass(frozen=True, slots=True)
class PolicyJob:
    """One job of TimescaleDB, as of a look at it.

    Attributes:
        job_id: TimescaleDB's number of it.
        kind: ``refresh``, ``columnstore``, ``retention``, or the name of its procedure.
        relation: table or aggregate that it works on, with its schema.
        owner: role that it runs as.
        every: from one run to the next.
        paused: somebody has switched it off.
        running: it is at work.
        succeeded: it has succeeded at least once.
        waiting: time since it succeeded; before its first success since that was due; None: not known.
        failed: its last run failed.
        failures: failed runs since it succeeded.
        error: text of the last failure; empty: none since it succeeded.
        sqlstate: of that failure.
        refresh_from: beginning of the time that a refresh covers, on the edge of a bucket; None: of no refresh.
        refresh_to: its end, likewise.
        bucket: width of a bucket of the aggregate.
    """

    job_id: int
    kind: str
    relation: str
    owner: str
    every: dt.timedelta
    paused: bool
    running: bool
    succeeded: bool
    waiting: dt.timedelta | None
    failed: bool
    failures: int
    error: str
    sqlstate: str
    refresh_from: dt.datetime | None = None
    refresh_to: dt.datetime | None = None
    bucket: dt.timedelta | None = None

    @property
    def name(self) -> str:
        """What it does, for people."""
        return _KINDS.get(self.kind, f"{self.kind} of {{}}").format(self.relation)

    @property
    def overdue(self) -> bool:
        """Whether three intervals have passed without a success."""
        return self.waiting is not None and self.waiting > _OVERDUE * self.every

    @property
    def in_trouble(self) -> bool:
        """Whether its last run failed or it is overdue."""
        return self.failed or self.overdue

    @property
    def trouble(self) -> str:
        """What is wrong, for people; empty: nothing. The same text as long as the same is wrong."""
        if self.failed:
            return f"failed: {self.error or 'TimescaleDB does not say why'}"
        if not self.overdue:
            return ""
        since = "has not succeeded for three intervals" if self.succeeded else "has never succeeded and is overdue"
        return f"is paused and {since}" if self.paused else since

    @property
    def works(self) -> bool:
        """Whether each run does its work and counts as failed all the same, for a fault of TimescaleDB's worker."""
        tidied_up = self.sqlstate == _INVALID_CURSOR_STATE and self.error.startswith("cannot drop portal")
        return self.failed and tidied_up and not self.paused

    @property
    def advice(self) -> str:
        """What an admin does about it."""
        if self.paused:
            return f"to switch it on, as {self.owner}: SELECT alter_job({self.job_id}, scheduled => true)"
        if self.works:
            return (
                "each run does its work and counts as failed all the same, because this TimescaleDB does not know this"
                " release of PostgreSQL: update TimescaleDB"
            )
        return f"see the server's log; to run it by hand, as {self.owner}: CALL run_job({self.job_id})"


def look(connection: psycopg.Connection[Any]) -> list[PolicyJob] | None:
    """TimescaleDB's jobs for voltd's tables, a refresh after those that it needs; None: an edition without any.

    Raises:
        errors.StoreUnavailable: transient; nothing was changed.
    """
    try:
        if edition.detect(connection).edition is not edition.Edition.COMMUNITY:
            return None
        with connection.cursor(row_factory=rows.class_row(PolicyJob)) as cursor:
            return cursor.execute(queries.text("timescaledb_jobs")).fetchall()
    except psycopg.Error as error:
        raise sqlstate.wrap(error) from error


def may_refresh(connection: psycopg.Connection[Any], job: PolicyJob) -> bool:
    """Whether this connection's user may refresh the aggregate of a job: TimescaleDB lets its owner alone do that.

    Raises:
        errors.StoreUnavailable: transient; nothing was changed.
    """
    try:
        row = connection.execute(queries.text("may_refresh"), {"owner": job.owner}).fetchone()
    except psycopg.Error as error:
        raise sqlstate.wrap(error) from error
    return bool(row and row[0])


def how_to_allow(job: PolicyJob) -> str:
    """What an admin does where voltd may not refresh an aggregate itself."""
    owner = job.owner
    return f"set database.migrate_dsn to a member of {owner}, or run it by hand, as {owner}: CALL run_job({job.job_id})"


def refresh(connection: psycopg.Connection[Any], job: PolicyJob, go_on: Callable[[], bool]) -> bool:
    """Refreshes the aggregate of a refresh job over the job's own window; blocks until done, for minutes perhaps.

    A statement refreshes a bucket, or as many as take few seconds, at most a day. The oldest come first: until the
    history is complete, the aggregate computes what is newer live.

    Args:
        connection: of the aggregate's owner, in autocommit mode. After an error it must be closed: TimescaleDB counts
            the refresh as under way for as long as its connection lives, and refuses others.
        job: a job of kind ``refresh``.
        go_on: asked before each statement.

    Returns:
        Whether it was finished; False: ``go_on`` said no, and the next refresh does the rest.

    Raises:
        errors.StoreUnavailable: transient; what was refreshed stays, call again.
    """
    at, end, bucket = job.refresh_from, job.refresh_to, job.bucket
    if at is None or end is None or bucket is None:
        raise ValueError(f"job {job.job_id} refreshes no time that has an end")
    buckets, most = 1, max(1, _STEP // bucket)
    try:
        while at < end:
            if not go_on():
                return False
            until = min(at + buckets * bucket, end)
            started = time.monotonic()
            # CALL cannot be prepared, so this is no named query.
            connection.execute(
                "CALL refresh_continuous_aggregate(%s::regclass, %s, %s)", [job.relation, at, until], prepare=False
            )
            took_s, at = time.monotonic() - started, until
            if took_s > _LONG_S:
                buckets = max(1, buckets // 2)
            elif took_s < _SHORT_S:
                buckets = min(2 * buckets, most)
    except psycopg.Error as error:
        raise sqlstate.wrap(error) from error
    return True
