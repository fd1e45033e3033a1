"""Writes what a cycle found: states, episodes, and the rows of the outbox.

The last step of a ``cycle``, in its transaction, so that no kill can separate a state from its episode or an episode
from its notifications. Sends nothing: that is ``voltd/alerts``.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg

from voltd.database import queries
from voltd.rules import observation, rule_state
from voltd.rules.cycle import alert_rows, interfaces, past_episodes, state_cache

_Connection = psycopg.Connection[Any]


class OvertakenError(Exception):
    """Another daemon has written since; the cached states are outdated."""


def next_epoch(connection: _Connection, cached: state_cache.StateCache, efficiency_until: dt.datetime | None) -> None:
    """Takes the next epoch: each cycle that writes has one of its own, so that two leaders never mix their writes.

    Args:
        connection: in the cycle's transaction.
        cached: in which epoch; changed.
        efficiency_until: hours before this are done; None: as before.

    Raises:
        OvertakenError: the database is not in this epoch.
    """
    values = {"epoch": cached.epoch, "efficiency_until": efficiency_until}
    if connection.execute(queries.text("next_epoch"), values).rowcount != 1:
        raise OvertakenError
    cached.epoch += 1
    cached.efficiency_until = efficiency_until or cached.efficiency_until


def write(
    connection: _Connection,
    outcomes: Sequence[observation.Outcome],
    cached: state_cache.StateCache,
    channels: Sequence[interfaces.NotificationTarget],
    notifier: interfaces.Notifier,
) -> int:
    """Writes outcomes; returns how many rows were added to the outbox. ``delete_states`` deletes inactive states.

    Args:
        connection: in the cycle's transaction.
        outcomes: at most one for each rule and device.
        cached: knows all open episodes, since the database refuses to open one again; changed.
        channels: asked here which of them want what.
        notifier: asked what was sent already.

    Raises:
        psycopg.Error: as it comes; UniqueViolation if an episode is open that the cache does not know.
    """
    alert_ids = cached.episodes
    changed: list[alert_rows.AlertRow] = []
    new: list[alert_rows.AlertRow] = []
    past: list[list[alert_rows.AlertRow]] = []
    for outcome in outcomes:
        found, found_past = alert_rows.of(outcome, alert_ids.get(outcome.key))
        changed += [one for one in found if one.alert_id is not None]
        new += [one for one in found if one.alert_id is None]
        past.append(found_past)
    if changed:  # before the new ones: at most one is open
        connection.execute(queries.text("change_alerts"), {"rows": _json(one.changed() for one in changed)})
    if new:
        inserted = connection.execute(queries.text("insert_alerts"), {"rows": _json(one.inserted() for one in new)})
        by_key = {(rule, kind, device, opened_at): number for rule, kind, device, opened_at, number in inserted}
        for one in new:
            one.alert_id = by_key[one.key]
    _write_past(connection, outcomes, past)
    deliveries = [row for one in (*changed, *new) for row in one.deliveries(channels, notifier)]
    if deliveries:
        connection.execute(queries.text("insert_alert_deliveries"), {"rows": _json(deliveries)})
    numbers = {(one.rule, one.device.device_type, one.device.device_id): one.alert_id for one in (*changed, *new)}
    firing = [one.key for one in outcomes if one.state.phase is rule_state.Phase.FIRING]
    now_open = {key: number for key in firing if (number := numbers.get(key, alert_ids.get(key))) is not None}
    active = [one for one in outcomes if one.state.phase is not rule_state.Phase.INACTIVE]
    if active:
        states = (_state(one, now_open.get(one.key)) for one in active)
        connection.execute(queries.text("upsert_alert_states"), {"rows": _json(states)})
    cached.apply(outcomes, now_open)
    return len(deliveries)


def _write_past(
    connection: _Connection, outcomes: Sequence[observation.Outcome], past: Sequence[Sequence[alert_rows.AlertRow]]
) -> None:
    """Records past episodes; those of a window that was reread replace what was recorded in it."""
    windows: list[past_episodes.RereadWindow] = []
    found: list[list[alert_rows.AlertRow]] = []
    single: list[alert_rows.AlertRow] = []
    for outcome, every in zip(outcomes, past, strict=True):
        if outcome.reread is None:
            single += every
            continue
        since, until = outcome.reread
        windows.append(past_episodes.RereadWindow(*outcome.key, since, until))
        found.append([one for one in every if since <= one.opened_at and (one.resolved_at or until) <= until])
        single += [one for one in every if one not in found[-1]]
    if windows:
        changes = past_episodes.changes(connection, windows, found)
        if changes.drop:
            connection.execute(queries.text("drop_past_alerts"), {"ids": changes.drop})
        if changes.change:
            rows = _json(one.inserted() for one in changes.change)
            connection.execute(queries.text("change_past_alerts"), {"rows": rows})
        single = [*changes.insert, *single]
    if single:
        connection.execute(queries.text("insert_past_alerts"), {"rows": _json(one.inserted() for one in single)})


def delete_states(
    connection: _Connection, keys: Sequence[observation.StateKey], cached: state_cache.StateCache
) -> None:
    """Deletes these states, in the database and the cache."""
    cached.drop(keys)
    if keys:
        rules, kinds, devices = (list(column) for column in zip(*keys, strict=True))
        connection.execute(
            queries.text("delete_alert_states"), {"rules": rules, "device_types": kinds, "device_ids": devices}
        )


def _state(outcome: observation.Outcome, alert_id: int | None) -> dict[str, Any]:
    return {
        **dict(zip(("rule", "device_type", "device_id"), outcome.key, strict=True)),
        "alert_id": alert_id,
        "phase": outcome.state.phase.value,
        "evaluated_at": alert_rows.text(outcome.state.evaluated_at),
        "state": outcome.state.to_json(),
    }


def _json(rows: Iterable[dict[str, Any]]) -> str:
    return json.dumps(list(rows))
