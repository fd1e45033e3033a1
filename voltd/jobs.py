"""The daemon's periodic work beside the pipeline, run by APScheduler: fleets, roll-ups, retention.

Of the daemons that share a database exactly one, the leader, rolls up and applies the retention. ``app`` starts and
stops the jobs. Each uses a pooled connection for the time it runs; one that fails is logged and comes again at its next
time. Nothing here touches the batches.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator, Mapping

import psycopg
import psycopg_pool
import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from voltd import config, errors
from voltd.database import pool, queries, retention, rollup, session

_log = structlog.get_logger()

_FLEETS_S = 30.0
_LEAD_S = 3.0
_LEADER_LOCK = 0x6C656164  # "lead": held by the one daemon of a database that runs the jobs meant for one
_ROLLUP_S = 10.0
_RETENTION_S = 3600.0


class Jobs:
    """The scheduler and its jobs.

    Args:
        settings: where the database is.
        set_fleets: takes the fleet of each registered vehicle.
    """

    def __init__(
        self,
        settings: config.Settings,
        *,
        set_fleets: Callable[[Mapping[str, str]], None],
    ) -> None:
        self._settings = settings
        self._stopping = False
        self._leader: psycopg.Connection[tuple[object, ...]] | None = None
        self._running: set[psycopg.Connection[tuple[object, ...]]] = set()
        self._set_fleets = set_fleets
        self._pool: pool.Pool | None = None
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(2)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone="UTC",
        )

    def start(self) -> None:
        """Starts the jobs; does not block."""
        self._pool = pool.open_pool(session.dsn(self._settings), size=2)
        self._add(self._fleets, _FLEETS_S, first_s=0.1)
        self._add(self._lead, _LEAD_S, first_s=0.2)
        self._add(self._rollup, _ROLLUP_S, first_s=1.0)
        self._add(self._retention, _RETENTION_S, first_s=60.0)
        self._scheduler.start()

    def stop(self) -> None:
        """Starts no more jobs; one that runs is cancelled, its transaction rolled back."""
        self._stopping = True
        self._scheduler.shutdown(wait=False)
        for connection in list(self._running):
            with contextlib.suppress(psycopg.Error):
                connection.cancel_safe(timeout=0.5)
        if self._leader is not None:
            self._leader.close()
        if self._pool is not None:
            self._pool.close(timeout=0.5)

    def _add(self, job: Callable[[], None], every_s: float, *, first_s: float) -> None:
        name = getattr(job, "__name__", "job").strip("_")

        def guarded() -> None:
            try:
                job()
            except (errors.VoltdError, psycopg.Error, psycopg_pool.PoolTimeout) as error:
                if not self._stopping:
                    _log.warning("job.failed", job=name, error=str(error))

        first = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=first_s)
        self._scheduler.add_job(guarded, "interval", seconds=every_s, next_run_time=first, id=name)

    def _fleets(self) -> None:
        with self._connection() as connection:
            rows = connection.execute(queries.text("fleets")).fetchall()
        self._set_fleets({str(vehicle_id): str(fleet_id) for vehicle_id, fleet_id in rows})

    def _lead(self) -> None:
        """Becomes the leader where there is none: a session lock, which PostgreSQL frees when its holder dies."""
        try:
            if self._leader is None:
                connection = psycopg.connect(session.dsn(self._settings), autocommit=True)
                if connection.execute("SELECT pg_try_advisory_lock(%s)", (_LEADER_LOCK,)).fetchone() != (True,):
                    connection.close()
                    return
                self._leader = connection
                _log.info("jobs.leading", instance=self._settings.instance)
            else:
                self._leader.execute("SELECT 1")
        except psycopg.Error:
            self._leader = None
            raise

    def _rollup(self) -> None:
        if self._leader is None:
            return
        with self._connection() as connection:
            result = rollup.run_once(connection)
        if result.advanced or result.recomputed:
            _log.debug("rollup.advanced", hours=result.advanced, recomputed=result.recomputed)

    def _retention(self) -> None:
        if self._leader is None:
            return
        with self._connection() as connection:
            dropped = retention.run_once(connection)
        _log.debug("retention.applied", result=str(dropped))

    @contextlib.contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
        if self._pool is None:
            raise errors.StoreUnavailable("the jobs have not been started")
        with self._pool.connection(timeout=5.0) as connection:
            self._running.add(connection)
            try:
                yield connection
            finally:
                self._running.discard(connection)
