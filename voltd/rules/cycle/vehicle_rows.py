"""Rows of the hypertable as rows for the rules: at the corrected time, in its order, with how they came.

Part of ``cycle.vehicles``. Pure.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from voltd.rules import charging, clocks, evaluate, model

HELD = dt.timedelta(seconds=60)

Raw = tuple[Any, ...]  # place, recorded_at, received_at, three values, word on charging, retained, filled_at

COLUMN = {metric: place for place, metric in enumerate(model.OF_READINGS, 3)}  # of their values in Raw

_INSTANT = dt.timedelta(microseconds=1)


class Piece(NamedTuple):
    """Part of a vehicle's history, by its own clock, ends included.

    Attributes:
        late: the past around readings that came too late.
        excursions: dealt with once it has been judged.
        behind_s: how far the clock is certainly behind.
        again_until: what is not newer (corrected) has been judged, but for fields filled in; None: perhaps not.
    """

    vehicle_id: str
    since: dt.datetime
    until: dt.datetime
    late: bool = False
    excursions: tuple[int, ...] = ()
    behind_s: float = 0.0
    again_until: dt.datetime | None = None


class Read(NamedTuple):
    """A piece, and its rows in the order of the device's time."""

    piece: Piece
    rows: list[Raw]


def rows(
    piece: Piece, raw: Iterable[Raw], words: charging.Charging | None, since: dt.datetime | None, now: dt.datetime
) -> list[evaluate.Observation]:
    """Readings in corrected order, each with whether the vehicle was charging as last known, and with how it came.

    What has arrived in the future was received by a host whose clock was ahead: its arrival says nothing.

    Args:
        piece: whose they are.
        raw: the rows.
        words: on charging; None: they do not matter to any rule.
        since: when a word that holds was said before them, by the device's own time; None: none was.
        now: the time of the check.
    """
    behind = dt.timedelta(seconds=piece.behind_s)
    known = charging.Known(words or charging.Charging(), None if since is None else since + behind)
    found = []
    for one in _ordered(piece, raw, now):
        at, (_, _, received_at, soc, speed, temp, word, retained, filled_at) = one
        # A retained message is history: that it tells of a drive ends nothing.
        charges = known.read(at, word, None if retained else speed)
        arrived_at = filled_at or received_at
        if arrived_at > now + HELD:
            arrived_at = at
        found.append(
            evaluate.Observation(
                "vehicle", piece.vehicle_id, at, arrived_at, soc, speed, temp,
                charging=charges, retained=retained, held=now - arrived_at > HELD, past=piece.late,
                again=piece.again_until is not None and at <= piece.again_until, worded=word is not None,
            )
        )  # fmt: skip
    return found


def _ordered(piece: Piece, raw: Iterable[Raw], now: dt.datetime) -> list[tuple[dt.datetime, Raw]]:
    """Each with its corrected time; readings of one message that are dated ahead keep their order."""
    known = now + HELD
    timed = [
        (clocks.corrected(one[1], one[2], piece.behind_s) if one[2] <= known else min(one[1], now), one) for one in raw
    ]
    timed.sort(key=lambda one: (one[0], one[1][1]))
    for place in range(1, len(timed)):
        if timed[place][0] <= timed[place - 1][0]:
            timed[place] = (timed[place - 1][0] + _INSTANT, timed[place][1])
    return timed


def before(piece: Piece, raw: Sequence[Any]) -> evaluate.Observation:
    """A reading before the piece, which only says how often the device reports."""
    recorded_at, received_at, soc, speed, temp = raw
    at = clocks.corrected(recorded_at, received_at, piece.behind_s)
    return evaluate.Observation("vehicle", piece.vehicle_id, at, received_at, soc, speed, temp, before=True)


def judged_before(
    rows: Iterable[evaluate.Observation], first: dt.datetime, valued: dict[model.Metric, dt.datetime]
) -> dt.datetime | None:
    """What of a vehicle with excursions has been judged: what came before the first of them, by not being one.

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
        for metric, value in zip(model.OF_READINGS, (row.soc_pct, row.speed_kmh, row.battery_temp_c), strict=True):
            if value is not None:
                valued[metric] = max(row.recorded_at, valued.get(metric, row.recorded_at))
    return newest
