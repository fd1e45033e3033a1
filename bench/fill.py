"""Fills a database with the readings of ``fleet``, and with kept figures of a year behind them, as sets in SQL."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from concurrent import futures
from typing import Any

import psycopg
from fleet import DAY, HOUR, MINUTE, Fleet
from rig import Rig

from voltd import readings


def fill(rig: Rig, fleet: Fleet) -> None:
    """Registers the devices and stores all readings until ``midnight``, that one with them: it ends yesterday."""
    with psycopg.connect(rig.dsn, autocommit=True) as connection:
        values = _values(fleet)
        for statement in _REGISTRY:
            connection.execute(statement, values)
    # All of them an hour before yesterday: a register's first reading tells no energy.
    last = fleet.days * 24 - 25
    hours = [(fleet.begin + n * HOUR, fleet.lasting if n < last else fleet.vehicles) for n in range(fleet.days * 24)]
    slices = [(since, since + HOUR, devices) for since, devices in hours]
    slices.append((fleet.midnight, fleet.midnight + MINUTE, fleet.vehicles))
    _store(rig, fleet, slices)
    with psycopg.connect(rig.dsn, autocommit=True) as connection:
        connection.execute("ANALYZE")


def fill_last_hour(rig: Rig, fleet: Fleet) -> None:
    """Stores the readings of the last closed hour, and of the open one."""
    _store(rig, fleet, [(fleet.midnight + MINUTE, fleet.end + MINUTE, fleet.vehicles)])
    with psycopg.connect(rig.dsn, autocommit=True) as connection:
        for device_type in readings.DeviceType:
            connection.execute(_current(device_type), {"end": fleet.end})


def keep_a_year(rig: Rig, fleet: Fleet) -> None:
    """Puts kept figures of a year behind the readings."""
    with psycopg.connect(rig.dsn) as connection:
        tables = {f"{one}_hourly": f"volt_internal.{one}_hourly_rollup" for one in ("vehicle", "meter")}
        tables |= dict(connection.execute(_CONTINUOUS_AGGREGATES).fetchall())
    tables |= {
        one: f"volt_internal.{one}" for one in ("vehicle_quarter", "meter_quarter", "efficiency_hour", "efficiency_day")
    }
    jobs = [
        (
            f"{_DEVICE} INSERT INTO {table} {_KEPT[name]} ON CONFLICT DO NOTHING",
            {"from": since, "to": min(since + 10, fleet.kept_days)},
        )
        for since in range(0, fleet.kept_days, 10)
        for name, table in tables.items()
    ]
    _run(rig, fleet, "kept figures of a year", [(text, {**days, "devices": fleet.lasting}) for text, days in jobs])


def settle(rig: Rig) -> None:
    """What the database does in time by itself: columnstore (Community), statistics, free space, checkpoint."""
    with psycopg.connect(rig.dsn, autocommit=True) as connection:
        for table in ("volt.vehicle_reading", "volt.meter_reading"):
            if rig.edition.file_suffix == "community":
                connection.execute(
                    f"SELECT compress_chunk(c) FROM show_chunks('{table}', older_than => INTERVAL '7 days') AS c"
                )
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")


def _values(fleet: Fleet) -> dict[str, Any]:
    return {
        "origin": fleet.origin,
        "year": fleet.minute(fleet.begin - fleet.kept_days * DAY),
        "devices": fleet.vehicles,
        "per_fleet": fleet.per_fleet,
        "zone": fleet.zone,
        "late": fleet.late,
        "late_days": fleet.days - 2,
        "begin": fleet.minute(fleet.begin),
    }


def _store(rig: Rig, fleet: Fleet, slices: Sequence[tuple[dt.datetime, dt.datetime, int]]) -> None:
    jobs = [
        (text, {"since": fleet.minute(since), "until": fleet.minute(until), "devices": devices})
        for since, until, devices in slices
        for text in (_VEHICLES, _METERS)
    ]
    _run(rig, fleet, "readings", jobs)


def _run(rig: Rig, fleet: Fleet, what: str, jobs: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Inserts, each in a transaction of its own; every second one over another connection, at the same time."""

    def run(part: Sequence[tuple[str, dict[str, Any]]]) -> int:
        rows = 0
        with psycopg.connect(rig.dsn) as connection:
            for done, (statement, values) in enumerate(part, 1):
                rows += connection.execute(statement.encode(), _values(fleet) | values).rowcount
                connection.commit()
                if done * 10 // len(part) > (done - 1) * 10 // len(part):
                    print(f"{what}: {100 * done // len(part)} % of a half, {rows:,} rows", flush=True)
        return rows

    with futures.ThreadPoolExecutor(2) as pool:
        print(f"{what}: {sum(pool.map(run, (jobs[::2], jobs[1::2]))):,} rows", flush=True)


def _current(device_type: readings.DeviceType) -> bytes:
    """The newest reading of each device as its current state."""
    columns, values = [], []
    for fields, at in readings.state(device_type):
        columns += [*fields, at]
        values += [*fields, f"CASE WHEN {fields[0]} IS NOT NULL THEN recorded_at END"]
    return (
        f"INSERT INTO volt.{device_type}_current ({device_type}_id, recorded_at, last_seen_at, {', '.join(columns)})"
        f" SELECT {device_type}_id, recorded_at, received_at, {', '.join(values)}"
        f" FROM volt.{device_type}_reading WHERE recorded_at = %(end)s"
    ).encode()


def _charged(after_min: int = 0) -> str:
    """SQL: for how many minutes a device had charged so many minutes after ``minute``."""
    since = f"(minute + {after_min - 1} - starts)"
    return f"({since} / 1440 * 240 + least(mod({since}, 1440) + 1, 240))"


_CONTINUOUS_AGGREGATES = """
SELECT view_name::text, format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)
FROM timescaledb_information.continuous_aggregates
WHERE view_schema = 'volt' AND view_name IN ('vehicle_hourly', 'meter_hourly')
"""
_DEVICE = """
WITH device AS MATERIALIZED (
  SELECT i, 'V' || lpad(i::text, 5, '0') AS vehicle_id, 'M' || lpad(i::text, 5, '0') AS meter_id,
    'F' || lpad(((i - 1) / %(per_fleet)s)::text, 3, '0') AS fleet_id,
    mod(i * 37, 96) * 15 AS starts, mod(i, 2) = 0 AS vehicle_register, mod(i, 4) >= 2 AS meter_register,
    CASE WHEN i <= %(late)s
      THEN %(begin)s + (1 + (i - 1) * %(late_days)s / %(late)s) * 1440 + mod(i * 37, 96) * 15 + 100 END AS late_minute
  FROM generate_series(1, %(devices)s) AS i
)"""
_REGISTRY = (
    _DEVICE + "INSERT INTO volt.fleet (fleet_id, timezone) SELECT DISTINCT fleet_id, %(zone)s FROM device",
    _DEVICE + "INSERT INTO volt.vehicle (vehicle_id, fleet_id) SELECT vehicle_id, fleet_id FROM device",
    _DEVICE + "INSERT INTO volt.meter (meter_id) SELECT meter_id FROM device",
    _DEVICE + "INSERT INTO volt.vehicle_meter (vehicle_id, meter_id) SELECT vehicle_id, meter_id FROM device",
)
_MINUTES = f"""
FROM generate_series(%(since)s, %(until)s - 1) AS minute
CROSS JOIN device
CROSS JOIN LATERAL (
  SELECT
    %(origin)s::timestamptz + minute * INTERVAL '1 min' AS at, mod(minute - 1 - starts, 1440) AS since_start,
    (minute - 1 - starts) / 1440 AS days, {_charged()} AS charged
) AS reading
CROSS JOIN LATERAL (SELECT since_start < 240 AS charges, since_start BETWEEN 300 AND 359 AS drives) AS state
"""
_VEHICLES = f"""{_DEVICE}
INSERT INTO volt.vehicle_reading (vehicle_id, recorded_at, received_at, soc_pct, speed_kmh, battery_temp_c,
  kwh_delivered_dc, dc_register_kwh, latitude, longitude, charging_status, charging_power_kw, odometer_km)
SELECT vehicle_id, at, at + INTERVAL '1 s',
  CASE WHEN charges THEN 20 + (since_start + 1) * 0.25 ELSE 80 - (since_start - 239) * 0.05 END,
  CASE WHEN drives THEN 30 ELSE 0 END, 20 + mod(i, 10) + CASE WHEN charges THEN 5 ELSE 0 END,
  CASE WHEN vehicle_register THEN NULL WHEN charges THEN 0.092 ELSE 0 END,
  CASE WHEN vehicle_register THEN 1000 + charged * 92 / 1000.0 END, 52 + i * 0.0001, 13 + i * 0.0001,
  CASE WHEN charges THEN 'charging' ELSE 'idle' END, CASE WHEN charges THEN 5.52 ELSE 0 END,
  10000 + days * 30 + least(greatest(since_start - 299, 0), 60) * 0.5
{_MINUTES}
WHERE minute IS DISTINCT FROM late_minute
"""
_METERS = f"""{_DEVICE}
INSERT INTO volt.meter_reading (meter_id, recorded_at, received_at, kwh_consumed_ac, ac_register_kwh, voltage_v,
  current_a, power_kw)
SELECT meter_id, at, at + INTERVAL '1 s',
  CASE WHEN meter_register THEN NULL WHEN charges THEN 0.1 ELSE 0 END,
  CASE WHEN meter_register THEN 500 + charged / 10.0 END, 400, CASE WHEN charges THEN 15 ELSE 0 END,
  CASE WHEN charges THEN 6 ELSE 0 END
{_MINUTES}
"""


def _hours(device: str, kwh: str, start_kwh: int) -> str:
    """Kept hours of the days ``from`` to ``to`` of the year."""
    has_register = f"{device}_register"
    return f"""
({device}_id, hour, readings, interval_kwh, interval_readings, register_first_kwh, register_last_kwh,
  register_increase_kwh, register_readings)
SELECT {device}_id, at, 60, CASE WHEN NOT {has_register} THEN {kwh} * ({_charged(59)} - {_charged(-1)}) END,
  CASE WHEN {has_register} THEN 0 ELSE 60 END, CASE WHEN {has_register} THEN {start_kwh} + {kwh} * {_charged()} END,
  CASE WHEN {has_register} THEN {start_kwh} + {kwh} * {_charged(59)} END,
  CASE WHEN {has_register} THEN {kwh} * ({_charged(59)} - {_charged()}) END, CASE WHEN {has_register} THEN 60 ELSE 0 END
{_periods(60)}"""


def _quarters(device: str, kwh: str, start_kwh: int) -> str:
    """Kept quarter hours, likewise."""
    moved = ("", "") if device == "meter" else (", moved", ", mod(minute - 1 - starts, 1440) BETWEEN 285 AND 359")
    return f"""
({device}_id, quarter_hour, kwh, covered_s, gap_s, low_kwh, high_kwh, peak_kw, suspect, source, register_kwh{moved[0]})
SELECT {device}_id, at, energy, 900, 0, energy, energy, energy * 4, false,
  CASE WHEN {device}_register THEN 'register' ELSE 'interval' END,
  CASE WHEN {device}_register THEN {start_kwh} + {kwh} * {_charged(15)} END{moved[1]}
{_periods(15)}
CROSS JOIN LATERAL (SELECT {kwh} * ({_charged(15)} - {_charged()}) AS energy) AS quarter"""


def _efficiency(columns: str, values: str, length_min: int) -> str:
    """Kept efficiency of periods in which the vehicle charged, likewise."""
    return f"""
(vehicle_id, fleet_id, meter_id, {columns}, dc_kwh, ac_kwh, comparable_dc_kwh, comparable_ac_kwh, efficiency_pct,
  efficiency_low_pct, efficiency_high_pct, standby_kwh, unassigned_kwh, quality)
SELECT vehicle_id, fleet_id, meter_id, {values}, charged * 0.092, charged * 0.1, charged * 0.092, charged * 0.1,
  92, 92, 92, 0, 0, 'ok'
{_periods(length_min)}
CROSS JOIN LATERAL (SELECT {_charged(length_min)} - {_charged()} AS charged) AS period
WHERE charged > 0"""


def _periods(length_min: int) -> str:
    return f"""
FROM device
CROSS JOIN generate_series(%(year)s + %(from)s * 1440, %(year)s + %(to)s * 1440 - 1, {length_min}) AS minute
CROSS JOIN LATERAL (SELECT %(origin)s::timestamptz + minute * INTERVAL '1 min' AS at) AS start"""


_KEPT = {
    "vehicle_hourly": _hours("vehicle", "0.092", 1000),
    "meter_hourly": _hours("meter", "0.1", 500),
    "vehicle_quarter": _quarters("vehicle", "0.092", 1000),
    "meter_quarter": _quarters("meter", "0.1", 500),
    "efficiency_hour": _efficiency("hour", "at", 60),
    "efficiency_day": _efficiency(
        "began_at, ended_at, day", "at, at + INTERVAL '24 hours', (at AT TIME ZONE %(zone)s)::date", 1440
    ),
}
