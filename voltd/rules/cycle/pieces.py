"""Pieces of vehicles' histories: rows of the hypertable as rows for the rules, by corrected time.

Part of ``telemetry``. Pure.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from voltd.rules import charging_status, device_clocks, model, observation

DEFERRED_AFTER = dt.timedelta(seconds=60)

# place, recorded_at, received_at, the values of model.TELEMETRY, word on charging, retained, filled_at
Raw = tuple[Any, ...]
COLUMN = {metric: place for place, metric in enumerate(model.TELEMETRY, 3)}  # of their values in Raw
WORD = 3 + len(COLUMN)  # of the word on charging in Raw
_SPEED = COLUMN[model.Metric.SPEED_KMH]

_INSTANT = dt.timedelta(microseconds=1)


class Piece(NamedTuple):
    """Part of a vehicle's history, by its own clock, ends included.

    Attributes:
        reread: it lies around readings that arrived too late.
        excursions: numbers of those that it covers.
        behind_s: how far the clock is certainly behind.
        again_until: readings not newer (corrected) have been evaluated, but for fields filled in; None: perhaps not.
    """

    vehicle_id: str
    since: dt.datetime
    until: dt.datetime
    reread: bool = False
    excursions: tuple[int, ...] = ()
    behind_s: float = 0.0
    again_until: dt.datetime | None = None


class PieceRows(NamedTuple):
    """A piece, and its rows in the order of the device's time."""

    piece: Piece
    rows: list[Raw]


def rows(
    piece: Piece,
    raw: Iterable[Raw],
    words: charging_status.Charging | None,
    since: dt.datetime | None,
    now: dt.datetime,
) -> list[observation.Observation]:
    """Readings by corrected time, each with whether the vehicle was charging as last known, and how it arrived.

    An arrival in the future was dated by a host whose clock was ahead: it is not used.

    Args:
        piece: the piece they belong to.
        raw: the rows.
        words: on charging; None: no rule needs them.
        since: time of a valid word for charging before them, by the device's own time; None: there is none.
        now: the time of the cycle.
    """
    behind = dt.timedelta(seconds=piece.behind_s)
    known = charging_status.ChargingTracker(
        words or charging_status.Charging(), None if since is None else since + behind
    )
    found = []
    for at, row in _ordered(piece, raw, now):
        _, _, received_at, *values, word, retained, filled_at = row
        # A retained message is old: a drive in it ends nothing.
        charges = known.read(at, word, None if retained else row[_SPEED])
        arrived_at = filled_at or received_at
        if arrived_at > now + DEFERRED_AFTER:
            arrived_at = at
        found.append(
            observation.Observation(  # type: ignore[misc] # its values are those of Raw
                "vehicle", piece.vehicle_id, at, arrived_at, *values,
                charging=charges, retained=retained, deferred=now - arrived_at > DEFERRED_AFTER, reread=piece.reread,
                again=piece.again_until is not None and at <= piece.again_until, worded=word is not None
            )
        )  # fmt: skip
    return found


def _ordered(piece: Piece, raw: Iterable[Raw], now: dt.datetime) -> list[tuple[dt.datetime, Raw]]:
    """Each with its corrected time; readings of one message that are dated ahead stay in order."""
    known = now + DEFERRED_AFTER
    timed = [
        (device_clocks.corrected(one[1], one[2], piece.behind_s) if one[2] <= known else min(one[1], now), one)
        for one in raw
    ]
    timed.sort(key=lambda one: (one[0], one[1][1]))
    for place in range(1, len(timed)):
        if timed[place][0] <= timed[place - 1][0]:
            timed[place] = (timed[place - 1][0] + _INSTANT, timed[place][1])
    return timed


def context(piece: Piece, raw: Sequence[Any]) -> observation.Observation:
    """A reading before the piece, which only shows how often the device reports."""
    recorded_at, received_at, *values = raw
    vehicle, at = piece.vehicle_id, device_clocks.corrected(recorded_at, received_at, piece.behind_s)
    return observation.Observation("vehicle", vehicle, at, received_at, *values, context=True)  # type: ignore[misc]


def evaluated_before(
    rows: Iterable[observation.Observation], first: dt.datetime, valued: dict[model.Metric, dt.datetime]
) -> dt.datetime | None:
    """How far a vehicle with excursions has been evaluated: what arrived before the first one is within all limits.

    Args:
        rows: of the vehicle.
        first: arrival of the first excursion.
        valued: by metric the newest of these with a value; changed.

    Returns:
        the newest of all of these; None: there is none.
    """
    newest: dt.datetime | None = None
    for row in rows:
        if row.retained or row.received_at >= first:
            continue
        newest = row.recorded_at if newest is None else max(newest, row.recorded_at)
        for metric in model.TELEMETRY:
            if row[observation.COLUMN[metric]] is not None:
                valued[metric] = max(row.recorded_at, valued.get(metric, row.recorded_at))
    return newest
