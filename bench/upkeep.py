"""Keeps figures up to date for the analysts' benchmark as the daemon and TimescaleDB's jobs do, and what that costs."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
import pathlib
import time
from collections.abc import Callable

import psycopg
from fleet import DC_KWH, Fleet, has_register, vehicle_id
from rig import Rig

from voltd import config, models
from voltd.database import connections, rollup
from voltd.pipeline.decode import decoder
from voltd.pipeline.write import store

_KEPT_UNTIL = {
    "volt_internal.vehicle_hourly_rollup": "hour",
    "volt_internal.meter_hourly_rollup": "hour",
    "volt_internal.vehicle_quarter": "quarter_hour",
    "volt_internal.meter_quarter": "quarter_hour",
    "volt_internal.efficiency_hour": "hour",
    "volt_internal.efficiency_day": "began_at",
}


@dataclasses.dataclass(frozen=True)
class Cost:
    """Seconds on the clock, and of CPU in PostgreSQL and in this process together."""

    wall_s: float
    cpu_s: float


def cost(rig: Rig, work: Callable[[], None]) -> Cost:
    """What the work costs; 0 s of CPU where the server's processes cannot be seen."""
    postmaster = _postmaster(rig)
    began, cpu_s = time.monotonic(), _cpu_s(postmaster)
    work()
    return Cost(time.monotonic() - began, _cpu_s(postmaster) - cpu_s)


def pause_jobs(rig: Rig) -> None:
    """Keeps TimescaleDB's own jobs of this database from running, as the benchmark runs them when it is their turn."""
    if rig.edition.file_suffix == "community":
        with psycopg.connect(rig.dsn, autocommit=True) as connection:
            connection.execute(
                "SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs WHERE job_id >= 1000"
            )


def bring_up_to_date(rig: Rig) -> None:
    """Computes whatever is kept from readings, until nothing is left."""
    with psycopg.connect(rig.dsn, autocommit=True) as connection:
        while not rollup.run_once(connection, within_s=600).finished:
            pass
        for (job,) in connection.execute(
            "SELECT job_id FROM timescaledb_information.jobs"
            " WHERE proc_name = 'policy_refresh_continuous_aggregate' ORDER BY job_id"
        ).fetchall():
            connection.execute(f"CALL run_job({job})".encode())


def open_again(rig: Rig, fleet: Fleet) -> None:
    """Takes back that the hour after ``midnight`` has been closed, which only its first reading was there for."""
    with psycopg.connect(rig.dsn) as connection:
        for table, column in _KEPT_UNTIL.items():
            if connection.execute("SELECT to_regclass(%s)", [table]).fetchone() != (None,):
                connection.execute(f"DELETE FROM {table} WHERE {column} >= %s".encode(), [fleet.midnight])
        for name in ("closing_watermark", "watermark", "energy_watermark", "efficiency_watermark"):
            connection.execute(
                f"UPDATE volt_internal.rollup_state SET {name} = %(midnight)s WHERE {name} > %(midnight)s".encode(),
                {"midnight": fleet.midnight},
            )


def late_readings(rig: Rig, fleet: Fleet) -> None:
    """Writes the missing readings as the daemon does, in one batch, and brings all up to date."""
    now = dt.datetime.now(dt.UTC)
    messages = [
        models.Message(f"volt/vehicle/{vehicle_id(one)}/telemetry", _payload(fleet, one), one, now)
        for one in range(1, fleet.late + 1)
    ]
    batch = decoder.Decoder(config.Topics(), config.Limits(), 90).decode(messages)
    writer = store.PostgresStore(connections.connector(config.Settings(database={"dsn": rig.dsn})), "bench-late")
    written = writer.write(batch).vehicles_written
    writer.close()
    if written != fleet.late:
        raise RuntimeError(f"{written} late readings instead of {fleet.late}: the figure is invalid")
    bring_up_to_date(rig)


def _payload(fleet: Fleet, vehicle: int) -> bytes:
    at = fleet.late_at(vehicle)
    energy = {"kwhDeliveredDc": DC_KWH}
    if has_register(vehicle):
        energy = {"kwhDeliveredDcTotal": round(1000 + DC_KWH * fleet.charged_min(vehicle, at), 3)}
    return json.dumps({"timestamp": at.isoformat(), "speed": 0, "chargingStatus": "charging", **energy}).encode()


def _postmaster(rig: Rig) -> int | None:
    with psycopg.connect(rig.dsn) as connection:
        ((folder,),) = connection.execute("SHOW data_directory").fetchall()
    try:
        return int((pathlib.Path(folder) / "postmaster.pid").read_text().split()[0])
    except OSError:  # in a container
        return None


def _cpu_s(postmaster: int | None) -> float:
    """CPU seconds so far of this process, the server's, and those that it has ended."""
    ticks = 0
    for file in pathlib.Path("/proc").glob("[0-9]*/stat") if postmaster else ():
        try:
            fields = file.read_text().rsplit(")", 1)[1].split()
        except OSError:  # has ended since
            continue
        if file.parent.name == str(postmaster):
            ticks += sum(map(int, fields[11:15]))  # with its ended children
        elif int(fields[1]) == postmaster:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK") + time.process_time()
