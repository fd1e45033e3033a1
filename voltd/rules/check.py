"""The check: what is new, judged by the rules, written with what is to be told, in one transaction.

Run about once a second by the scheduler (``voltd/jobs.py``) in the one daemon that leads. ``check_read`` reads,
``evaluate`` judges, ``check_write`` writes; what is remembered is kept here between two checks and in the database for
the next daemon. While the database is away only voltd itself is judged (``check_alone``): the one alert of an outage.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import psycopg
import structlog

from voltd import errors, health
from voltd.database import queries, session, sqlstate
from voltd.pipeline import write_excursions
from voltd.rules import check_alone, check_read, check_write, evaluate, model, state

_log = structlog.get_logger()

_LATE_VEHICLES = 200
_LOOK_AT_ALL_EVERY_S = 30.0
_SAVE_HEALTH_EVERY_S = 5.0


class _OvertakenError(Exception):
    """Another daemon has written since; what is remembered here is old."""


class Check:
    """Checks the rules; one thread calls ``run`` or ``run_alone``, ``use`` and ``stop`` may come from others.

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
    """

    def __init__(
        self,
        connect: session.Connect,
        instance: str,
        *,
        look: Callable[[], health.Report],
        excursions: write_excursions.Excursions,
        wake: Callable[[], None] = lambda: None,
        tell: Callable[[Sequence[check_alone.Told]], None] = lambda _told: None,
        told_at: check_write.ToldAt = lambda _channel, _what: None,
        withdraw: Callable[[], None] = lambda: None,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._connect = connect
        self._instance = instance
        self._look = look
        self._excursions = excursions
        self._wake, self._busy = wake, busy
        self._told_at, self._withdraw = told_at, withdraw
        self._alone = check_alone.Alone(instance, tell)
        self._steady = health.Steady()
        self._connection: psycopg.Connection[Any] | None = None
        self._next: tuple[tuple[model.Rule, ...], tuple[check_write.Channel, ...]] | None = None
        self._plan = evaluate.Plan(())
        self._reader = check_read.Reader((), _LATE_VEHICLES)
        self._channels: tuple[check_write.Channel, ...] = ()
        self._states: dict[evaluate.StateKey, state.State] = {}
        self._alert_ids: dict[evaluate.StateKey, int | None] = {}
        self._turn = -1
        self._loaded = False
        self._efficiency_until: dt.datetime | None = None
        self._all_at = self._saved_at = float("-inf")
        self.firing = 0  # episodes that are open, as of the last check

    def use(self, rules: Iterable[model.Rule], channels: Iterable[check_write.Channel]) -> None:
        """From the next check on; what is remembered goes on, and the writer looks for what these rules need."""
        kept = tuple(rules)
        bounds = [
            write_excursions.Bound(one.metric.value, one.below, one.above)
            for one in evaluate.Plan(kept).bounds("vehicle")
            if one.metric in check_read.TELEMETRY
        ]
        late_after_s = max((one.late_after_s for one in kept if one.metric in check_read.TELEMETRY), default=900.0)
        self._excursions.look_for(bounds, late_after_s)
        self._next = (kept, tuple(channels))

    def rest(self) -> None:
        """Another daemon leads, or may have led: what is remembered is read again before the next check."""
        self._loaded = False
        self._excursions.leave_out(frozenset())

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
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                deliveries = self._check(connection)
        except _OvertakenError:
            self._loaded = False
            _log.warning("rules.overtaken", hint="another daemon has checked the rules meanwhile; it leads now")
            return
        except BaseException as error:
            self._loaded = False
            if isinstance(error, psycopg.Error):
                self._close()
                raise sqlstate.wrap(error) from error
            raise
        if self._alone.outcomes:
            self._withdraw()
            self._alone.outcomes = {}
        firing = [key for key, one in self._states.items() if one.phase is state.Phase.FIRING]
        self.firing = len(firing)
        telemetry = set(self._reader.names(check_read.TELEMETRY))
        self._excursions.leave_out(frozenset(key[2] for key in firing if key[0] in telemetry))
        if deliveries:
            self._wake()
        _log.debug("rules.checked", ms=round(1000 * (time.monotonic() - started), 1), firing=self.firing)

    def run_alone(self) -> None:
        """Judges this daemon alone, from memory: there is no database. What comes of it is written when it is back."""
        self._take_over_changes()
        now = dt.datetime.now(dt.UTC)
        self._loaded = False
        self._steady.note(healthy=False, now=now)
        self._alone.judge(self._plan, self._states, self._look(), now)

    def _take_over_changes(self) -> None:
        if self._next is not None:
            rules, self._channels = self._next
            self._next = None
            self._plan, self._reader = evaluate.Plan(rules), check_read.Reader(rules, _LATE_VEHICLES)
            self._all_at = float("-inf")

    def _check(self, connection: psycopg.Connection[Any]) -> int:
        if not self._loaded:
            self._load(connection)
        others = [one for one in connection.execute(queries.text("daemons")) if one[0] != self._instance]
        now, clock_s = dt.datetime.now(dt.UTC), time.monotonic()  # after the snapshot: nothing in it is newer
        rows, healthy = check_read.system_rows([(self._instance, now, *self._look()), *others], self._states, now)
        self._steady.note(healthy=healthy, now=now)
        news = self._reader.read(
            connection,
            self._states,
            now=now,
            clock_s=clock_s,
            healthy_since=self._steady.since,
            efficiency_until=self._efficiency_until,
            busy=self._busy(),
        )
        rows += news.rows
        states = self._concerned(rows, news, clock_s)
        keys = {(row.device_type, row.device_id) for row in rows} | set(news.last_seen) | {key[1:] for key in states}
        outcomes = self._plan.check(
            rows,
            check_read.registry(connection, keys),
            news.last_seen,
            states,
            now=now,
            healthy_since=self._steady.since,
            judged_at=news.judged_at,
        )
        self._save_health(connection, clock_s)
        return self._write(connection, outcomes, news, now)

    def _save_health(self, connection: psycopg.Connection[Any], clock_s: float) -> None:
        if clock_s - self._saved_at >= _SAVE_HEALTH_EVERY_S and self._steady.since is not None:
            self._saved_at = clock_s
            connection.execute(queries.text("set_healthy"), {"since": self._steady.since})

    def _concerned(
        self, rows: Sequence[evaluate.Row], news: check_read.News, clock_s: float
    ) -> dict[evaluate.StateKey, state.State]:
        """The states that this check may change; now and then all, for what no longer applies to anybody."""
        if clock_s - self._all_at >= _LOOK_AT_ALL_EVERY_S:
            self._all_at = clock_s
            return self._states
        devices = {(row.device_type, row.device_id) for row in rows} | set(news.last_seen)
        return {key: one for key, one in self._states.items() if key[1:] in devices or one.clear_at is not None}

    def _load(self, connection: psycopg.Connection[Any]) -> None:
        row = connection.execute(queries.text("alert_progress")).fetchone()
        if row is None:
            raise errors.StoreUnavailable("volt.alert_progress is empty", hint="restore its only row")
        self._turn, self._efficiency_until, since, at = row
        self._steady.resume(since, at, dt.datetime.now(dt.UTC))
        self._states, self._alert_ids = {}, {}
        for rule, device_type, device_id, alert_id, text in connection.execute(queries.text("alert_states")):
            key = (rule, device_type, device_id)
            try:
                self._states[key] = state.State.from_text(text)
            except ValueError:
                _log.warning("alert_state.not_understood", rule=rule, device=device_id, state=text)
                continue
            self._alert_ids[key] = alert_id
        self._states = self._alone.states(self._states)
        self._loaded = True
        self._all_at = float("-inf")

    def _write(
        self,
        connection: psycopg.Connection[Any],
        outcomes: Sequence[evaluate.Outcome],
        news: check_read.News,
        now: dt.datetime,
    ) -> int:
        alone = list(self._alone.outcomes.values())
        faded = self._faded(now, {_key(one) for one in outcomes})
        if not (outcomes or alone or faded or news.excursions or news.efficiency_until):
            return 0
        turn = {"turn": self._turn, "efficiency_until": news.efficiency_until}
        if connection.execute(queries.text("next_turn"), turn).rowcount != 1:
            raise _OvertakenError
        self._turn += 1
        self._efficiency_until = news.efficiency_until or self._efficiency_until
        if news.excursions:
            connection.execute(queries.text("delete_excursions"), {"ids": news.excursions})
        check_write.delete_states(connection, faded)
        for key in faded:
            self._states.pop(key, None)
        return self._put(connection, alone) + self._put(connection, outcomes)

    def _put(self, connection: psycopg.Connection[Any], outcomes: Sequence[evaluate.Outcome]) -> int:
        """Writes these; what is remembered follows, and is read again where the transaction then fails."""
        written = check_write.write(connection, outcomes, self._alert_ids, self._channels, told_at=self._told_at)
        for outcome in outcomes:
            key = _key(outcome)
            self._states.pop(key, None)
            self._alert_ids.pop(key, None)
            if key in written.alert_ids:
                self._states[key], self._alert_ids[key] = outcome.state, written.alert_ids[key]
            for told in outcome.transitions:
                _log.info(f"alert.{told.kind.value}", rule=outcome.rule, device=outcome.device.device_id)
        return written.deliveries

    def _faded(self, now: dt.datetime, changed: set[evaluate.StateKey]) -> list[evaluate.StateKey]:
        """States of episodes that ended so long ago that what still comes of their time counts as late anyway."""
        late_after = {rule.name: dt.timedelta(seconds=rule.late_after_s) for rule in self._reader.rules}
        return [
            key
            for key, one in self._states.items()
            if key not in changed
            and one.phase is state.Phase.RESOLVED
            and one.resolved_at is not None
            and now - one.resolved_at > late_after.get(key[0], dt.timedelta(0))
        ]

    def _open(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._loaded = False
            self._connection = self._connect()
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _key(outcome: evaluate.Outcome) -> evaluate.StateKey:
    return (outcome.rule, outcome.device.device_type, outcome.device.device_id)
