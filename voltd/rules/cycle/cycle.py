"""One evaluation cycle: reads what is new, evaluates the rules, writes outcomes and outbox in one transaction.

Run about once a second by the scheduler (``voltd/daemon/jobs.py``) in the one daemon that leads. ``inputs`` reads,
``evaluate`` evaluates, ``persistence`` writes; ``state_cache`` holds the states until the next cycle. While the
database is away only voltd itself is evaluated (``offline``): the one alert of an outage.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
import structlog

from voltd.database import connections, queries, sqlstate
from voltd.host import host_clock
from voltd.pipeline.write.excursions import Excursions
from voltd.rules import evaluate, model, observation
from voltd.rules.cycle import (
    daemon_health,
    feedback,
    inputs,
    interfaces,
    offline,
    past_episodes,
    persistence,
    registered,
    state_cache,
)

_log = structlog.get_logger()

_ALL_STATES_EVERY_S = 30.0
_SAVE_HEALTH_EVERY_S = 5.0
_STEP = dt.timedelta(seconds=1)


class EvaluationCycle:
    """Evaluates the rules; one thread calls ``run`` and ``run_offline``, other threads may call the rest.

    Args:
        connect: opens a connection of the writer's role.
        instance: this daemon's name.
        daemon: this daemon.
        notifier: sends what is found.
        excursions: what the writer has to look for; set here.
        clock: this host's: where it may be wrong, devices' clocks are not measured by it; None: it is never in doubt.
    """

    def __init__(
        self,
        connect: connections.Connect,
        instance: str,
        daemon: interfaces.ThisDaemon,
        notifier: interfaces.Notifier,
        excursions: Excursions,
        *,
        clock: host_clock.HostClock | None = None,
    ) -> None:
        self._connect, self._instance, self._clock = connect, instance, clock
        self._daemon, self._notifier, self._excursions = daemon, notifier, excursions
        self._offline = offline.OfflineMode(instance, notifier)
        self._streak = daemon_health.HealthyStreak()
        self._connection: psycopg.Connection[Any] | None = None
        self._changes: tuple[tuple[model.Rule, ...], tuple[interfaces.NotificationTarget, ...]] | None = None
        self._rules = evaluate.RuleSet(())
        self._reader = inputs.CycleReader(())
        self._channels: tuple[interfaces.NotificationTarget, ...] = ()
        self._cache = state_cache.StateCache()
        self._outdated = True  # the cache has to be loaded again
        self._shared = threading.Lock()  # for what other threads change too: _changes, _outdated and what is left out
        self._began_at: dt.datetime | None = None
        self._all_at = self._saved_at = float("-inf")
        self.firing = 0  # episodes that are open, as of the last cycle
        self.units_in_doubt: list[str] = []  # of these, those on units: device and words

    def use(self, rules: Iterable[model.Rule], channels: Iterable[interfaces.NotificationTarget]) -> None:
        """From the next cycle on; states continue, and the writer looks for what these rules need."""
        fresh = tuple(rules)
        feedback.look_for(self._excursions, fresh)
        with self._shared:
            self._changes = (fresh, tuple(channels))

    def invalidate(self) -> None:
        """Another daemon leads, or may have led: the cache is loaded again before the next cycle."""
        with self._shared:
            self._outdated = True
            self.firing, self.units_in_doubt = 0, []
            self._excursions.leave_out(frozenset())

    def drop_offline(self) -> None:
        """Drops what was found in offline mode: it is written, or another daemon leads and has found the same."""
        if self._offline.clear():
            self._notifier.withdraw()

    def abandon(self) -> None:
        """Breaks the connection from another thread; a cycle that waits fails."""
        connections.abandon(self._connection)

    def run(self) -> None:
        """One cycle.

        Raises:
            StoreUnavailable, StoreRejected: nothing was written; the next cycle reads the same again.
        """
        self._apply_changes()
        started = time.monotonic()
        try:
            connection = self._open()
            load = self._must_load()
            if load:  # in a transaction of its own: writers change the same rows
                connection.execute(queries.text("bound_signs_of_life"), {"now": self._began_at})
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                cached = self._load(connection) if load else self._cache.copy()
                outcomes, deliveries = self._evaluate(connection, cached)
        except persistence.OvertakenError:
            self.invalidate()
            _log.warning("rules.overtaken", hint="another daemon has evaluated the rules meanwhile; it leads now")
            return
        except BaseException as error:
            self._outdated = True
            self._reader.again()
            if isinstance(error, psycopg.Error):
                self._close()
                raise sqlstate.wrap(error) from error
            raise
        self._cache = cached
        self.drop_offline()
        self.firing = len(cached.episodes)
        self.units_in_doubt = cached.notes(model.Metric.UNIT_FACTOR)
        with self._shared:
            if not self._outdated:
                feedback.update(self._excursions, cached)
        for outcome in outcomes:
            for one in outcome.transitions:
                _log.info(f"alert.{one.kind.value}", rule=outcome.rule, device=outcome.device.device_id)
        if deliveries:
            self._notifier.wake()
        _log.debug("rules.checked", ms=round(1000 * (time.monotonic() - started), 1), firing=self.firing)

    def run_offline(self) -> None:
        """Evaluates this daemon itself, from memory: there is no database. ``run`` writes it once that is back."""
        self._apply_changes()
        now = dt.datetime.now(dt.UTC)
        self._outdated = True
        self._streak.note(healthy=False, now=now)
        self._offline.evaluate(self._rules, self._cache.states, self._daemon.look(), now, self._daemon.trouble())

    def _apply_changes(self) -> None:
        with self._shared:
            changes, self._changes = self._changes, None
        if changes is not None:
            rules, self._channels = changes
            self._rules = evaluate.RuleSet(rules)
            self._reader = inputs.CycleReader(rules, self._reader.clocks)
            self._all_at = float("-inf")

    def _must_load(self) -> bool:
        """Whether the cache is outdated: also if the clock has stepped back, as what is dated ahead changes."""
        now, at = dt.datetime.now(dt.UTC), self._began_at
        with self._shared:
            outdated, self._outdated = self._outdated or (at is not None and now < at - _STEP), False
        self._began_at = now
        return outdated

    def _load(self, connection: psycopg.Connection[Any]) -> state_cache.StateCache:
        now = dt.datetime.now(dt.UTC)
        cached = state_cache.load(connection, self._reader.rules, now)
        self._reader.clocks.behind_s = dict(cached.behind_s)
        cached.past = past_episodes.ranges(connection, self._reader.around, cached.behind_s)
        self._streak.resume(cached.healthy_since, cached.healthy_at, now)
        self._all_at = float("-inf")
        return cached

    def _evaluate(
        self, connection: psycopg.Connection[Any], cached: state_cache.StateCache
    ) -> tuple[Sequence[observation.Outcome], int]:
        """What was written, and how many rows were added to the outbox."""
        offline_outcomes = self._offline.outcomes(cached.states)
        cached.states.update({one.key: one.state for one in offline_outcomes})
        others = [one for one in connection.execute(queries.text("daemons")) if one[0] != self._instance]
        notes = {str(one[0]): str(one[6]) for one in others if one[6]} | {self._instance: self._daemon.trouble()}
        now, clock_s = dt.datetime.now(dt.UTC), time.monotonic()  # after the snapshot: nothing in it is newer
        this = (self._instance, 0.0, *self._daemon.look())
        rows, healthy, unwell_s = daemon_health.assess([this, *(one[:6] for one in others)], cached.states, now)
        self._streak.note(healthy=healthy, now=now, unwell_s=unwell_s)
        found = self._reader.read(
            connection,
            cached.states,
            now=now,
            clock_s=clock_s,
            healthy_since=self._streak.since,
            efficiency_until=cached.efficiency_until,
            busy=self._daemon.busy(),
            host=self._clock,
        )
        found.rows[:0] = [daemon_health.after_evaluated(one, cached.states) for one in rows]
        devices = found.devices
        states = cached.states  # now and then all: rules may no longer apply to devices
        if clock_s - self._all_at < _ALL_STATES_EVERY_S:
            states = {key: one for key, one in states.items() if key[1:] in devices or one.waits}
        else:
            self._all_at = clock_s
        registry = registered.devices(connection, devices | {key[1:] for key in states})
        outcomes = self._rules.evaluate(
            found.rows,
            registry | daemon_health.with_notes(notes) | registered.with_notes(registry, found.words),
            found.last_seen,
            states,
            now=now,
            healthy_since=self._streak.since,
            evaluated_at=found.evaluated_at,
            valued_at=found.valued_at,
            activity=found.activity,
        )
        feedback.save_clocks(connection, self._reader.clocks.behind_s, cached)
        if clock_s - self._saved_at >= _SAVE_HEALTH_EVERY_S and self._streak.since is not None:
            self._saved_at = clock_s
            connection.execute(queries.text("set_healthy"), {"since": self._streak.since})
        before = list({one.key: one for one in (*cached.repaired, *offline_outcomes)}.values())
        return self._write(connection, cached, found, before, outcomes=outcomes, now=now)

    def _write(
        self,
        connection: psycopg.Connection[Any],
        cached: state_cache.StateCache,
        found: inputs.CycleInputs,
        before: Sequence[observation.Outcome],
        *,
        outcomes: Sequence[observation.Outcome],
        now: dt.datetime,
    ) -> tuple[Sequence[observation.Outcome], int]:
        """Writes the outcomes, after those that preceded them and are not in the database yet."""
        expired = cached.expired(self._reader.rules, outcomes, now)
        if not (outcomes or before or expired or found.excursions or found.efficiency_until):
            return (), 0
        persistence.next_epoch(connection, cached, found.efficiency_until)
        if found.excursions:
            connection.execute(queries.text("delete_excursions"), {"ids": found.excursions})
        channels, notifier = self._channels, self._notifier
        deliveries = sum(persistence.write(connection, one, cached, channels, notifier) for one in (before, outcomes))
        if any(one.finds_past for one in outcomes):
            cached.past = past_episodes.ranges(connection, self._reader.around, cached.behind_s)
        persistence.delete_states(connection, expired, cached)
        cached.repaired = []
        return (*before, *outcomes), deliveries

    def _open(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._outdated = True
            self._connection = self._connect()
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
