"""Keeps energy by quarter hour and efficiency by hour and day; on the Apache-2 edition also the hourly roll-ups.

Two sides that must not miss each other. ``write`` begins each batch with ``begin_batch`` and marks what is late with
``mark_late``, in the same transaction. The scheduler calls ``run_once``: it closes quarter hours (waiting for the
batches under way, so every later one knows), computes what is closed once, and what is marked again. Marks go from
readings to the energy of their devices, and from energy that has changed to the efficiency of the vehicles concerned.
"""

import dataclasses
import datetime as dt
import time
from collections.abc import Collection, Sequence
from typing import Any

import psycopg

from voltd import models
from voltd.database import locks, one_runner, queries, sqlstate

_MARKED = {  # what marks of late readings call for, and how many devices a transaction
    "rollup_recompute_vehicles": 2000,
    "rollup_recompute_meters": 2000,
    "keep_marked_vehicles": 50,
    "keep_marked_meters": 50,
    "keep_marked_onboards": 50,
}.items()
_STATEMENT_LIMIT = "10min"  # an hour of a large fleet may take longer than statements of jobs usually may
_REACHES_BACK = dt.timedelta(minutes=16)  # volt_internal.piece_reach()
_HOURS_AT_ONCE = 24  # of history, of which the efficiency is computed
_VEHICLES_AT_ONCE = 500  # marks of vehicles of which the efficiency is computed, a transaction


@dataclasses.dataclass(frozen=True, slots=True)
class RollupResult:
    """What one run did.

    Attributes:
        advanced: how many closed hours were computed for the first time; the newest one is not counted.
        recomputed: device-hours, device-days and vehicles that were computed again.
        finished: nothing was left to do; False: time was up, or another daemon is at it.
    """

    advanced: int = 0
    recomputed: int = 0
    finished: bool = True


def begin_batch(connection: psycopg.Connection[Any]) -> dt.datetime | None:
    """To be called first in the transaction of a batch: readings recorded before the time returned must be marked.

    None: nothing needs marking. Holds a shared advisory lock until the transaction ends.

    Raises:
        psycopg.Error: as it comes; the caller wraps it.
    """
    row = connection.execute(queries.text("rollup_closing_watermark")).fetchone()
    return row[0] if row else None


def mark_late(
    connection: psycopg.Connection[Any],
    closing_watermark: dt.datetime,
    vehicles: Sequence[models.VehicleReading],
    meters: Sequence[models.MeterReading],
) -> None:
    """Marks the device-hours of readings recorded before ``closing_watermark``, and soon after, to be computed again.

    A reading tells the energy of the time before it, so one that is a little later may belong to a closed quarter hour.

    To be called in the transaction that stores the readings; marking too much costs time but changes no number.

    Raises:
        psycopg.Error: as it comes; the caller wraps it.
    """
    until = closing_watermark + _REACHES_BACK
    late_vehicles = [one for one in vehicles if one.recorded_at < until]
    if late_vehicles:
        connection.execute(
            queries.text("mark_vehicle_hours_dirty"),
            {
                "vehicle_ids": [one.vehicle_id for one in late_vehicles],
                "recorded_ats": [one.recorded_at for one in late_vehicles],
            },
        )
    late_onboards = [one for one in late_vehicles if one.ac_register_kwh is not None]
    if late_onboards:
        connection.execute(
            queries.text("mark_onboard_hours_dirty"),
            {
                "vehicle_ids": [one.vehicle_id for one in late_onboards],
                "recorded_ats": [one.recorded_at for one in late_onboards],
            },
        )
    late_meters = [one for one in meters if one.recorded_at < until]
    if late_meters:
        connection.execute(
            queries.text("mark_meter_hours_dirty"),
            {
                "meter_ids": [one.meter_id for one in late_meters],
                "recorded_ats": [one.recorded_at for one in late_meters],
            },
        )


def follow_corrections(connection: psycopg.Connection[Any], days: Collection[dt.datetime]) -> None:
    """Computes hours and days again in which the owner has corrected readings; blocks until that is done.

    Late readings get there by themselves, with the next refresh or roll-up; who has put a value right looks at once.

    Args:
        connection: the schema owner's, in autocommit mode.
        days: UTC midnights.

    Raises:
        errors.StoreUnavailable: transient; the next refresh or roll-up does what is left.
    """
    try:
        for day in sorted(days):
            # CALL cannot be prepared, so this is no named query.
            connection.execute("CALL volt_internal.follow_correction(%s)", [day])
    except psycopg.Error as error:
        raise sqlstate.wrap(error) from error
    if days:
        run_once(connection)


def run_once(connection: psycopg.Connection[Any], *, within_s: float = 20.0) -> RollupResult:
    """Closes quarter hours, computes what is closed, and computes again what is marked.

    Blocks for at most about ``within_s`` seconds and one slice more; every slice is a transaction of its own, so a
    kill loses at most one. ``connection`` must be in autocommit mode.

    Raises:
        errors.StoreUnavailable: transient; what was committed stays, call again.
    """
    until = time.monotonic() + within_s
    with one_runner.only_runner(connection, locks.ROLLUP, _STATEMENT_LIMIT) as alone:
        return _run(connection, until) if alone else RollupResult(finished=False)


def _run(connection: psycopg.Connection[Any], until: float) -> RollupResult:
    def call(name: str, **parameters: object) -> Any:
        row = connection.execute(queries.text(name), parameters).fetchone()
        return row[0] if row else None

    def advance() -> bool:
        """Computes one closed hour; whether more are left."""
        return any([call("rollup_advance"), call("keep_energy")])

    recomputed = turn = 0
    call("close_quarter_hours")
    left = advance()  # whatever else waits
    advanced = int(left)
    while True:
        energy = sum(call(name, at_once=at_once) for name, at_once in _MARKED)
        # In turns: a stream of late readings must not hold back what follows from those before. But each hour has its
        # whole day computed: while history is caught up with, the hours of a day wait for each other.
        due = not left or turn % _HOURS_AT_ONCE == 0
        efficiency = call("keep_efficiency", at_once=_VEHICLES_AT_ONCE) if due else 0
        turn += 1
        call("efficiency_is_kept")
        recomputed += energy + efficiency
        if not energy and left:  # one closed hour builds on the energy of the one before
            left = advance()
            advanced += left
        elif not energy and not efficiency:
            return RollupResult(advanced, recomputed)
        if time.monotonic() > until:
            return RollupResult(advanced, recomputed, finished=False)
