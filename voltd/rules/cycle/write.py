"""What a check of the rules came to, written: states, episodes, and what is to be told of them.

The second half of a check (``check``), in the same transaction, so that no kill can part a state from its episode or an
episode from its messages. Sends nothing: that is ``voltd/alerts``.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import psycopg

from voltd.database import queries
from voltd.rules import evaluate, message, scope, state
from voltd.rules.cycle import past as check_past

_Connection = psycopg.Connection[Any]

# When a channel (its name) was told a transition (rule, device_type, device_id, opened_at, transition, severity) from
# memory, while the database was away; None: it was not.
ToldAt = Callable[[str, tuple[str, str, str, dt.datetime, str, str]], dt.datetime | None]

_FROM_MEMORY = "told while the database was away"
_TRANSITION = {state.Kind.FIRED: "fired", state.Kind.ESCALATED: "escalated", state.Kind.RESOLVED: "resolved"}


class NotificationTarget(Protocol):
    """Where something may be told."""

    @property
    def name(self) -> str:
        """As in the settings."""
        ...

    def wants(self, *, severity: str, rule: str, fleet_id: str | None, transition: str, quiet: bool) -> bool:
        """Whether it is to be told of this there."""
        ...

    def wants_end(self, *, quiet: bool) -> bool:
        """Whether it is to be told of the end of what it was told of."""
        ...


@dataclasses.dataclass
class Episode:
    """A row of ``volt.alert`` to insert or, with its number, to change; and what happened to it."""

    rule: str
    device: scope.Device
    opened_at: dt.datetime
    severity: str
    last_seen_at: dt.datetime
    peak_value: float | None = None
    resolved_at: dt.datetime | None = None
    message: str | None = None
    alert_id: int | None = None
    told: list[state.Transition] = dataclasses.field(default_factory=list)

    @property
    def key(self) -> tuple[str, str, str, dt.datetime]:
        """What makes it one."""
        return (self.rule, self.device.device_type, self.device.device_id, self.opened_at)

    def take(self, told: state.Transition) -> None:
        """Goes on with a transition of it."""
        self.told.append(told)
        self.severity = told.severity.value
        self.last_seen_at, self.peak_value = told.last_seen_at, told.peak_value
        self.resolved_at = told.resolved_at
        self.message = message.text(told, self.device)


class Written(NamedTuple):
    """The numbers of those of the outcomes' episodes that are open, and how many rows are to be told."""

    episodes: dict[evaluate.StateKey, int]
    deliveries: int


def episodes(outcome: evaluate.Outcome, alert_id: int | None) -> tuple[list[Episode], list[Episode]]:
    """The episodes that an outcome opens or changes, and the past ones that it found.

    Args:
        outcome: of one rule and device.
        alert_id: of the episode that was open before; None: none was.
    """
    found: list[Episode] = []
    past: list[Episode] = []
    current: Episode | None = None
    for told in outcome.transitions:
        if told.kind is state.Kind.RECORDED:
            past.append(_episode(outcome, told))
            past[-1].take(told)
            continue
        if told.kind is state.Kind.FIRED or current is None:
            current = _episode(outcome, told)
            current.alert_id = None if told.kind is state.Kind.FIRED else alert_id
            found.append(current)
        current.take(told)
    after = outcome.state
    if after.phase is state.Phase.FIRING and after.last_seen_at is not None:
        if current is None and alert_id is not None:
            current = Episode(
                outcome.rule, outcome.device, after.opened_at or after.last_seen_at, "", after.last_seen_at
            )
            current.alert_id = alert_id
            found.append(current)
        if current is not None:
            current.last_seen_at, current.peak_value = after.last_seen_at, after.peak_value
            if outcome.said is not None:
                current.message = message.text(outcome.said, outcome.device)
    return found, past


def _episode(outcome: evaluate.Outcome, told: state.Transition) -> Episode:
    return Episode(outcome.rule, outcome.device, told.opened_at, told.severity.value, told.last_seen_at)


def write(
    connection: _Connection,
    outcomes: Sequence[evaluate.Outcome],
    alert_ids: Mapping[evaluate.StateKey, int],
    channels: Sequence[NotificationTarget],
    *,
    told_at: ToldAt,
) -> Written:
    """Writes the outcomes of one check; rows of states that are inactive now are the caller's to delete.

    Args:
        connection: in the check's transaction.
        outcomes: at most one for each rule and device.
        alert_ids: of the episodes that are open now: of every one, or the database refuses to open it again.
        channels: which of them are told is asked here.
        told_at: what was told already is kept as sent.

    Raises:
        psycopg.Error: as it comes; UniqueViolation where an episode is open that is not among ``alert_ids``.
    """
    changed: list[Episode] = []
    new: list[Episode] = []
    past: list[list[Episode]] = []
    for outcome in outcomes:
        found, history = episodes(outcome, alert_ids.get(outcome.key))
        changed += [one for one in found if one.alert_id is not None]
        new += [one for one in found if one.alert_id is None]
        past.append(history)
    if changed:  # before the new ones: at most one is open
        connection.execute(queries.text("change_alerts"), {"rows": _json(map(_change, changed))})
    if new:
        inserted = connection.execute(queries.text("insert_alerts"), {"rows": _json(map(_insert, new))})
        by_key = {(rule, kind, device, opened_at): number for rule, kind, device, opened_at, number in inserted}
        for one in new:
            one.alert_id = by_key[one.key]
    _write_past(connection, outcomes, past)
    deliveries = [row for one in (*changed, *new) for row in _deliveries(one, channels, told_at)]
    if deliveries:
        connection.execute(queries.text("insert_alert_deliveries"), {"rows": _json(deliveries)})
    numbers = {(one.rule, one.device.device_type, one.device.device_id): one.alert_id for one in (*changed, *new)}
    firing = [one.key for one in outcomes if one.state.phase is state.Phase.FIRING]
    now_open = {key: number for key in firing if (number := numbers.get(key, alert_ids.get(key))) is not None}
    states = [_state(one, now_open.get(one.key)) for one in outcomes if one.state.phase is not state.Phase.INACTIVE]
    if states:
        connection.execute(queries.text("upsert_alert_states"), {"rows": _json(states)})
    return Written(now_open, len(deliveries))


def _write_past(
    connection: _Connection, outcomes: Sequence[evaluate.Outcome], past: Sequence[Sequence[Episode]]
) -> None:
    """Records past episodes; where the past was evaluated as a whole they take the place of what was recorded there."""
    windows: list[check_past.Window] = []
    found: list[list[Episode]] = []
    single: list[Episode] = []
    for outcome, every in zip(outcomes, past, strict=True):
        if outcome.past is None:
            single += every
            continue
        since, until = outcome.past
        windows.append(check_past.Window(*outcome.key, since, until))
        found.append([one for one in every if since <= one.opened_at and (one.resolved_at or until) <= until])
        single += [one for one in every if one not in found[-1]]
    if windows:
        changes = check_past.changes(connection, windows, found)
        if changes.drop:
            connection.execute(queries.text("drop_past_alerts"), {"ids": changes.drop})
        if changes.change:
            connection.execute(queries.text("change_past_alerts"), {"rows": _json(map(_insert, changes.change))})
        single = [*changes.insert, *single]
    if single:
        connection.execute(queries.text("insert_past_alerts"), {"rows": _json(map(_insert, single))})


def delete_states(connection: _Connection, keys: Sequence[evaluate.StateKey]) -> None:
    """Forgets these."""
    if keys:
        rules, kinds, devices = (list(column) for column in zip(*keys, strict=True))
        connection.execute(
            queries.text("delete_alert_states"), {"rules": rules, "device_types": kinds, "device_ids": devices}
        )


def _deliveries(episode: Episode, channels: Sequence[NotificationTarget], told_at: ToldAt) -> Iterable[dict[str, Any]]:
    for told in episode.told:
        transition = _TRANSITION[told.kind]
        for channel in channels:
            wanted = channel.wants(
                severity=told.severity.value,
                rule=episode.rule,
                fleet_id=episode.device.fleet_id,
                transition=transition,
                quiet=told.quiet,
            )
            # The device may be in another fleet now, the channel may be for other rules: who heard of it hears the end.
            if wanted or (told.kind is state.Kind.RESOLVED and channel.wants_end(quiet=told.quiet)):
                sent_at = told_at(channel.name, (*episode.key, transition, told.severity.value))
                yield {
                    "alert_id": episode.alert_id,
                    "channel": channel.name,
                    "if_begun": not wanted,
                    "transition": transition,
                    "quiet": told.quiet,
                    "severity": told.severity.value,
                    "message": message.text(told, episode.device),
                    **({"status": "sent", "sent_at": _text(sent_at), "result": _FROM_MEMORY} if sent_at else {}),
                }


def _change(episode: Episode) -> dict[str, Any]:
    return {
        "alert_id": episode.alert_id,
        "severity": episode.severity or None,
        "last_seen_at": _text(episode.last_seen_at),
        "peak_value": episode.peak_value,
        "resolved_at": _text(episode.resolved_at),
        "message": episode.message,
    }


def _insert(episode: Episode) -> dict[str, Any]:
    return {
        **_change(episode),
        "rule": episode.rule,
        "device_type": episode.device.device_type,
        "device_id": episode.device.device_id,
        "fleet_id": episode.device.fleet_id,
        "opened_at": _text(episode.opened_at),
    }


def _state(outcome: evaluate.Outcome, alert_id: int | None) -> dict[str, Any]:
    return {
        **dict(zip(("rule", "device_type", "device_id"), outcome.key, strict=True)),
        "alert_id": alert_id,
        "phase": outcome.state.phase.value,
        "evaluated_at": _text(outcome.state.judged_at),
        "state": outcome.state.to_json(),
    }


def _text(at: dt.datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _json(rows: Iterable[dict[str, Any]]) -> str:
    return json.dumps(list(rows))
