"""The numbers against an oracle that knows the definition alone, and the same on both editions to the last digit."""

import datetime as dt
import random

import psycopg
import pytest

from support.energy import model, oracle
from support.schema import NOW, at, connection_of, link, materialise, meter, store, vehicle
from voltd import models
from voltd.database import queries, rollup

__all__ = ["connection_of"]  # a fixture
LIVE = ["vehicle_hourly", "meter_hourly", "vehicle_daily", "meter_daily"]  # to the newest reading
KEPT = [
    "vehicle_quarter_hourly", "meter_quarter_hourly", "vehicle_energy_hourly", "meter_energy_hourly",
    "efficiency_hourly", "efficiency_daily",
]  # fmt: skip


@pytest.fixture(params=["timescale", "apache"])
def database(connection_of, request):
    """A migrated database of each edition in turn, where hours are materialised."""
    return connection_of(request.param)


def _stream(rng):
    """A register with rises, drains and resets, with gaps of hours, at odd seconds."""
    when, value, stream = at(0), round(rng.uniform(0, 50), 3), []
    while when < at(26):
        stream.append((when, value))
        when += dt.timedelta(seconds=rng.choice([61, 600, 1800, 3600, 4 * 3600]))
        fate = rng.random()
        value = round(
            rng.uniform(0, 0.3) if fate < 0.1 else value * rng.uniform(0.9, 1) if fate < 0.2 else value + rng.random(),
            3,
        )
    return stream


def _of_the_oracle(stream):
    """Quarter hours of one register of which something is known, by the definition alone."""
    side = model.Side(tuple(model.Reading(when, None, value) for when, value in stream), model.Device(max_power_kw=400))
    return [
        (one.start, float(one.energy_kwh), float(one.low_kwh), float(one.high_kwh), one.estimated, one.suspect)
        for one in oracle.Energy(side).quarters(at(0), at(28))
        if one.source != "none" or one.covered or one.suspect
    ]


@pytest.mark.parametrize("seed", range(4))
def test_registers_equal_the_oracle_in_any_order_of_arrival(database, seed):
    """Random streams, shuffled, duplicated, half of them after the hours were materialised: the oracle's numbers."""
    rng = random.Random(seed)
    streams = {f"walk-{seed}-{n}": _stream(rng) for n in range(15)}
    readings = [vehicle(name, when, register=value) for name, stream in streams.items() for when, value in stream]
    rng.shuffle(readings)
    half = len(readings) // 2
    store(database, readings[:half])
    materialise(database)
    store(database, readings[half - 20 :])
    materialise(database)
    for name, stream in streams.items():
        kept = database.execute(
            "SELECT quarter_hour, energy_kwh::float, low_kwh::float, high_kwh::float, estimated, suspect"
            " FROM volt.vehicle_quarter_hourly WHERE vehicle_id = %s",
            (name,),
        ).fetchall()
        assert {row[0]: row[4:] for row in kept} == {row[0]: row[4:] for row in _of_the_oracle(stream)}
        assert sorted(row[:4] for row in kept) == [
            (row[0], *(pytest.approx(one, abs=1e-6) for one in row[1:4])) for row in _of_the_oracle(stream)
        ]
        hours = dict(
            database.execute(
                "SELECT hour, energy_kwh::float FROM volt.vehicle_energy_hourly WHERE vehicle_id = %s", (name,)
            ).fetchall()
        )
        assert sum(hours.values()) == pytest.approx(sum(row[1] for row in _of_the_oracle(stream)), abs=1e-6)
    daily = database.execute(
        "SELECT vehicle_id, sum(register_increase_kwh) FROM volt.vehicle_daily WHERE vehicle_id = ANY (%s) GROUP BY 1",
        (list(streams),),
    ).fetchall()
    assert {name for name, _ in daily} == streams.keys()


def _fleet(rng):
    """Both kinds, gaps, resets, drains, readings on the edge of hours, meters shared, exchanged and not linked."""
    readings: list[models.Reading] = []
    for n in range(7):
        for when, value in _stream(rng):
            readings.append(
                vehicle(f"f-{n}", when, register=value, soc=rng.randint(0, 100), odometer=when.timestamp() / 9)
            )
        for when, value in _stream(rng):
            kind = {"register": value} if n % 3 else {"kwh": round(rng.random(), 4)}
            readings.append(meter(f"f-m{n}", when, power=rng.random(), **kind))
        for hour in range(0, 28, 3):
            readings.append(vehicle(f"f-i{n}", at(hour), kwh=round(rng.random(), 4), speed=rng.randint(0, 130)))
            readings.append(meter(f"f-mi{n}", at(hour, 59, 59), kwh=round(rng.random(), 4)))
    recent = [vehicle(f"f-i{n}", NOW - dt.timedelta(seconds=n), kwh=0.25) for n in range(7)]
    return readings + recent


def test_both_editions_show_the_same_rows(connection_of):
    """The same readings, live, materialised, with late ones and after these are caught up: every view row by row."""
    connections = [connection_of("timescale", "fleet"), connection_of("apache", "fleet")]
    rng = random.Random(7)
    readings = _fleet(rng)
    rng.shuffle(readings)
    half = len(readings) // 2
    for connection in connections:
        for n in range(6):
            link(connection, f"f-{n}", f"f-m{n}", None, at(20))
            link(connection, f"f-i{n}", f"f-mi{n // 2}")
        link(connection, "f-3", "f-m4", at(20), None)

    def compare(views):
        for view in views:
            device = "meter_id" if view.startswith("meter") else "vehicle_id"
            first, second = (
                connection.execute(f"SELECT v::text FROM volt.{view} v WHERE {device} LIKE 'f-%' ORDER BY 1").fetchall()
                for connection in connections
            )
            assert first, view
            assert first == second, view

    for part in (readings[:half], readings[half:], readings[:50]):
        for connection in connections:
            store(connection, part)
        if part is readings[:half]:
            compare(LIVE)
        for connection in connections:
            materialise(connection)
        compare(LIVE + KEPT)


def test_no_late_reading_is_missed_while_quarter_hours_close(database):
    """A batch under way holds up the closing; one that comes later marks its hours."""
    materialise(database)
    database.execute("UPDATE volt_internal.rollup_state SET closing_watermark = closing_watermark - INTERVAL '2 hours'")
    with (
        psycopg.connect(database.info.dsn) as writer,
        psycopg.connect(database.info.dsn, autocommit=True) as scheduler,
    ):
        before = rollup.begin_batch(writer)
        scheduler.execute("SET lock_timeout = '200ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            scheduler.execute(queries.text("close_quarter_hours"))
        writer.commit()
        (after,) = scheduler.execute(queries.text("close_quarter_hours")).fetchone()
        assert after > before
        assert rollup.begin_batch(writer) == after
