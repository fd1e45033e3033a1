"""The daemon's periodic work beside the pipeline, run by APScheduler: rules, fleets, roll-ups, retention.

Of the daemons that share a database exactly one, the leader, rolls up and applies the retention, and exactly one of
those with alerts switched on checks the rules and tells alerts; mostly it is the same. ``app`` starts and stops the
jobs. Each uses a pooled connection for the time it runs (the check has its own); one that fails is logged and comes
again at its next time. Nothing here touches the batches.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psycopg
import psycopg_pool
import structlog
from apscheduler.executors import base
from apscheduler.schedulers.background import BackgroundScheduler

from voltd import config, errors
from voltd.alerts import service
from voltd.daemon import health, host_clock, host_clock_witnesses, identity, jobs_trigger
from voltd.database import locks, pool, queries, retention, rollup, session
from voltd.pipeline.write import bounds as write_bounds

_log = structlog.get_logger()

_FLEETS_S = 30.0
_LEAD_S = 3.0
_ROLLUP_S = 10.0
_RETENTION_S = 3600.0
_REPORT_S = 2.0
_SOON_S = 0.2
_CLOCK_S = 60.0
_PAUSE, _BUSY_PAUSE = 3.0, 30.0  # a check is followed by a pause of so many times what it took
_LONGEST_PAUSE_S = 15.0
# After an outage who led before goes on, as only it remembers what it told meanwhile; then another one does.
_GO_ON_WITHIN_S, _GIVE_OVER_AFTER_S = 15.0, 60.0
_LEADER_PATIENCE_S = 10.0  # for an answer that takes no work


class _Threads(base.BaseExecutor):  # type: ignore[misc]  # APScheduler has no types
    """A thread a run. Whatever it waits for, it holds up neither another job nor the end of the process."""

    def _do_submit_job(self, job: Any, run_times: Any) -> None:
        def run() -> None:
            events = base.run_job(job, job._jobstore_alias, run_times, self._logger.name)  # noqa: SLF001 as its own do
            self._run_job_success(job.id, events)

        threading.Thread(target=run, name=f"job-{job.id}", daemon=True).start()


class Jobs:
    """The scheduler and its jobs.

    Args:
        settings: where the database is.
        set_fleets: takes the fleet of each registered vehicle.
        look: how this daemon is.
        alerting: rules and delivery; None: switched off.
        bounds: what the rules concern; published while this daemon checks them.
        busy: whether the ingest needs the machine.
        trouble: what keeps this daemon from taking messages, for people; empty: nothing it knows of.
        clock: this host's; told what the database's says.
    """

    def __init__(
        self,
        settings: config.Settings,
        *,
        set_fleets: Callable[[Mapping[str, str]], None],
        look: Callable[[], health.Report],
        alerting: service.Alerting | None = None,
        bounds: write_bounds.Bounds | None = None,
        busy: Callable[[], bool] = lambda: False,
        trouble: Callable[[], str] = lambda: "",
        clock: host_clock.HostClock | None = None,
    ) -> None:
        self._settings = settings
        self._trouble, self._clock = trouble, clock
        self._reported: str | None = None  # unknown: the one before may have died with some
        self._look, self._alerting, self._bounds, self._busy = look, alerting, bounds, busy
        self._rules = alerting.check if alerting else None
        self._next_check = 0.0
        self._failed_checks = 0
        # Who else there is nobody knows while the database is away: one of a group must not tell what all would tell.
        self._follows = settings.mqtt.share_group is not None
        self._store_away = False
        self._leaves = False  # the rules to who led before the outage
        self._back_at = -_GIVE_OVER_AFTER_S
        self._stopping = False
        keys = (locks.LEADER,) if alerting is None else (locks.LEADER, locks.RULES)
        self._locks = locks.Locks(session.connector(settings, patience_s=_LEADER_PATIENCE_S), keys)
        self._leading, self._reporting = threading.Lock(), threading.Lock()
        self._running: set[psycopg.Connection[tuple[object, ...]]] = set()
        self._set_fleets = set_fleets
        self._pool: pool.Pool | None = None
        self._scheduler = BackgroundScheduler(
            executors={"default": _Threads()},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone="UTC",
        )

    def start(self) -> None:
        """Starts the jobs; does not block."""
        self._pool = pool.open_pool(session.dsn(self._settings), size=4)
        self._add(self._fleets, _FLEETS_S, first_s=0.1)
        self._add(self._lead, _LEAD_S, first_s=0.2)
        self._add(self._rollup, _ROLLUP_S, first_s=1.0)
        self._add(self._retention, _RETENTION_S, first_s=60.0)
        self._add(self._report, _REPORT_S, first_s=0.5)
        if self._clock is not None:
            self._add(self._compare_clocks, _CLOCK_S, first_s=0.4)
        if self._rules is not None:
            self._add(self._check, self._settings.alerts.check_interval_s, first_s=0.3)
        self._scheduler.start()

    def clock_stepped(self) -> None:
        """Runs every job soon: they wait for times of a clock that has been set since. Does not block."""
        soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=_SOON_S)
        for job in self._scheduler.get_jobs():
            job.modify(next_run_time=soon)

    def stop(self) -> threading.Thread:
        """Starts no more jobs; one that runs is cancelled, its transaction rolled back. Does not block.

        Returns:
            Ends once the database knows; a server that is silent may hold it up, but not the end of the process.
        """
        self._stopping = True
        self._scheduler.shutdown(wait=False)
        if self._rules is not None:
            self._rules.abandon()
        leaving = threading.Thread(target=self._leave, name="jobs", daemon=True)
        leaving.start()
        return leaving

    def _leave(self) -> None:
        for connection in list(self._running):
            with contextlib.suppress(psycopg.Error):
                connection.cancel_safe(timeout=0.5)
        self._locks.abandon()
        with self._leading:
            self._locks.release()
        with (
            contextlib.suppress(errors.VoltdError, psycopg.Error, psycopg_pool.PoolTimeout),
            self._reporting,  # a report that comes later would make it one that died
            self._connection(timeout_s=0.5) as connection,
        ):
            connection.execute(queries.text("forget_daemon"), {"instance": self._settings.instance})
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
        self._scheduler.add_job(guarded, jobs_trigger.Every(every_s), next_run_time=first, id=name, name=name)

    def _fleets(self) -> None:
        with self._connection() as connection:
            rows = connection.execute(queries.text("fleets")).fetchall()
        self._set_fleets({str(vehicle_id): str(fleet_id) for vehicle_id, fleet_id in rows})

    def _lead(self) -> None:
        """Becomes the one that does what is meant for one, where there is none."""
        with self._leading:
            if not self._stopping:
                self._lead_or_follow()

    def _lead_or_follow(self) -> None:
        judged = self._locks.holds(locks.RULES)
        try:
            leaves = self._leaves and (self._store_away or time.monotonic() - self._back_at < _GO_ON_WITHIN_S)
            new = self._locks.take(leave=(locks.RULES,) if leaves else ())
        except psycopg.Error:
            if judged and self._alerting is not None:
                self._alerting.follow()
            if not self._store_away:
                self._leaves, self._store_away = self._follows, True
            if self._rules is not None:
                self._rules.abandon()  # it may wait for a server that is silent, and has a limit that suits its work
            raise
        if self._store_away:
            self._back_at = time.monotonic()
        self._follows, self._store_away = not self._locks.holds(locks.RULES), False
        if self._follows and self._alerting is not None and time.monotonic() - self._back_at > _GIVE_OVER_AFTER_S:
            self._alerting.give_over()
        if locks.LEADER in new:
            _log.info("jobs.leading", instance=self._settings.instance)
        if locks.RULES in new and self._alerting is not None:
            self._alerting.lead()
            _log.info("rules.leading", instance=self._settings.instance)

    def _check(self) -> None:
        """The rules; while the database is away the one that led before judges itself."""
        started = time.monotonic()
        if self._rules is None or started < self._next_check:
            return
        try:
            if self._locks.holds(locks.RULES):
                self._rules.run()
                self._failed_checks = 0
            elif self._store_away and not self._follows:
                self._rules.run_offline()
        except errors.StoreUnavailable:
            self._failed_checks += 1
            if self._failed_checks > 1:  # one alone is a hiccup
                self._rules.run_offline()
            raise
        finally:
            pause_s = (time.monotonic() - started) * (_BUSY_PAUSE if self._busy() else _PAUSE)
            self._next_check = time.monotonic() + min(pause_s, _LONGEST_PAUSE_S)

    def _report(self) -> None:
        report = self._look()
        with self._reporting, self._connection() as connection:
            if not self._stopping:
                me = identity.own()
                ours = {
                    "client_id": self._settings.client_id,
                    "host": me.host,
                    "pid": me.pid,
                    "started_at": me.started_at,
                }
                values = {"instance": self._settings.instance, **ours, **report._asdict()}
                connection.execute(queries.text("report_daemon"), values)
                self._report_trouble(connection)
                if self._bounds is not None and self._locks.holds(locks.RULES):
                    self._bounds.publish(connection)

    def _report_trouble(self, connection: psycopg.Connection[Any]) -> None:
        """For the daemon that checks the rules, which may be another one."""
        trouble = self._trouble()
        if trouble != self._reported:
            connection.execute(
                queries.text("report_trouble"), {"instance": self._settings.instance, "trouble": trouble or None}
            )
            self._reported = trouble

    def _compare_clocks(self) -> None:
        if self._clock is not None:
            with self._connection() as connection:
                self._clock.note_database(host_clock_witnesses.database(connection))

    def _rollup(self) -> None:
        if not self._locks.holds(locks.LEADER):
            return
        with self._connection() as connection:
            result = rollup.run_once(connection)
        if result.advanced or result.recomputed:
            _log.debug("rollup.advanced", hours=result.advanced, recomputed=result.recomputed)

    def _retention(self) -> None:
        if not self._locks.holds(locks.LEADER):
            return
        with self._connection() as connection:
            for query in ("forget_dead_daemons", "forget_refused_devices", "forget_rhythms"):
                connection.execute(queries.text(query))
            dropped = retention.run_once(connection)
        _log.debug("retention.applied", result=str(dropped))

    @contextlib.contextmanager
    def _connection(self, *, timeout_s: float = 5.0) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
        if self._pool is None:
            raise errors.StoreUnavailable("the jobs have not been started")
        with self._pool.connection(timeout=timeout_s) as connection:
            self._running.add(connection)
            try:
                yield connection
            finally:
                self._running.discard(connection)
