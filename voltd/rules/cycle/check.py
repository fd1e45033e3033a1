"""The check: what is new, judged by the rules, written with what is to be told, in one transaction.

Run about once a second by the scheduler (``voltd/daemon/jobs.py``) in the one daemon that leads. ``cycle.read`` reads,
``evaluate`` judges, ``cycle.write`` writes, ``cycle.memory`` is what is remembered until the next one. While the
database is away only voltd itself is judged (``cycle.offline``): the one alert of an outage.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import psycopg
import structlog

from voltd.daemon import health, host_clock
from voltd.database import queries, session, sqlstate
from voltd.pipeline.write import excursions as write_excursions
from voltd.rules import evaluate, model, state
from voltd.rules.cycle import daemons, offline, writers
from voltd.rules.cycle import memory as check_memory
from voltd.rules.cycle import past as check_past
from voltd.rules.cycle import read as check_read
from voltd.rules.cycle import write as check_write

_log = structlog.get_logger()

_LATE_VEHICLES = 200
_LOOK_AT_ALL_EVERY_S = 30.0
_SAVE_HEALTH_EVERY_S = 5.0
_STEP = dt.timedelta(seconds=1)


class _OvertakenError(Exception):
    """Another daemon has written since; what is remembered here is old."""


class _Written(NamedTuple):
    """What one check wrote."""

    outcomes: Sequence[evaluate.Outcome] = ()
    deliveries: int = 0


class Check:
    """Checks the rules; one thread calls ``run`` and ``run_offline``, other threads may call the rest.

    Args:
        connect: opens a connection of the writer's role.
        instance: this daemon's name.
        look: how this daemon is; asked once a check.
        excursions: told what the writer has to look for.
        wake: called after something to tell was committed.
        tell: tells something at once, while there is no database for the outbox.
        told_at: what of it was told, where and when.
        withdraw: called once all of it is in the database: the rest is the outbox's.
        busy: whether the daemon has better things to do than to look at history.
        trouble: what keeps this daemon from taking messages, for people; empty: nothing it knows of.
        clock: this host's: where it may be wrong, devices' clocks are not judged by it; None: it is never in doubt.
    """

    def __init__(
        self,
        connect: session.Connect,
        instance: str,
        *,
        look: Callable[[], health.Report],
        excursions: write_excursions.Excursions,
        wake: Callable[[], None] = lambda: None,
        tell: Callable[[Sequence[offline.Told]], None] = lambda _told: None,
        told_at: check_write.ToldAt = lambda _channel, _what: None,
        withdraw: Callable[[], None] = lambda: None,
        busy: Callable[[], bool] = lambda: False,
        trouble: Callable[[], str] = lambda: "",
        clock: host_clock.HostClock | None = None,
    ) -> None:
        self._connect = connect
        self._instance = instance
        self._look = look
        self._excursions = excursions
        self._wake, self._busy, self._trouble = wake, busy, trouble
        self._clock = clock
        self._told_at, self._withdraw = told_at, withdraw
        self._offline = offline.OfflineMode(instance, tell)
        self._streak = health.HealthyStreak()
        self._connection: psycopg.Connection[Any] | None = None
        self._next: tuple[tuple[model.Rule, ...], tuple[check_write.NotificationTarget, ...]] | None = None
        self._plan = evaluate.Plan(())
        self._reader = check_read.CycleReader((), _LATE_VEHICLES)
        self._channels: tuple[check_write.NotificationTarget, ...] = ()
        self._memory = check_memory.Memory()
        self._outdated = True  # what is remembered has to be read again
        self._shared = threading.Lock()  # for what other threads change too: _next, _outdated and what is left out
        self._checked_at: dt.datetime | None = None
        self._all_at = self._saved_at = float("-inf")
        self.firing = 0  # episodes that are open, as of the last check

    def use(self, rules: Iterable[model.Rule], channels: Iterable[check_write.NotificationTarget]) -> None:
        """From the next check on; what is remembered goes on, and the writer looks for what these rules need."""
        kept = tuple(rules)
        bounds = [
            write_excursions.ColumnRange(one.metric.value, one.below, one.above)
            for one in evaluate.Plan(kept).bounds("vehicle")
            if one.metric in check_read.TELEMETRY
        ]
        late_after_s = max((one.late_after_s for one in kept if one.metric in check_read.TELEMETRY), default=900.0)
        self._excursions.look_for(bounds, late_after_s)
        with self._shared:
            self._next = (kept, tuple(channels))

    def rest(self) -> None:
        """Another daemon leads, or may have led: what is remembered is read again before the next check."""
        with self._shared:
            self._outdated = True
            self.firing = 0
            self._excursions.leave_out(frozenset())

    def give_over(self) -> None:
        """Another daemon leads: what was judged alone before will not be written by this one."""
        if self._offline.forget():
            self._withdraw()

    def abandon(self) -> None:
        """Breaks the connection from another thread; a check that waits fails."""
        session.abandon(self._connection)

    def run(self) -> None:
        """One check.

        Raises:
            StoreUnavailable, StoreRejected: nothing was written; the next check sees the same again.
        """
        self._take_over_changes()
        started = time.monotonic()
        try:
            connection = self._open()
            anew = self._anew()
            if anew:  # in a transaction of its own: writers change the same rows
                connection.execute(queries.text("bound_signs_of_life"), {"now": self._checked_at})
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                memory = self._remembered(connection) if anew else self._memory.copy()
                written = self._check(connection, memory)
        except _OvertakenError:
            self.rest()
            _log.warning("rules.overtaken", hint="another daemon has checked the rules meanwhile; it leads now")
            return
        except BaseException as error:
            self._outdated = True
            self._reader.again()
            if isinstance(error, psycopg.Error):
                self._close()
                raise sqlstate.wrap(error) from error
            raise
        self._memory = memory
        if self._offline.forget():
            self._withdraw()
        self.firing = len(memory.episodes)
        with self._shared:
            if not self._outdated:
                writers.tell(self._excursions, memory)
        for outcome in written.outcomes:
            for told in outcome.transitions:
                _log.info(f"alert.{told.kind.value}", rule=outcome.rule, device=outcome.device.device_id)
        if written.deliveries:
            self._wake()
        _log.debug("rules.checked", ms=round(1000 * (time.monotonic() - started), 1), firing=self.firing)

    def run_offline(self) -> None:
        """Judges this daemon alone, from memory: there is no database. What comes of it is written when it is back."""
        self._take_over_changes()
        now = dt.datetime.now(dt.UTC)
        self._outdated = True
        self._streak.note(healthy=False, now=now)
        self._offline.judge(self._plan, self._memory.states, self._look(), now, self._trouble())

    def _take_over_changes(self) -> None:
        with self._shared:
            changes, self._next = self._next, None
        if changes is not None:
            rules, self._channels = changes
            self._plan = evaluate.Plan(rules)
            self._reader = check_read.CycleReader(rules, _LATE_VEHICLES, self._reader.clocks)
            self._all_at = float("-inf")

    def _anew(self) -> bool:
        """Whether what is remembered is old: also where the clock has stepped back, and what is dated ahead changes."""
        now, at = dt.datetime.now(dt.UTC), self._checked_at
        with self._shared:
            outdated, self._outdated = self._outdated or (at is not None and now < at - _STEP), False
        self._checked_at = now
        return outdated

    def _remembered(self, connection: psycopg.Connection[Any]) -> check_memory.Memory:
        """What the database has."""
        now = dt.datetime.now(dt.UTC)
        memory = check_memory.load(connection, self._reader.rules, now)
        self._reader.clocks.behind_s = dict(memory.behind_s)
        memory.past = self._open_past(connection, memory)
        self._streak.resume(memory.healthy_since, memory.healthy_at, now)
        self._all_at = float("-inf")
        return memory

    def _check(self, connection: psycopg.Connection[Any], memory: check_memory.Memory) -> _Written:
        alone = self._offline.outcomes(memory.states)
        memory.states.update({one.key: one.state for one in alone})
        others = [one for one in connection.execute(queries.text("daemons")) if one[0] != self._instance]
        notes = {str(one[0]): str(one[6]) for one in others if one[6]} | {self._instance: self._trouble()}
        now, clock_s = dt.datetime.now(dt.UTC), time.monotonic()  # after the snapshot: nothing in it is newer
        this = (self._instance, 0.0, *self._look())
        rows, healthy, unwell_s = daemons.judge([this, *(one[:6] for one in others)], memory.states, now)
        rows = [daemons.in_order(one, memory.states) for one in rows]
        self._streak.note(healthy=healthy, now=now, unwell_s=unwell_s)
        news = self._reader.read(
            connection,
            memory.states,
            now=now,
            clock_s=clock_s,
            healthy_since=self._streak.since,
            efficiency_until=memory.efficiency_until,
            busy=self._busy(),
            host=self._clock,
        )
        rows += news.rows
        states = self._concerned(memory.states, rows, news, clock_s)
        keys = {(row.device_type, row.device_id) for row in rows} | set(news.last_seen) | {key[1:] for key in states}
        outcomes = self._plan.check(
            rows,
            check_read.registry(connection, keys) | daemons.noted(notes),
            news.last_seen,
            states,
            now=now,
            healthy_since=self._streak.since,
            judged_at=news.judged_at,
            valued_at=news.valued_at,
            heard=news.heard,
        )
        writers.save_clocks(connection, self._reader.clocks.behind_s, memory)
        self._save_health(connection, clock_s)
        before = list({one.key: one for one in (*memory.mended, *alone)}.values())
        return self._write(connection, memory, news, outcomes, before=before, now=now)

    def _save_health(self, connection: psycopg.Connection[Any], clock_s: float) -> None:
        if clock_s - self._saved_at >= _SAVE_HEALTH_EVERY_S and self._streak.since is not None:
            self._saved_at = clock_s
            connection.execute(queries.text("set_healthy"), {"since": self._streak.since})

    def _concerned(
        self,
        states: dict[evaluate.StateKey, state.State],
        rows: Sequence[evaluate.Observation],
        news: check_read.News,
        clock_s: float,
    ) -> dict[evaluate.StateKey, state.State]:
        """The states that this check may change; now and then all, for what no longer applies to anybody."""
        if clock_s - self._all_at >= _LOOK_AT_ALL_EVERY_S:
            self._all_at = clock_s
            return states
        devices = {(row.device_type, row.device_id) for row in rows} | set(news.last_seen)
        return {key: one for key, one in states.items() if key[1:] in devices or one.waits}

    def _write(
        self,
        connection: psycopg.Connection[Any],
        memory: check_memory.Memory,
        news: check_read.News,
        outcomes: Sequence[evaluate.Outcome],
        *,
        before: Sequence[evaluate.Outcome],
        now: dt.datetime,
    ) -> _Written:
        """Writes what this check came to, on top of what came before it and is not in the database yet."""
        faded = memory.faded(self._reader.rules, outcomes, now)
        if not (outcomes or before or faded or news.excursions or news.efficiency_until):
            return _Written()
        turn = {"epoch": memory.turn, "efficiency_until": news.efficiency_until}
        if connection.execute(queries.text("next_epoch"), turn).rowcount != 1:
            raise _OvertakenError
        memory.turn += 1
        memory.efficiency_until = news.efficiency_until or memory.efficiency_until
        if news.excursions:
            connection.execute(queries.text("delete_excursions"), {"ids": news.excursions})
        deliveries = 0
        for judged in (before, outcomes):
            written = check_write.write(connection, judged, memory.episodes, self._channels, told_at=self._told_at)
            memory.take(judged, written.episodes)
            deliveries += written.deliveries
        if any(one.past or any(told.kind is state.Kind.RECORDED for told in one.transitions) for one in outcomes):
            memory.past = self._open_past(connection, memory)
        check_write.delete_states(connection, faded)
        memory.forget(faded)
        memory.mended = []
        return _Written((*before, *outcomes), deliveries)

    def _open_past(
        self, connection: psycopg.Connection[Any], memory: check_memory.Memory
    ) -> dict[str, tuple[dt.datetime, dt.datetime]]:
        return check_past.ranges(connection, self._reader.around, writers.vehicles(memory.behind_s))

    def _open(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._outdated = True
            self._connection = self._connect()
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
