"""Corrects past episodes: those found in a window that was reread replace those recorded in it before.

Part of ``persistence``, in the cycle's transaction. Late readings arrive in any order. Each time the window around them
is reread as a whole (``telemetry``), and the episodes recorded in it become those that were found: longer, shorter,
more severe, two instead of one, or none. An episode that somebody was notified of is never changed.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import psycopg

from voltd.database import queries
from voltd.rules import observation

_RANGES = 2_000  # the last past episodes


class PastEpisode(Protocol):
    """An episode as ``alert_rows`` has it."""

    opened_at: dt.datetime
    resolved_at: dt.datetime | None
    alert_id: int | None


class RereadWindow(NamedTuple):
    """Within [since, until] the past episodes of a rule and device are those that were found."""

    rule: str
    device_type: str
    device_id: str
    since: dt.datetime
    until: dt.datetime


class _Recorded(NamedTuple):
    alert_id: int
    past: bool
    opened_at: dt.datetime
    resolved_at: dt.datetime | None

    def within(self, window: RereadWindow) -> bool:
        return (
            self.past
            and self.resolved_at is not None
            and self.opened_at >= window.since
            and self.resolved_at <= window.until
        )


_E = TypeVar("_E", bound=PastEpisode)


class Changes(NamedTuple, Generic[_E]):
    """How past episodes change: rows to change (with their numbers), rows to insert, and numbers to drop."""

    change: list[_E]
    insert: list[_E]
    drop: list[int]


def changes(
    connection: psycopg.Connection[Any], windows: Sequence[RereadWindow], found: Sequence[Sequence[_E]]
) -> Changes[_E]:
    """Compares what is recorded in these windows with what was found in each.

    Args:
        connection: in the cycle's transaction.
        windows: at most one for each rule and device.
        found: the past episodes of each window, in order.
    """
    rows = [{"place": place, **window._asdict()} for place, window in enumerate(windows)]
    known: list[list[_Recorded]] = [[] for _ in windows]
    asked = {"rows": json.dumps(rows, default=dt.datetime.isoformat)}
    for place, *one in connection.execute(queries.text("alerts_within"), asked):
        known[place].append(_Recorded(*one))
    result: Changes[_E] = Changes([], [], [])
    for window, before, now in zip(windows, known, found, strict=True):
        fixed = [one for one in before if not one.within(window)]
        free = [one for one in before if one.within(window)]
        for episode in now:
            if any(_overlap(episode, one) for one in fixed):
                continue
            match = next((one for one in free if _overlap(episode, one)), None)
            if match is None:
                result.insert.append(episode)
                continue
            free.remove(match)
            episode.alert_id = match.alert_id
            result.change.append(episode)
        result.drop.extend(one.alert_id for one in free)
    return result


def _overlap(episode: PastEpisode, one: _Recorded) -> bool:
    ends_before = episode.resolved_at is not None and episode.resolved_at < one.opened_at
    return not ends_before and (one.resolved_at is None or one.resolved_at >= episode.opened_at)


def ranges(
    connection: psycopg.Connection[Any], around: dt.timedelta, behind_s: Mapping[observation.DeviceKey, float]
) -> dict[str, tuple[dt.datetime, dt.datetime]]:
    """Vehicles with past episodes: between which of their own times late readings may change them."""
    found = {}
    for vehicle, since, until in connection.execute(queries.text("past_ranges"), {"at_most": _RANGES}):
        behind = dt.timedelta(seconds=behind_s.get(("vehicle", vehicle), 0.0))
        found[vehicle] = (since - behind - around, until - behind + around)
    return found
