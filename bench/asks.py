"""What analysts ask: each query with its parameters for a device, and a check of its rows against what was measured."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Callable, Iterable
from typing import Any

import psycopg
from fleet import DAY, DRIVES_KM, MINUTE, Fleet, fleet_id, has_register, vehicle_id

Rows = list[tuple[Any, ...]]


class WrongAnswer(Exception):
    """A query returned something else than the data must give: no figure of this run counts."""


@dataclasses.dataclass(frozen=True)
class Query:
    """One query.

    Attributes:
        wanted_ms: what 99 of 100 runs may take at most.
        text: the statement.
        of: what it can be asked of: vehicles, from 1 on, or fleets, from 0 on.
        values: its parameters.
        check: raises WrongAnswer unless the rows are those that the data must give.
    """

    wanted_ms: float
    text: str
    of: range
    values: Callable[[int], list[Any]]
    check: Callable[[int, Rows], None]


def queries(fleet: Fleet) -> dict[str, Query]:
    """All queries by name."""
    sums = "sum(dc_kwh), sum(ac_kwh), 100 * sum(comparable_dc_kwh) / sum(comparable_ac_kwh) FROM volt.efficiency_{}"
    hourly, hours = sums.format("hourly"), "hour >= %s AND hour < %s"
    lasting, fleets = range(1, fleet.lasting + 1), range(fleet.lasting // fleet.per_fleet)
    yesterday = fleet.midnight - DAY

    def of_fleet(days: int, wanted_ms: float) -> Query:
        since = fleet.midnight - days * DAY
        return Query(
            wanted_ms,
            f"SELECT {hourly} WHERE fleet_id = %s AND {hours}",
            fleets,
            lambda number: [fleet_id(number), since, fleet.midnight],
            lambda number, rows: _sums(fleet, fleet.of_fleet(number), since, rows[0]),
        )

    def performance(start: int) -> Query:
        since = fleet.end - DAY
        return Query(
            10,
            "SELECT volt.vehicle_performance(%s, %s, %s)",
            lasting[start::2],
            lambda vehicle: [vehicle_id(vehicle), since, fleet.end],
            lambda vehicle, rows: _performance(fleet, vehicle, since, rows[0][0]),
        )

    def history(newest_first: bool) -> Query:
        return Query(
            15,
            "SELECT * FROM volt.vehicle_history(%s, %s, newest_first => %s, page_size => 1000)",
            lasting,
            lambda vehicle: [vehicle_id(vehicle), fleet.begin, newest_first],
            lambda vehicle, rows: _history(fleet, vehicle, newest_first, rows),
        )

    return {
        "vehicle_latest": Query(
            1,
            "SELECT recorded_at, odometer_km, dc_register_kwh IS NOT NULL FROM volt.vehicle_latest(%s)",
            range(1, fleet.vehicles + 1),
            lambda vehicle: [vehicle_id(vehicle)],
            lambda vehicle, rows: _latest(fleet, vehicle, rows),
        ),
        "history_newest": history(newest_first=True),
        "history_oldest": history(newest_first=False),
        "performance_interval": performance(0),
        "performance_register": performance(1),
        "vehicle_30_days": Query(
            20,
            f"SELECT {hourly} WHERE vehicle_id = %s AND {hours}",
            lasting,
            lambda vehicle: [vehicle_id(vehicle), fleet.begin, fleet.midnight],
            lambda vehicle, rows: _sums(fleet, [vehicle], fleet.begin, rows[0]),
        ),
        "fleet_7_days": of_fleet(7, 150),
        "fleet_30_days": of_fleet(fleet.days, 500),
        "all_yesterday": Query(
            1000,
            f"SELECT {sums.format('daily')} WHERE day = %s",
            range(1),
            lambda _: [fleet.yesterday],
            lambda _, rows: _sums(fleet, range(1, fleet.vehicles + 1), yesterday, rows[0]),
        ),
        "closed_hour": Query(
            150,
            f"SELECT vehicle_id, efficiency_pct, dc_kwh FROM volt.efficiency_hourly WHERE {hours} AND quality = 'ok'",
            range(1),
            lambda _: [fleet.midnight, fleet.closed],
            lambda _, rows: _closed_hour(fleet, rows),
        ),
    }


def late_hours(connection: psycopg.Connection[Any], fleet: Fleet) -> None:
    """Checks the hours in which a reading was missing, once it has arrived."""
    for vehicle in range(1, fleet.late + 1):
        hour = fleet.late_at(vehicle).replace(minute=0)
        rows = connection.execute(
            "SELECT h.readings, e.dc_kwh, e.ac_kwh, e.efficiency_pct FROM volt.vehicle_hourly h"
            " JOIN volt.efficiency_hourly e USING (vehicle_id, hour)"
            " WHERE h.vehicle_id = %s AND h.hour = %s AND e.vehicle_id = %s AND e.hour = %s",
            [vehicle_id(vehicle), hour, vehicle_id(vehicle), hour],
        ).fetchall()
        _same(f"the hour {hour} of {vehicle_id(vehicle)}", rows[0] if rows else (), (60, 5.52, 6.0, 92.0))


def closed_hour(connection: psycopg.Connection[Any], fleet: Fleet) -> None:
    """Checks the last closed hour of all vehicles."""
    asked = queries(fleet)["closed_hour"]
    asked.check(0, connection.execute(asked.text.encode(), asked.values(0)).fetchall())


def _latest(fleet: Fleet, vehicle: int, rows: Rows) -> None:
    if [(at, register) for at, _km, register in rows] != [(fleet.end, has_register(vehicle))] or not rows[0][1] > 10000:
        raise WrongAnswer(f"latest of {vehicle_id(vehicle)}: {rows}")


def _history(fleet: Fleet, vehicle: int, newest_first: bool, rows: Rows) -> None:
    late = fleet.late_at(vehicle) if vehicle <= fleet.late else None
    first, step = (fleet.end, -MINUTE) if newest_first else (fleet.begin, MINUTE)
    expected = [at for at in (first + n * step for n in range(1001)) if at != late][:1000]
    if [row[1] for row in rows] != expected or {row[0] for row in rows} != {vehicle_id(vehicle)}:
        raise WrongAnswer(f"history of {vehicle_id(vehicle)}: {len(rows)} rows, first {rows[:1]}, last {rows[-1:]}")


def _performance(fleet: Fleet, vehicle: int, since: dt.datetime, document: dict[str, Any]) -> None:
    energy = document["energyMetrics"]
    _same(
        f"performance of {vehicle_id(vehicle)}",
        (
            energy["totalDcDelivered"],
            energy["totalAcConsumed"],
            energy["efficiencyRatio"],
            document["distanceKm"],
            sum(hour["dcDelivered"] or 0 for hour in document["hourlyBreakdown"]),
        ),
        (
            fleet.dc_kwh(vehicle, since, fleet.end),
            fleet.ac_kwh(vehicle, since, fleet.end),
            0.92,
            DRIVES_KM,
            fleet.dc_kwh(vehicle, since, fleet.end),
        ),
    )


def _sums(fleet: Fleet, vehicles: Iterable[int], since: dt.datetime, row: tuple[Any, ...]) -> None:
    dc_kwh, ac_kwh, pct = row
    wanted = [
        sum(side(vehicle, since, fleet.midnight) for vehicle in vehicles) for side in (fleet.dc_kwh, fleet.ac_kwh)
    ]
    _same(f"energy of {vehicles} from {since}", (dc_kwh, ac_kwh), wanted)
    if not abs(float(pct) - 92) < 0.02:  # without what is missing: exactly where both sides are scaled
        raise WrongAnswer(f"efficiency of {vehicles} from {since}: {pct} %")


def _closed_hour(fleet: Fleet, rows: Rows) -> None:
    found = {vehicle: (pct, kwh) for vehicle, pct, kwh in rows if kwh > 0.1}  # a minute may count in either hour
    for vehicle in range(1, fleet.vehicles + 1):
        kwh = fleet.dc_kwh(vehicle, fleet.midnight, fleet.closed)
        pct, known = found.pop(vehicle_id(vehicle), (92, 0))
        if pct != 92 or not abs(float(known) - kwh) < 0.093:
            raise WrongAnswer(f"{vehicle_id(vehicle)} in the hour {fleet.midnight}: {pct} %, {known} kWh, not {kwh}")
    if found:
        raise WrongAnswer(f"the hour {fleet.midnight}: nothing is known of {sorted(found)}")


def _same(what: str, found: Iterable[Any], wanted: Iterable[float]) -> None:
    numbers = [math.nan if one is None else float(one) for one in found]
    if not all(abs(one - other) < 1e-6 for one, other in zip(numbers, wanted, strict=True)):
        raise WrongAnswer(f"{what}: {numbers}, but the data give {list(wanted)}")
