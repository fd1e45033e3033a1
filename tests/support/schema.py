"""What the tests of the schema share: migrated databases of each edition, readings, and storing as the daemon does.

Each edition has a few databases for a module; a test speaks of its own devices only.
"""

import contextlib
import datetime as dt
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import psycopg
import pytest

from support import databases
from voltd import models
from voltd.database import queries, rollup

NOW = dt.datetime.now(dt.UTC)
Connection = psycopg.Connection[Any]
HOUR = NOW.replace(minute=0, second=0, microsecond=0) - dt.timedelta(hours=30)


@pytest.fixture(scope="module")
def connection_of(_edition_clusters: Callable[[str], databases.Cluster]) -> Iterator[Callable[..., Connection]]:
    """A function: edition, purpose -> autocommit connection to a migrated database; skips where the edition is not."""
    with contextlib.ExitStack() as stack:
        opened: dict[tuple[str, str], Connection] = {}

        def connection(edition: str, purpose: str = "common") -> Connection:
            if (edition, purpose) not in opened:
                dsn = stack.enter_context(_edition_clusters(edition).database(schema=True))
                opened[edition, purpose] = stack.enter_context(psycopg.connect(dsn, autocommit=True))
                opened[edition, purpose].execute("SET TIME ZONE 'UTC'")
            return opened[edition, purpose]

        yield connection


def at(hour: float, minute: float = 0, second: float = 0) -> dt.datetime:
    return HOUR + dt.timedelta(hours=hour, minutes=minute, seconds=second)


def _reading(kind: Any, **values: Any) -> Any:
    return kind(**dict.fromkeys(kind._fields) | values | {"received_at": values["recorded_at"]})


def vehicle(
    device: str,
    when: dt.datetime,
    *,
    kwh: float | None = None,
    register: float | None = None,
    soc: float | None = None,
    odometer: float | None = None,
    speed: float | None = None,
    onboard: float | None = None,
) -> models.VehicleReading:
    values = {
        "soc_pct": soc, "speed_kmh": speed, "kwh_delivered_dc": kwh, "dc_register_kwh": register,
        "ac_register_kwh": onboard,
    }  # fmt: skip
    made = _reading(models.VehicleReading, vehicle_id=device, recorded_at=when, odometer_km=odometer, **values)
    return cast("models.VehicleReading", made)


def meter(
    device: str,
    when: dt.datetime,
    *,
    kwh: float | None = None,
    register: float | None = None,
    power: float | None = None,
) -> models.MeterReading:
    values = {"kwh_consumed_ac": kwh, "ac_register_kwh": register, "power_kw": power}
    return cast("models.MeterReading", _reading(models.MeterReading, meter_id=device, recorded_at=when, **values))


def store(connection: Connection, readings: Sequence[models.Reading], size: int = 100) -> None:
    """In batches, as the daemon does it: watermark first, duplicates ignored, late device-hours marked."""
    for start in range(0, len(readings), size):
        batch = readings[start : start + size]
        vehicles = [one for one in batch if isinstance(one, models.VehicleReading)]
        meters = [one for one in batch if isinstance(one, models.MeterReading)]
        with connection.transaction(), connection.cursor() as cursor:
            closing = rollup.begin_batch(connection)
            for table, rows in (("vehicle_reading", vehicles), ("meter_reading", meters)):
                if rows:
                    columns = ", ".join(rows[0]._fields)
                    cursor.execute(
                        f"INSERT INTO volt.{table} ({columns}) SELECT {columns}"
                        f" FROM json_populate_recordset(NULL::volt.{table}, %s) ON CONFLICT DO NOTHING",
                        (json.dumps([one._asdict() for one in rows], default=str),),
                    )
            if closing is not None:
                rollup.mark_late(connection, closing, vehicles, meters)


def heard(connection: Connection) -> None:
    """The newest register readings of each device as its current state, which the daemon writes beside the readings."""
    for kind, register in (("vehicle", "dc"), ("vehicle", "ac"), ("meter", "ac")):
        connection.execute(
            f"INSERT INTO volt.{kind}_current AS c ({kind}_id, recorded_at, {register}_register_at)"
            f" SELECT {kind}_id, max(recorded_at), max(recorded_at) FILTER (WHERE {register}_register_kwh IS NOT NULL)"
            f" FROM volt.{kind}_reading GROUP BY {kind}_id"
            f" ON CONFLICT ({kind}_id) DO UPDATE SET {register}_register_at = excluded.{register}_register_at"
        )


def keep(connection: Connection) -> rollup.RollupResult:
    """All that voltd keeps itself, however busy the machine is."""
    result = rollup.run_once(connection, within_s=300)
    assert result.finished
    return result


def keep_at(connection: Connection, now: dt.datetime) -> None:
    """What ``rollup.run_once`` does at that time."""
    connection.execute(
        "UPDATE volt_internal.rollup_state SET closing_watermark ="
        " greatest(closing_watermark, volt_internal.quarter_hour(%s::timestamptz - INTERVAL '20 minutes'))",
        (now,),
    )
    with pytest.MonkeyPatch.context() as patch:
        text = queries.text
        patch.setattr(queries, "text", lambda name: "SELECT 1" if name == "close_quarter_hours" else text(name))
        keep(connection)


def materialise(connection: Connection) -> None:
    """One run of what voltd keeps itself, and a second that has nothing to do; on Community a refresh, too."""
    ((edition,),) = connection.execute("SHOW timescaledb.license").fetchall()
    if edition == "timescale":
        for view, until in (("vehicle_hourly", "1 hour"), ("meter_hourly", "1 hour"), ("vehicle_daily", "1 day"),
                            ("meter_daily", "1 day")):  # fmt: skip
            connection.execute(f"CALL refresh_continuous_aggregate('volt.{view}', NULL, now() - INTERVAL '{until}')")
    keep(connection)
    again = keep(connection)
    assert (again.advanced, again.recomputed) == (0, 0)


def link(
    connection: Connection,
    vehicle_id: str,
    meter_id: str,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
) -> None:
    connection.execute(
        "INSERT INTO volt.vehicle_meter (vehicle_id, meter_id, valid) VALUES (%s, %s, tstzrange(%s, %s))",
        (vehicle_id, meter_id, since, until),
    )


def compress(connection: Connection, table: str, older_than: str = "0 days") -> None:
    """What a week of age does on Community; TimescaleDB's own job may be at it, too. Apache-2 has no columnstore."""
    ((edition,),) = connection.execute("SHOW timescaledb.license").fetchall()
    if edition != "timescale":
        return
    chunks = connection.execute(
        "SELECT show_chunks(%s::regclass, older_than => now() - %s::interval)", (f"volt.{table}", older_than)
    ).fetchall()
    for (chunk,) in chunks:
        with contextlib.suppress(psycopg.errors.DuplicateObject):
            connection.execute("SELECT compress_chunk(%s, if_not_compressed => true)", (chunk,))
