"""What is remembered between two checks of the rules.

``check`` reads it from the database once, lets each check work on a copy, and keeps the copy when the transaction is
committed: what a check that failed has changed is nowhere. What is open in ``volt.alert`` is firing here, and nothing
else is: so no check opens an episode again or loses its end, whatever became of the row with its state. Judges nothing.
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
from voltd.rules import evaluate, model, scope, state

_log = structlog.get_logger()

_GONE_RULE_S = 60.0  # longer than a batch takes: its writer may have left out a vehicle for a rule that is gone now


@dataclasses.dataclass
class Memory:
    """As of one check.

    Attributes:
        states: of each rule and device that is not inactive.
        episodes: numbers of the open episodes: of the states that are firing, no more and no fewer.
        turn: counts the checks that wrote something, whichever daemon's.
        efficiency_until: hours before this have been judged; None: none has.
        healthy_since: since when all had been well, as the database had it when this was loaded.
        healthy_at: when that was saved.
        behind_s: how far clocks of devices are certainly behind, as the database has it.
        past: of vehicles with past episodes, between which of their own times late readings may change them.
        mended: what the database does not have like this yet, to be written by the check that loaded it.
    """

    states: dict[evaluate.StateKey, state.State] = dataclasses.field(default_factory=dict)
    episodes: dict[evaluate.StateKey, int] = dataclasses.field(default_factory=dict)
    turn: int = -1
    efficiency_until: dt.datetime | None = None
    healthy_since: dt.datetime | None = None
    healthy_at: dt.datetime | None = None
    behind_s: dict[evaluate.Key, float] = dataclasses.field(default_factory=dict)
    past: dict[str, tuple[dt.datetime, dt.datetime]] = dataclasses.field(default_factory=dict)
    mended: list[evaluate.Outcome] = dataclasses.field(default_factory=list)

    def copy(self) -> Memory:
        """One to be changed without changing this."""
        return dataclasses.replace(
            self, states=dict(self.states), episodes=dict(self.episodes), behind_s=dict(self.behind_s)
        )

    def take(self, outcomes: Iterable[evaluate.Outcome], episodes: Mapping[evaluate.StateKey, int]) -> None:
        """What was written of one check.

        Args:
            outcomes: these.
            episodes: numbers of those that are firing now.
        """
        for outcome in outcomes:
            self.forget((outcome.key,))
            if outcome.state.phase is not state.Phase.INACTIVE:
                self.states[outcome.key] = outcome.state
            if outcome.key in episodes:
                self.episodes[outcome.key] = episodes[outcome.key]

    def forget(self, keys: Iterable[evaluate.StateKey]) -> None:
        """Nothing is remembered of these."""
        for key in keys:
            self.states.pop(key, None)
            self.episodes.pop(key, None)

    def faded(
        self, rules: Iterable[model.Rule], outcomes: Iterable[evaluate.Outcome], now: dt.datetime
    ) -> list[evaluate.StateKey]:
        """What need not be remembered after this check: what is inactive, and what was resolved long ago.

        So long that what still comes of the time of the episode counts as late anyway.
        """
        late_after = {rule.name: dt.timedelta(seconds=rule.late_after_s) for rule in rules}
        gone_rule = dt.timedelta(seconds=_GONE_RULE_S)
        changed = {outcome.key: outcome.state for outcome in outcomes}
        found = []
        for key, before in self.states.items():
            one = changed.get(key, before)
            if one.phase is state.Phase.INACTIVE or (
                one.resolved_at is not None
                and one.phase is state.Phase.RESOLVED
                and now - one.resolved_at > late_after.get(key[0], gone_rule)
            ):
                found.append(key)
        return found


def load(connection: psycopg.Connection[Any], rules: Sequence[model.Rule], now: dt.datetime) -> Memory:
    """What the last check left, this daemon's or another's.

    A state that denies its episode (of another version, lost, changed by hand) is made again from the episode; one that
    has lost its episode is inactive. States of silence stay as they are: they compare with the last sign of life, which
    may be ahead as well.

    Args:
        connection: in the check's transaction.
        rules: those in force.
        now: the time of the check. Nothing has been judged later: where a state says so, the clock was ahead.

    Raises:
        StoreUnavailable: the database lacks its row of progress.
        psycopg.Error: as it comes.
    """
    row = connection.execute(queries.text("alert_progress")).fetchone()
    if row is None:
        raise errors.StoreUnavailable("volt_internal.alert_progress is empty", hint="restore its only row")
    memory = Memory({}, {}, *row)
    for device_type, device_id, behind_s in connection.execute(queries.text("device_clocks")):
        memory.behind_s[device_type, device_id] = behind_s
    watches = {rule.name: rule.watches for rule in rules}
    silence = {rule.name for rule in rules if rule.metric is model.Metric.SILENCE}
    for rule, device_type, device_id, judged_at, text, alert_id, *episode in connection.execute(
        queries.text("alert_states")
    ):
        key: evaluate.StateKey = (rule, device_type, device_id)
        one = _understood(text)
        if one is None or (one.phase is state.Phase.FIRING) != (alert_id is not None):
            _log.warning("alert_state.mended", rule=rule, device=device_id, state=text, alert_id=alert_id)
            one = state.State(judged_at=judged_at)
            if alert_id is not None:
                one = _of_episode(watches.get(rule, ""), judged_at, episode)
            memory.mended.append(evaluate.Outcome(rule, scope.Device(device_type, device_id), one, ()))
        if rule not in silence and (capped := one.judged_by(now)) is not one:
            one = capped
            memory.mended.append(evaluate.Outcome(rule, scope.Device(device_type, device_id), one, ()))
        memory.states[key] = one
        if alert_id is not None:
            memory.episodes[key] = alert_id
    return memory


def _understood(text: str | None) -> state.State | None:
    try:
        return None if text is None else state.State.from_text(text)
    except ValueError:
        return None


def _of_episode(watches: str, judged_at: dt.datetime | None, episode: Sequence[Any]) -> state.State:
    severity, opened_at, last_seen_at, peak_value = episode
    return state.State(
        state.Phase.FIRING,
        watches,
        judged_at or last_seen_at,
        opened_at,
        last_seen_at,
        peak_value=peak_value,
        severity=model.Severity(severity),
    )
