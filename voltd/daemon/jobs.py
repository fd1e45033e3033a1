"""The daemon's periodic work beside the pipeline: rules, fleets, roll-ups, retention, TimescaleDB's own jobs.

``app`` starts and stops it, ``scheduler`` runs it, ``leader`` says which daemon does what is meant for one. Each job
uses a pooled connection for the time it runs (the evaluation cycle and the election have their own). Nothing here
touches the batches.
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

from voltd import config, errors
from voltd.alerts import service
from voltd.daemon import leader, policy_watch, scheduler
from voltd.database import connections, locks, pool, queries, retention, rollup, sessions
from voltd.host import host_clock, identity, witnesses
from voltd.pipeline.consume import pseudonyms
from voltd.pipeline.write import bounds, pseudonym_changes
from voltd.rules.cycle import interfaces

_log = structlog.get_logger()

_LEAD_S = 3.0
_SOON_S = 0.2
_PAUSE, _BUSY_PAUSE = 3.0, 30.0  # a cycle is followed by a pause of so many times what it took
_LONGEST_PAUSE_S = 15.0


class Jobs:
    """Runs the periodic jobs.

    Args:
        settings: where the database is.
        set_fleets: takes the fleet of each registered vehicle.
        look: how this daemon is.
        alerting: rules and delivery; None: switched off.
        bounds: what the rules concern; published while this daemon evaluates them.
        busy: whether the ingest needs the machine.
        trouble: what keeps this daemon from taking messages, for people; empty: nothing it knows of.
        clock: this host's; learns what the database's says.
        renamed: pseudonyms of VINs; None: they stay as they are.
        save_memory: writes what device families know; None: they know nothing.
        policies: looks after TimescaleDB's own jobs; None: nobody does.
    """

    def __init__(
        self,
        settings: config.Settings,
        *,
        set_fleets: Callable[[Mapping[str, str]], None],
        look: Callable[[], interfaces.Report],
        alerting: service.Alerting | None = None,
        bounds: bounds.Bounds | None = None,
        busy: Callable[[], bool] = lambda: False,
        trouble: Callable[[], str] = lambda: "",
        clock: host_clock.HostClock | None = None,
        policies: policy_watch.PolicyWatch | None = None,
        renamed: pseudonyms.Pseudonyms | None = None,
        save_memory: Callable[[], None] | None = None,
    ) -> None:
        self._settings = settings
        self._trouble, self._clock, self._policies = trouble, clock, policies
        self._pseudonyms, self._save_memory = renamed, save_memory
        self._reported: str | None = None  # unknown: the run before may have died with some
        self._look, self._alerting, self._bounds, self._busy = look, alerting, bounds, busy
        self._next_cycle_at = self._next_rollup_at = 0.0
        self._failed_cycles = 0
        self._stopping = False
        self._leader = leader.Leader(settings, alerting)
        self._reporting = threading.Lock()
        self._running: set[psycopg.Connection[tuple[object, ...]]] = set()
        self._set_fleets = set_fleets
        self._pool: pool.Pool | None = None
        self._scheduler = scheduler.make()

    def start(self) -> None:
        """Starts the jobs; does not block."""
        self._pool = pool.open_pool(connections.dsn(self._settings), size=4)
        scheduler.add(self._scheduler, self._table())
        self._scheduler.start()

    def _table(self) -> Iterator[scheduler.Job]:
        #   name, what, every s, first after s, who
        job = scheduler.Job
        yield job("fleets", self._fleets, 30.0, 0.1, self._every_daemon)
        yield job("lead", self._leader.look, _LEAD_S, 0.2, self._every_daemon)
        yield job("report", self._report, 2.0, 0.5, self._every_daemon)
        yield job("rollup", self._rollup, 10.0, 1.0, self._the_leader)
        yield job("sessions", self._sessions, 15.0, 2.0, self._the_leader)
        yield job("retention", self._retention, 3600.0, 60.0, self._the_leader)
        if self._pseudonyms is not None:
            yield job("pseudonyms", self._note_pseudonyms, 5.0, 1.0, self._every_daemon)
        if self._save_memory is not None:
            yield job("memory", self._save_memory, 60.0, 30.0, self._every_daemon)
        if self._policies is not None:
            yield job("policies", self._watch_policies, 60.0, 20.0, self._every_daemon)
        if self._clock is not None:
            yield job("compare_clocks", self._compare_clocks, 60.0, 0.4, self._every_daemon)
        if self._alerting is not None:
            yield job("check", self._evaluate, self._settings.alerts.check_interval_s, 0.3, self._rules_leader)

    def clock_stepped(self) -> None:
        """Runs every job soon: they wait for times of a clock that has been set since. Does not block."""
        soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=_SOON_S)
        for job in self._scheduler.get_jobs():
            job.modify(next_run_time=soon)

    def stop(self) -> threading.Thread:
        """Starts no more jobs; one that runs is cancelled, its transaction rolled back. Does not block.

        Returns:
            Ends once the database knows; a silent server may hold it up, but not the end of the process.
        """
        self._stopping = True
        self._scheduler.shutdown(wait=False)
        if self._alerting is not None:
            self._alerting.cycle.abandon()
        leaving = threading.Thread(target=self._leave, name="jobs", daemon=True)
        leaving.start()
        return leaving

    def _leave(self) -> None:
        for connection in list(self._running):
            with contextlib.suppress(psycopg.Error):
                connection.cancel_safe(timeout=0.5)
        self._leader.close()
        with (
            contextlib.suppress(errors.VoltdError, psycopg.Error, psycopg_pool.PoolTimeout),
            self._reporting,  # after a later report this daemon would look like one that died
            self._connection(timeout_s=0.5) as connection,
        ):
            connection.execute(queries.text("forget_daemon"), {"instance": self._settings.instance})
            self._note_pseudonyms_of(connection)
        if self._pool is not None:
            self._pool.close(timeout=0.5)

    def _every_daemon(self) -> bool:
        """Until it stops."""
        return not self._stopping

    def _the_leader(self) -> bool:
        return self._leader.holds(locks.LEADER)

    def _rules_leader(self) -> bool:
        """Whether the rules are this daemon's; while the database is away the one that led before evaluates itself."""
        return self._leader.holds(locks.RULES) or self._leader.role is leader.Role.OFFLINE

    def _fleets(self) -> None:
        with self._connection() as connection:
            rows = connection.execute(queries.text("fleets")).fetchall()
        self._set_fleets({str(vehicle_id): str(fleet_id) for vehicle_id, fleet_id in rows})

    def _evaluate(self) -> None:
        """One evaluation cycle."""
        started = time.monotonic()
        if self._alerting is None or started < self._next_cycle_at:
            return
        cycle = self._alerting.cycle
        try:
            if self._leader.holds(locks.RULES):
                cycle.run()
                self._failed_cycles = 0
            elif self._leader.role is leader.Role.OFFLINE:
                cycle.run_offline()
        except errors.StoreUnavailable:
            self._failed_cycles += 1
            if self._failed_cycles > 1:  # one alone is a hiccup
                cycle.run_offline()
            raise
        finally:
            self._next_cycle_at = time.monotonic() + self._pause_s(started)

    def _pause_s(self, started: float) -> float:
        """How long a job that began then waits until it may begin again."""
        return min((time.monotonic() - started) * (_BUSY_PAUSE if self._busy() else _PAUSE), _LONGEST_PAUSE_S)

    def _report(self) -> None:
        this = {"instance": self._settings.instance, "client_id": self._settings.client_id}
        values = {**this, **identity.own()._asdict(), **self._look()._asdict()}
        with self._reporting, self._connection() as connection:
            if self._stopping:
                return
            connection.execute(queries.text("report_daemon"), values)
            self._report_trouble(connection)
            if self._bounds is not None and self._leader.holds(locks.RULES):
                self._bounds.publish(connection)

    def _report_trouble(self, connection: psycopg.Connection[Any]) -> None:
        """For the daemon that evaluates the rules, which may be another one."""
        trouble = self._trouble()
        if trouble != self._reported:
            connection.execute(
                queries.text("report_trouble"), {"instance": self._settings.instance, "trouble": trouble or None}
            )
            self._reported = trouble

    def _compare_clocks(self) -> None:
        if self._clock is not None:
            with self._connection() as connection:
                self._clock.note_database(witnesses.database(connection))

    def _rollup(self) -> None:
        started = time.monotonic()
        if started < self._next_rollup_at:
            return
        with self._connection() as connection:
            result = rollup.run_once(connection)
        # What is late can wait for a few seconds more; the ingest cannot.
        self._next_rollup_at = time.monotonic() + self._pause_s(started)
        if result.advanced or result.recomputed:
            _log.debug("rollup.advanced", hours=result.advanced, recomputed=result.recomputed)

    def _sessions(self) -> None:
        """Charging sessions that have begun, gone on or ended, or that follow what came late."""
        with self._connection() as connection:
            looked = sessions.run_once(connection)
        if looked:
            _log.debug("sessions.kept", marks=looked)

    def _retention(self) -> None:
        with self._connection() as connection:
            for query in ("forget_dead_daemons", "forget_refused_devices", "forget_rhythms"):
                connection.execute(queries.text(query))
            dropped = retention.run_once(connection)
        _log.debug("retention.applied", result=str(dropped))

    def _note_pseudonyms(self) -> None:
        """Vehicles that were heard with a new key, and of which the store had nothing to write yet."""
        if self._pseudonyms is not None and self._pseudonyms.renamed:
            with self._connection() as connection:
                self._note_pseudonyms_of(connection)

    def _note_pseudonyms_of(self, connection: psycopg.Connection[Any]) -> None:
        if self._pseudonyms is None or not self._pseudonyms.renamed:
            return
        self._pseudonyms.noted(pseudonym_changes.insert(connection, self._pseudonyms))

    def _watch_policies(self) -> None:
        if self._policies is None:
            return
        if not self._the_leader():
            self._policies.forget()
            return
        with self._connection() as connection:
            due = self._policies.look(connection)
        for one in due:
            if not self._stopping:
                with self._policies.connect() as connection, self._cancelled_at_stop(connection):
                    self._policies.refresh(connection, one, lambda: not self._stopping and self._the_leader())

    @contextlib.contextmanager
    def _cancelled_at_stop(self, connection: psycopg.Connection[Any]) -> Iterator[None]:
        self._running.add(connection)
        try:
            yield
        finally:
            self._running.discard(connection)

    @contextlib.contextmanager
    def _connection(self, *, timeout_s: float = 5.0) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
        if self._pool is None:
            raise errors.StoreUnavailable("the jobs have not been started")
        with self._pool.connection(timeout=timeout_s) as connection, self._cancelled_at_stop(connection):
            yield connection
