"""Charging sessions of simulated vehicles, rebuilt from a reading a minute: what was really charged, and when."""

import dataclasses
import datetime as dt
import random

import pytest

from support.energy import model
from support.sessions.model import Meter, Reading, World
from support.sessions.rows import put
from voltd.simulate.fleet import meter as simulated_meter
from voltd.simulate.fleet import vehicle as simulated_vehicle

DAY = dt.datetime(2026, 3, 28, tzinfo=dt.UTC)
STEP_S, REPORT_S, DAYS = 10, 60, 3
Activity = simulated_vehicle.Activity


@dataclasses.dataclass
class Charged:
    """What really was: from when to when energy flowed, and how much, kWh."""

    began_at: dt.datetime
    ended_at: dt.datetime
    dc_kwh: float = 0.0
    ac_kwh: float = 0.0


def _live(seed):
    """A vehicle and its meter for some days: what they report, and the truth."""
    rng = random.Random(seed)
    meter = simulated_meter.Meter(rng)
    car = simulated_vehicle.Vehicle(
        rng.choice(simulated_vehicle.MODELS), (52.5, 13.4), Activity.AWAY, rng, meter.charger_kw
    )
    dc, ac, moved = 500.0, 900.0, True
    readings, metered, truth = [], [], []
    for step in range(DAYS * 86400 // STEP_S):
        now = DAY + dt.timedelta(seconds=(step + 1) * STEP_S)
        car.advance(now.timestamp(), STEP_S, rng)
        meter.advance(now.timestamp(), STEP_S, car.dc_kwh, rng)
        dc, ac = dc + car.dc_kwh, ac + meter.ac_kwh
        moved = moved or car.speed_kmh > 0
        if car.dc_kwh > 0:
            if moved:
                truth.append(Charged(now - dt.timedelta(seconds=STEP_S), now))
            moved = False
            truth[-1].ended_at = now
            truth[-1].dc_kwh += car.dc_kwh
            truth[-1].ac_kwh += meter.ac_kwh
        if (step + 1) * STEP_S % REPORT_S == 0:
            readings.append(
                Reading(now, car.charging_status, None, car.speed_kmh, car.odometer_km, register_kwh=round(dc, 6))
            )
        if (step + 3) * STEP_S % REPORT_S == 0:
            metered.append(model.Reading(now, register_kwh=round(ac, 6)))
    return World(tuple(readings), (Meter(model.Side(tuple(metered), model.Device(max_power_kw=400))),)), truth


@pytest.mark.parametrize("seed", range(3))
def test_sessions_of_simulated_vehicles(connection_of, seed):
    """Start and end within one reporting interval, energy to 0.1 %, and none more or less."""
    connection = connection_of("apache" if seed % 2 else "timescale")
    world, truth = _live(seed)
    put(connection, f"simulated-{seed}", world)
    found = connection.execute(
        "SELECT start_date_time, end_date_time, kwh::float, dc_kwh::float, quality"
        " FROM volt.charging_sessions(%s, %s, %s)",
        (f"simulated-{seed}", DAY, DAY + dt.timedelta(days=DAYS + 1)),
    ).fetchall()
    # The last one may have gone on.
    assert len(found) == len(truth) > 1
    interval = dt.timedelta(seconds=REPORT_S)
    for (start, end, kwh, dc_kwh, quality), true in list(zip(found, truth, strict=True))[:-1]:
        assert abs(start - true.began_at) <= interval
        assert abs(end - true.ended_at) <= interval
        assert dc_kwh == pytest.approx(true.dc_kwh, rel=0.001)
        assert kwh == pytest.approx(true.ac_kwh, rel=0.001)
        assert quality == "ok"
