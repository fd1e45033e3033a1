"""The outbox ``volt.alert_delivery`` as a channel's worker uses it: claims a message, records the result.

The evaluation cycle adds the rows; only repeats are added here. ``claim_next`` commits before anything is sent, so a
kill at any point leaves a message that is sent again under the same id, with no other rows, or not at all.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg

from voltd import config
from voltd.alerts import notifications, pacing
from voltd.database import queries

if TYPE_CHECKING:
    from voltd.alerts import channels

_Connection = psycopg.Connection[Any]

_MOST_ROWS = 20_000
OVERTAKEN_S = 0.5  # another daemon was faster: look again after so long


class Attempt(NamedTuple):
    """A message that is to be sent now, and the number of this attempt, from 1."""

    notification: notifications.Notification
    number: int


class Claimed(NamedTuple):
    """Result of a look: what was dropped (alert_id, why), and a message to send or seconds until the next look."""

    dropped: Sequence[tuple[int, str]]
    attempt: Attempt | None
    wait_s: float


def claim_next(
    connection: _Connection, channel: channels.Channel, pace: pacing.Pace, *, fresh: bool = False
) -> Claimed:
    """Drops what need not be sent, and claims what is due now, in one transaction, committed on return.

    Args:
        connection: in autocommit.
        channel: whose rows; one that shows a state is not silenced.
        pace: of the channel.
        fresh: see ``pacing.decide``.

    Raises:
        psycopg.Error: as it comes, nothing was claimed; SerializationFailure if another daemon was faster.
    """
    which = {"channel": channel.name, "shows_state": channel.shows_state}
    with connection.transaction():
        # One view for all statements: the end of a silenced episode must not come between two of them.
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        dropped = connection.execute(queries.text("drop_deliveries"), which).fetchall()
        row = connection.execute(queries.text("waiting_deliveries"), which).fetchone()
        waiting = pacing.Waiting() if row is None else pacing.Waiting(*row)
        decision = pacing.decide(waiting, pace, fresh=fresh)
        attempt = None
        if decision.action is not pacing.Action.WAIT:
            attempt = _claim(connection, which, waiting.claimed)
    overtaken = attempt is None and decision.action is not pacing.Action.WAIT  # another daemon has locked the rows
    return Claimed(dropped, attempt, OVERTAKEN_S if overtaken else decision.wait_s)


def _claim(connection: _Connection, which: dict[str, Any], again: str | None) -> Attempt | None:
    message_id = again or str(uuid.uuid4())
    values = {**which, "message_id": message_id, "at_most": _MOST_ROWS}
    connection.execute(queries.text("claim_deliveries_again" if again else "claim_deliveries"), values)
    rows = connection.execute(queries.text("claimed_deliveries"), values).fetchall()
    if not rows:
        return None
    transitions = [notifications.AlertTransition(*row[:-1]) for row in rows]
    return Attempt(notifications.Notification(message_id, transitions), max(row[-1] for row in rows))


def record(connection: _Connection, channel: str, attempt: Attempt, problem: str | None, *, dropped: bool) -> None:
    """Records the result of an attempt.

    Args:
        connection: in autocommit.
        channel: its name.
        attempt: as it was claimed.
        problem: why it failed; None: the channel took the message.
        dropped: a failed message is not to be sent again.
    """
    which = {"channel": channel, "message_id": attempt.notification.message_id}
    if problem is None:
        connection.execute(queries.text("sent_deliveries"), which)
        return
    how = {"attempts": attempt.number, "result": problem, "for_good": dropped}
    connection.execute(queries.text("failed_deliveries"), {**which, **how})


def repeat(connection: _Connection, channel: str, settings: config.ChannelSettings) -> int:
    """Adds a row for each episode of which the channel is to be notified once more; returns how many."""
    with connection.transaction():
        if connection.execute(queries.text("lock_repeats"), {"channel": channel}).fetchone() != (True,):
            return 0
        severities = notifications.SEVERITIES[notifications.SEVERITIES.index(settings.min_severity) :]
        wanted = {"severities": list(severities), "rules": list(settings.rules), "fleets": list(settings.fleets)}
        how = {"channel": channel, "repeat_s": settings.repeat_s, **wanted}
        return connection.execute(queries.text("repeat_deliveries"), how).rowcount


def open_episodes(connection: _Connection) -> list[notifications.AlertTransition]:
    """Every open episode, the oldest first."""
    return [notifications.AlertTransition(*row) for row in connection.execute(queries.text("open_alerts"))]


def drop_unknown(connection: _Connection, channels: Sequence[str]) -> list[str]:
    """Drops what waits for channels other than these; returns their names."""
    which = {"channels": list(channels)}
    rows = connection.execute(queries.text("drop_deliveries_of_no_channel"), which).fetchall()
    return sorted({str(name) for name, _alert_id in rows})
