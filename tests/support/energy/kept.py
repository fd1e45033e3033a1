"""What is kept of energy and efficiency, and what the functions on raw readings give: quarter hours, hours and days.

Also what the functions give from what is kept, as far as they take it from there.
"""

import datetime as dt
from collections.abc import Collection, Iterable
from typing import Any

import psycopg

Connection = psycopg.Connection[Any]
_NUMBERS = (
    "dc_kwh", "ac_kwh", "comparable_dc_kwh", "comparable_ac_kwh", "efficiency_pct", "efficiency_low_pct",
    "efficiency_high_pct", "standby_kwh", "unassigned_kwh",
)  # fmt: skip
_FIGURES = ", ".join([*(f"round(e.{one}, 6)" for one in _NUMBERS), "e.meter_id", "e.quality", "e.source"])
_QUARTER = (
    "q.quarter_hour, q.kwh, round(q.covered_s, 6), round(q.gap_s, 6), q.low_kwh, q.high_kwh, round(q.peak_kw, 6),"
    " q.gaps, q.suspect, q.source"
)
# Days of the fleets that a vehicle was in by the memberships of now; an hour belongs to the fleet of its beginning.
_DAYS = """
  WITH quarter AS (
    SELECT q.at, m.fleet_id, coalesce(f.timezone, s.value, 'UTC') AS zone
    FROM generate_series(%(start)s, %(until)s + INTERVAL '2 days', INTERVAL '15 minutes') AS q (at)
    LEFT JOIN volt.fleet_membership m
      ON m.vehicle_id = %(vehicle)s AND m.valid @> date_trunc('hour', q.at, 'UTC')
    LEFT JOIN volt.fleet f ON f.fleet_id = m.fleet_id
    LEFT JOIN volt_internal.setting s ON s.name = 'timezone'
  ), change AS (
    SELECT *, (fleet_id, (at AT TIME ZONE zone)::date) IS DISTINCT FROM
      lag((fleet_id, (at AT TIME ZONE zone)::date)) OVER (ORDER BY at) AS begins
    FROM quarter
  ), part AS (
    SELECT *, count(*) FILTER (WHERE begins) OVER (ORDER BY at) AS number FROM change
  ), day AS (
    SELECT fleet_id, zone, min(at) AS began_at, max(at) + INTERVAL '15 minutes' AS ended_at
    FROM part GROUP BY fleet_id, zone, number
  )
  SELECT d.began_at, d.ended_at, d.fleet_id, (d.began_at AT TIME ZONE d.zone)::date, """

_HOURS_KEPT = f"SELECT e.hour, e.fleet_id, {_FIGURES} FROM volt.efficiency_hourly e WHERE vehicle_id = %(vehicle)s"
_HOURS_GIVEN = f"""
  SELECT e.began_at, m.fleet_id, {_FIGURES}
  FROM volt_internal.vehicle_periods(
    %(vehicle)s,
    ARRAY(SELECT generate_series(%(start)s, %(until)s::timestamptz - INTERVAL '1 hour', INTERVAL '1 hour')),
    ARRAY(SELECT generate_series(%(start)s + INTERVAL '1 hour', %(until)s, INTERVAL '1 hour')), true) e
  LEFT JOIN volt.fleet_membership m ON m.vehicle_id = %(vehicle)s AND m.valid @> e.began_at
  WHERE e.dc_kwh > 0 OR e.ac_kwh > 0"""
_DAYS_KEPT = f"""
  SELECT e.began_at, e.ended_at, e.fleet_id, e.day, {_FIGURES}
  FROM volt.efficiency_daily e WHERE vehicle_id = %(vehicle)s"""
_DAYS_GIVEN = f"""{_DAYS} {_FIGURES}
  FROM (
    SELECT array_agg(began_at ORDER BY began_at) AS starts,
      array_agg(least(ended_at, %(until)s) ORDER BY began_at) AS ends
    FROM day WHERE began_at < %(until)s
  ) all_days
  CROSS JOIN LATERAL volt_internal.vehicle_periods(%(vehicle)s, all_days.starts, all_days.ends, true) e
  JOIN day d USING (began_at)
  WHERE e.dc_kwh > 0 OR e.ac_kwh > 0"""


_OF_PERIOD = """
  SELECT q.quarter_hour, q.length_s, q.kwh, round(q.covered_s, 6), round(q.gap_s, 6), q.low_kwh, q.high_kwh,
    round(q.peak_kw, 6), q.gaps, q.suspect, q.source, q.moved
  FROM volt_internal.{kind}_quarters_of(%(device)s, %(start)s, %(until)s, {from_raw}) q"""
_PERIODS = f"""
  SELECT e.began_at, e.ended_at, {_FIGURES}
  FROM volt_internal.vehicle_periods(%(vehicle)s, %(starts)s, %(ends)s, %(from_raw)s) e"""


def _rows(connection: Connection, statement: str, **values: object) -> list[tuple[Any, ...]]:
    return connection.execute(statement, values).fetchall()


def _compared(what: str, kept: list[tuple[Any, ...]], given: list[tuple[Any, ...]]) -> list[str]:
    return [f"{what} kept {row}" for row in kept if row not in given] + [
        f"{what} given {row}" for row in given if row not in kept
    ]


def quarter_differences(
    connection: Connection, kind: str, device: str, start: dt.datetime, until: dt.datetime
) -> list[str]:
    """Quarter hours of one device that are kept and not given from ``start`` to ``until``, or the other way round.

    Args:
        connection: the database.
        kind: vehicle, meter, or onboard (the AC register of a vehicle).
        device: the device.
        start: begin of the period.
        until: its end.
    """
    values = {"device": device, "start": start, "until": until}
    of, flow = ("vehicle", "onboard") if kind == "onboard" else (kind, "delivered")
    return _compared(
        f"quarter of {kind} {device}",
        _rows(
            connection, f"SELECT {_QUARTER} FROM volt_internal.{kind}_quarter q WHERE {of}_id = %(device)s", **values
        ),
        _rows(
            connection,
            f"SELECT {_QUARTER} FROM volt_internal.{of}_energy_quarters(%(device)s, %(start)s, %(until)s, '{flow}') q",
            **values,
        ),
    )


def period_differences(
    connection: Connection, kind: str, device: str, start: dt.datetime, until: dt.datetime
) -> list[str]:
    """Quarter hours of one device from ``start`` to ``until`` that differ from those of raw readings alone."""
    values = {"device": device, "start": start, "until": until}
    found, given = (
        _rows(connection, _OF_PERIOD.format(kind=kind, from_raw=from_raw), **values) for from_raw in (False, True)
    )
    return _compared(f"{device} from {start} to {until}", found, given)


def efficiency_differences(
    connection: Connection, vehicle: str, starts: list[dt.datetime], ends: list[dt.datetime]
) -> list[str]:
    """Efficiency of one vehicle in periods that differs from that of raw readings alone."""
    values = {"vehicle": vehicle, "starts": starts, "ends": ends}
    found, given = (_rows(connection, _PERIODS, from_raw=from_raw, **values) for from_raw in (False, True))
    return _compared(f"efficiency of {vehicle}", found, given)


def differences(
    connection: Connection, vehicles: Collection[str], meters: Iterable[str], start: dt.datetime
) -> list[str]:
    """Rows that are kept and not given by the functions, or the other way round, from ``start`` (a UTC midnight) on."""
    ((energy_until,),) = _rows(connection, "SELECT energy_watermark FROM volt_internal.rollup_state")
    until = energy_until.replace(minute=0)
    found = [
        one
        for kind, devices in (("vehicle", vehicles), ("onboard", vehicles), ("meter", meters))
        for device in devices
        for one in quarter_differences(connection, kind, device, start, energy_until)
    ]
    for vehicle in vehicles:
        values = {"vehicle": vehicle, "start": start, "until": until}
        for what, of_vehicle, by_function in (("hour", _HOURS_KEPT, _HOURS_GIVEN), ("day", _DAYS_KEPT, _DAYS_GIVEN)):
            found += _compared(
                f"{what} of {vehicle}",
                _rows(connection, of_vehicle, **values),
                _rows(connection, by_function, **values),
            )
    return found


def same_as_defined(connection: Connection, kind: str, device: str) -> None:
    """What is kept of a device is what the definition gives for all of its time."""
    of = "vehicle" if kind == "onboard" else kind
    ((first, last),) = _rows(
        connection,
        f"SELECT min(recorded_at), max(recorded_at) FROM volt.{of}_reading WHERE {of}_id = %(device)s",
        device=device,
    )
    ((watermark,),) = _rows(connection, "SELECT energy_watermark FROM volt_internal.rollup_state")
    start = first.replace(minute=0, second=0, microsecond=0) - dt.timedelta(days=2)
    end = min(last.replace(minute=0, second=0, microsecond=0) + dt.timedelta(days=2), watermark)
    assert quarter_differences(connection, kind, device, start, end) == []
