"""A notification: the transitions that go out together to one channel, and how that reads. Pure.

``outbox`` makes notifications of claimed rows, ``urgent`` of transitions in memory, and the senders turn them into what
their services take.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

SEVERITIES = ("info", "warning", "critical")  # from the mildest to the worst
_MOST_LINES = 20


class AlertTransition(NamedTuple):
    """One transition of an episode, with the episode as it is now; without numbers if it is not in the tables yet."""

    transition: str
    severity: str
    message: str
    rule: str
    device_type: str
    device_id: str
    fleet_id: str | None
    opened_at: dt.datetime
    alert_id: int | None = None
    last_seen_at: dt.datetime | None = None
    peak_value: float | None = None
    acknowledged_at: dt.datetime | None = None
    resolved_at: dt.datetime | None = None

    @property
    def resolved(self) -> bool:
        """Whether it is the end of the episode."""
        return self.transition == "resolved"


class Notification(NamedTuple):
    """Rows in the order in which they happened. Every attempt to send them carries the same id."""

    message_id: str
    rows: Sequence[AlertTransition]


def worst(rows: Sequence[AlertTransition]) -> str | None:
    """The worst severity of what is not resolved; None: all is."""
    return max((row.severity for row in rows if not row.resolved), key=SEVERITIES.index, default=None)


def newest(rows: Sequence[AlertTransition]) -> list[AlertTransition]:
    """The rows of the last episode of each rule and device: an older one does not matter once it has fired again."""
    last = {(row.rule, row.device_type, row.device_id): row.opened_at for row in rows}
    return [row for row in rows if row.opened_at == last[row.rule, row.device_type, row.device_id]]


def title(notification: Notification) -> str:
    """A subject line: rule and device of one alert, counts by severity of several."""
    if len(notification.rows) == 1:
        row = notification.rows[0]
        return f"voltd: {_kind(row)}: {row.rule} {row.device_type} {row.device_id}"
    kinds = Counter(_kind(row) for row in notification.rows)
    counts = ", ".join(f"{kinds[kind]} {kind}" for kind in (*reversed(SEVERITIES), "resolved") if kinds[kind])
    return f"voltd: {len(notification.rows)} alerts ({counts})"


def body(notification: Notification, room: float = math.inf) -> str:
    """One line for each alert, the worst first and resolved ones last, at most 20; the last line is the id.

    Args:
        notification: of at least one row.
        room: how many characters there may be. A small room holds fewer alerts; one too small for a single alert and
            the id holds the alert without the id, and cuts it.
    """
    ranked = sorted(notification.rows, key=lambda row: (row.resolved, -SEVERITIES.index(row.severity)))
    lines = [_line(row) for row in ranked[:_MOST_LINES]]
    for count in range(len(lines), 0, -1):
        more = [f"and {len(ranked) - count} more"] if count < len(ranked) else []
        text = "\n".join([*lines[:count], *more, f"message {notification.message_id}"])
        if len(text) <= room:
            return text
    rest = "".join(f"\n{line}" for line in more)
    left = max(0, int(room) - len(rest))
    return (lines[0] if len(lines[0]) <= left else f"{lines[0][: max(0, left - 1)]}…") + rest


def _kind(row: AlertTransition) -> str:
    return "resolved" if row.resolved else row.severity


def _line(row: AlertTransition) -> str:
    text = " ".join(row.message.split())
    return f"{text} (still, since {row.opened_at:%Y-%m-%d %H:%M} UTC)" if row.transition == "repeated" else text
