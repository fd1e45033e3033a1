"""The outbox ``volt.alert_delivery`` as a channel's worker uses it: look, claim, put down what came of it.

Rows are put there by the check of the rules; only repeats are added here. ``claim`` commits before anything is sent, so
a kill at any point leaves a message that is sent again under the same id, with no other rows, or not at all.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg

from voltd import config
from voltd.alerts import message, pacing
from voltd.database import queries

_Connection = psycopg.Connection[Any]

_MOST_ROWS = 20_000
OVERTAKEN_S = 0.5  # another daemon was faster: look again after so long


class Box(NamedTuple):
    """Which part of the outbox, and what holds there.

    Attributes:
        channel: its name.
        shows_state: silences do not hold for it.
    """

    channel: str
    shows_state: bool


class Claim(NamedTuple):
    """A message that is to be sent now, and the number of this attempt."""

    message: message.Notification
    attempt: int


class Turn(NamedTuple):
    """What a look came to: what was dropped and why, a message to send, or when to look again."""

    dropped: Sequence[tuple[int, str]]
    claim: Claim | None
    wait_s: float


def turn(connection: _Connection, box: Box, limits: pacing.Limits, *, fresh: bool = False) -> Turn:
    """Looks, drops what need not be told, and claims what is to be sent now, in one transaction, committed on return.

    Args:
        connection: in autocommit.
        box: which channel.
        limits: its pace.
        fresh: see ``pacing.decide``.

    Raises:
        psycopg.Error: as it comes, nothing was claimed; SerializationFailure where another daemon was faster.
    """
    which = {"channel": box.channel, "shows_state": box.shows_state}
    with connection.transaction():
        # One view for all statements: the end of a silenced episode must not come between two of them.
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        dropped = connection.execute(queries.text("drop_deliveries"), which).fetchall()
        row = connection.execute(queries.text("waiting_deliveries"), which).fetchone()
        waiting = pacing.Waiting() if row is None else pacing.Waiting(*row)
        decision = pacing.decide(waiting, limits, fresh=fresh)
        claim = None
        if decision.action is not pacing.Action.WAIT:
            claim = _claim(connection, which, waiting.claimed)
    overtaken = claim is None and decision.action is not pacing.Action.WAIT  # another daemon holds the rows
    return Turn(dropped, claim, OVERTAKEN_S if overtaken else decision.wait_s)


def _claim(connection: _Connection, which: dict[str, Any], again: str | None) -> Claim | None:
    message_id = again or str(uuid.uuid4())
    values = {**which, "message_id": message_id, "at_most": _MOST_ROWS}
    connection.execute(queries.text("claim_deliveries_again" if again else "claim_deliveries"), values)
    rows = connection.execute(queries.text("claimed_deliveries"), values).fetchall()
    if not rows:
        return None
    return Claim(
        message.Notification(message_id, [message.AlertTransition(*row[:-1]) for row in rows]),
        max(row[-1] for row in rows),
    )


def put_down(connection: _Connection, channel: str, claim: Claim, problem: str | None, *, for_good: bool) -> None:
    """What came of an attempt.

    Args:
        connection: in autocommit.
        channel: its name.
        claim: the attempt.
        problem: None: the message was taken.
        for_good: it will never be taken.
    """
    which = {"channel": channel, "message_id": claim.message.message_id}
    if problem is None:
        connection.execute(queries.text("sent_deliveries"), which)
        return
    how = {"attempts": claim.attempt, "result": problem, "for_good": for_good}
    connection.execute(queries.text("failed_deliveries"), {**which, **how})


def repeat(connection: _Connection, channel: str, kept: config.ChannelSettings) -> int:
    """Adds a row for each episode that is to be told once more, as the channel's settings are now; returns how many."""
    with connection.transaction():
        if connection.execute(queries.text("lock_repeats"), {"channel": channel}).fetchone() != (True,):
            return 0
        worse = message.SEVERITIES[message.SEVERITIES.index(kept.min_severity) :]
        wanted = {"severities": list(worse), "rules": list(kept.rules), "fleets": list(kept.fleets)}
        how = {"channel": channel, "repeat_s": kept.repeat_s, **wanted}
        return connection.execute(queries.text("repeat_deliveries"), how).rowcount


def open_rows(connection: _Connection) -> list[message.AlertTransition]:
    """Every open episode."""
    return [message.AlertTransition(*row) for row in connection.execute(queries.text("open_alerts"))]


def drop_unknown(connection: _Connection, channels: Sequence[str]) -> list[str]:
    """Drops what waits for channels that are not these; returns their names."""
    which = {"channels": list(channels)}
    rows = connection.execute(queries.text("drop_deliveries_of_no_channel"), which).fetchall()
    return sorted({str(name) for name, _alert_id in rows})
