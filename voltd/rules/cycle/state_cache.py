"""The states between two evaluation cycles, cached as the database has them.

``cycle`` loads the cache once, lets each cycle work on a copy, and keeps the copy when the transaction is committed: a
cycle that fails changes nothing. Exactly what is open in ``volt.alert`` is firing here. So no cycle opens an episode
again or loses its end, whatever happened to the row with its state. Evaluates nothing.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psycopg
import structlog

from voltd import errors
from voltd.database import queries
from voltd.rules import model, observation, rule_state, scope

_log = structlog.get_logger()

_GONE_RULE_S = 60.0  # longer than a batch takes: its writer may have left out a vehicle for a rule that is gone


@dataclasses.dataclass
class StateCache:
    """As of one cycle.

    Attributes:
        states: of each rule and device that is not inactive.
        episodes: numbers of the open episodes: of the states that are firing, no more and no fewer.
        epoch: counts the cycles that wrote something, of any daemon: a fencing token.
        efficiency_until: hours before this have been evaluated; None: none has.
        healthy_since: since when all had been healthy, as the database had it when this was loaded.
        healthy_at: when that was saved.
        behind_s: how far clocks of devices are certainly behind, as the database has it.
        past: of vehicles with past episodes: between which of their own times late readings may change these.
        repaired: states that the database does not have yet, to be written by the cycle that loaded them.
    """

    states: dict[observation.StateKey, rule_state.State] = dataclasses.field(default_factory=dict)
    episodes: dict[observation.StateKey, int] = dataclasses.field(default_factory=dict)
    epoch: int = -1
    efficiency_until: dt.datetime | None = None
    healthy_since: dt.datetime | None = None
    healthy_at: dt.datetime | None = None
    behind_s: dict[observation.DeviceKey, float] = dataclasses.field(default_factory=dict)
    past: dict[str, tuple[dt.datetime, dt.datetime]] = dataclasses.field(default_factory=dict)
    repaired: list[observation.Outcome] = dataclasses.field(default_factory=list)

    def copy(self) -> StateCache:
        """One that can be changed without changing this."""
        return dataclasses.replace(
            self, states=dict(self.states), episodes=dict(self.episodes), behind_s=dict(self.behind_s)
        )

    def apply(self, outcomes: Iterable[observation.Outcome], episodes: Mapping[observation.StateKey, int]) -> None:
        """What a cycle has written.

        Args:
            outcomes: what was written.
            episodes: numbers of those that are firing now.
        """
        for outcome in outcomes:
            self.drop((outcome.key,))
            if outcome.state.phase is not rule_state.Phase.INACTIVE:
                self.states[outcome.key] = outcome.state
            if outcome.key in episodes:
                self.episodes[outcome.key] = episodes[outcome.key]

    def notes(self, metric: model.Metric) -> list[str]:
        """Of the open episodes of rules on this metric that have a note: device and note, in the order of devices."""
        found = []
        for key in self.episodes:
            one = self.states[key]
            if one.note is not None and one.watches.split(" ", 1)[0] == metric:
                found.append(f"{key[1]} {key[2]}: {one.note}")
        return sorted(found)

    def drop(self, keys: Iterable[observation.StateKey]) -> None:
        """Removes these states and episodes."""
        for key in keys:
            self.states.pop(key, None)
            self.episodes.pop(key, None)

    def expired(
        self, rules: Iterable[model.Rule], outcomes: Iterable[observation.Outcome], now: dt.datetime
    ) -> list[observation.StateKey]:
        """States that need not be stored after this cycle: inactive ones, and those resolved long ago.

        So long that readings which still arrive of the time of the episode are late anyway.
        """
        late_after = {rule.name: dt.timedelta(seconds=rule.late_after_s) for rule in rules}
        gone_rule = dt.timedelta(seconds=_GONE_RULE_S)
        changed = {outcome.key: outcome.state for outcome in outcomes}
        found = []
        for key, before in self.states.items():
            one = changed.get(key, before)
            if one.phase is rule_state.Phase.INACTIVE or (
                one.resolved_at is not None
                and one.phase is rule_state.Phase.RESOLVED
                and now - one.resolved_at > late_after.get(key[0], gone_rule)
            ):
                found.append(key)
        return found


def load(connection: psycopg.Connection[Any], rules: Sequence[model.Rule], now: dt.datetime) -> StateCache:
    """What the last cycle left, this daemon's or another's.

    A state that contradicts its episode (of another version, lost, changed by hand) is made again from the episode; one
    that has lost its episode becomes inactive. States of inactivity stay as they are: they compare with the last sign
    of life, which may be ahead as well.

    Args:
        connection: in the cycle's transaction.
        rules: those in force.
        now: the time of the cycle. Nothing has been evaluated later: if a state says so, the clock was ahead.

    Raises:
        StoreUnavailable: the database lacks its row of progress.
        psycopg.Error: as it comes.
    """
    row = connection.execute(queries.text("alert_progress")).fetchone()
    if row is None:
        raise errors.StoreUnavailable("volt_internal.alert_progress is empty", hint="restore its only row")
    cached = StateCache({}, {}, *row)
    for device_type, device_id, behind_s in connection.execute(queries.text("device_clocks")):
        cached.behind_s[device_type, device_id] = behind_s
    watches = {rule.name: rule.watches for rule in rules}
    inactivity = {rule.name for rule in rules if rule.metric is model.Metric.SILENCE}
    for rule, device_type, device_id, evaluated_at, text, alert_id, *episode in connection.execute(
        queries.text("alert_states")
    ):
        key: observation.StateKey = (rule, device_type, device_id)
        one = _parsed(text)
        stored = one
        if one is None or (one.phase is rule_state.Phase.FIRING) != (alert_id is not None):
            _log.warning("alert_state.mended", rule=rule, device=device_id, state=text, alert_id=alert_id)
            one = rule_state.State(evaluated_at=evaluated_at)
            if alert_id is not None:
                one = _of_episode(watches.get(rule, ""), evaluated_at, episode)
        one = one if rule in inactivity else one.capped(now)
        if one is not stored:
            cached.repaired.append(observation.Outcome(rule, scope.Device(device_type, device_id), one, ()))
        cached.states[key] = one
        if alert_id is not None:
            cached.episodes[key] = alert_id
    return cached


def _parsed(text: str | None) -> rule_state.State | None:
    try:
        return None if text is None else rule_state.State.from_text(text)
    except ValueError:
        return None


def _of_episode(watches: str, evaluated_at: dt.datetime | None, episode: Sequence[Any]) -> rule_state.State:
    severity, opened_at, last_seen_at, peak_value = episode
    return rule_state.State(
        rule_state.Phase.FIRING,
        watches,
        evaluated_at or last_seen_at,
        opened_at,
        last_seen_at,
        peak_value=peak_value,
        severity=model.Severity(severity),
    )
