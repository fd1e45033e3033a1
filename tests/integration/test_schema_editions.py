"""The numbers: by hand, against a plain walk over the readings, and the same on both editions to the last digit.

Each edition has a few migrated databases for the module; a test speaks of its own devices only.
"""

import contextlib
import datetime as dt
import decimal
import random
import secrets

import psycopg
import pytest
from psycopg import conninfo

from voltd import models
from voltd.database import migrate, queries, rollup

NOW = dt.datetime.now(dt.UTC)
HOUR = NOW.replace(minute=0, second=0, microsecond=0) - dt.timedelta(hours=30)
VIEWS = [
    "vehicle_hourly", "meter_hourly", "vehicle_daily", "meter_daily", "vehicle_energy_hourly", "meter_energy_hourly",
    "efficiency_hourly", "efficiency_daily",
]  # fmt: skip


@pytest.fixture(scope="module")
def connection_of(_edition_servers):
    """A function: edition, purpose -> autocommit connection to a migrated database; skips where the edition is not."""
    with contextlib.ExitStack() as stack:
        opened = {}

        def connection(edition, purpose="common"):
            if (edition, purpose) not in opened:
                admin_dsn = _edition_servers(edition)
                name = f"test_{secrets.token_hex(6)}"
                admin = stack.enter_context(psycopg.connect(admin_dsn, autocommit=True))
                admin.execute(f"CREATE DATABASE {name}")
                stack.callback(admin.execute, f"DROP DATABASE {name} WITH (FORCE)")
                dsn = conninfo.make_conninfo(admin_dsn, dbname=name)
                migrate.migrate(dsn, migrate.MigrateOptions(), report=lambda _line: None)
                opened[edition, purpose] = stack.enter_context(psycopg.connect(dsn, autocommit=True))
                opened[edition, purpose].execute("SET TIME ZONE 'UTC'")
            return opened[edition, purpose]

        yield connection


@pytest.fixture(params=["timescale", "apache"])
def database(connection_of, request):
    """A migrated database of each edition in turn, where hours are materialised."""
    return connection_of(request.param)


@pytest.fixture(params=["timescale-live", "timescale-stored", "apache-live", "apache-stored"])
def stored(connection_of, request):
    """A function that stores readings on each edition in turn and returns the connection.

    Live: nothing is ever materialised there; stored: everything is, so that both halves of the views are seen.
    """
    edition, _, half = request.param.partition("-")
    connection = connection_of(edition, "live" if half == "live" else "common")

    def store_all(readings):
        store(connection, readings)
        if half == "stored":
            materialise(connection)
        return connection

    store_all.connection = connection
    return store_all


def at(hour, minute=0, second=0):
    return HOUR + dt.timedelta(hours=hour, minutes=minute, seconds=second)


def vehicle(device, when, *, kwh=None, register=None, soc=None, odometer=None, speed=None):
    return models.VehicleReading(
        device, when, soc, speed, None, kwh, register, None, None, None, odometer, None, when
    )  # fmt: skip


def meter(device, when, *, kwh=None, register=None, power=None):
    return models.MeterReading(device, when, kwh, register, None, None, power, when)


def store(connection, readings, size=100):
    """In batches, as the daemon does it: watermark first, duplicates ignored, late device-hours marked."""
    for start in range(0, len(readings), size):
        batch = readings[start : start + size]
        vehicles = [one for one in batch if isinstance(one, models.VehicleReading)]
        meters = [one for one in batch if isinstance(one, models.MeterReading)]
        with connection.transaction(), connection.cursor() as cursor:
            closing = rollup.begin_batch(connection)
            for table, rows in (("vehicle_reading", vehicles), ("meter_reading", meters)):
                if rows:
                    marks = ", ".join(["%s"] * len(rows[0]))
                    cursor.executemany(f"INSERT INTO volt.{table} VALUES ({marks}) ON CONFLICT DO NOTHING", rows)
            if closing is not None:
                rollup.mark_late(connection, closing, vehicles, meters)


def materialise(connection):
    """Community: refresh; Apache-2: one run of the roll-up. Twice, the second has nothing to do."""
    (edition,) = connection.execute("SHOW timescaledb.license").fetchone()
    if edition == "timescale":
        for view, until in (("vehicle_hourly", "1 hour"), ("meter_hourly", "1 hour"), ("vehicle_daily", "1 day"),
                            ("meter_daily", "1 day")):  # fmt: skip
            connection.execute(f"CALL refresh_continuous_aggregate('volt.{view}', NULL, now() - INTERVAL '{until}')")
        return
    assert rollup.run_once(connection).finished
    again = rollup.run_once(connection)
    assert (again.advanced, again.recomputed, again.finished) == (0, 0, True)


def link(connection, vehicle_id, meter_id, since=None, until=None):
    connection.execute(
        "INSERT INTO volt.vehicle_meter (vehicle_id, meter_id, valid) VALUES (%s, %s, tstzrange(%s, %s))",
        (vehicle_id, meter_id, since, until),
    )


def efficiency(connection, vehicle_id):
    return connection.execute(
        "SELECT hour, dc_kwh::float, ac_kwh::float, efficiency_pct::float, quality FROM volt.efficiency_hourly"
        " WHERE vehicle_id = %s ORDER BY hour",
        (vehicle_id,),
    ).fetchall()


def test_interval_energy_by_hand(stored):
    """Sixty minutes of 0.15 kWh DC and 0.16 kWh AC: 9.0 of 9.6 kWh, 93.75 %, whole coverage."""
    link(stored.connection, "hand-1", "hand-m1")
    database = stored(
        [vehicle("hand-1", at(0, n), kwh=0.15) for n in range(60)]
        + [meter("hand-m1", at(0, n), kwh=0.16) for n in range(60)]
    )
    assert efficiency(database, "hand-1") == [(at(0), 9.0, 9.6, 93.75, "ok")]


def test_registers_by_hand(stored):
    """DC 100 -> 109 and AC 200 -> 210 over the hour, counted from the last reading before it: 9 of 10 kWh, 90 %."""
    link(stored.connection, "hand-2", "hand-m2")
    dc = [(at(0, 50), 100), (at(3, 10), 104), (at(3, 40), 109)]
    ac = [(at(0, 55), 200), (at(3, 5), 203), (at(3, 45), 210)]
    database = stored(
        [vehicle("hand-2", when, register=kwh) for when, kwh in dc]
        + [meter("hand-m2", when, register=kwh) for when, kwh in ac]
    )
    # The first hour has one reading of each register: energy unknown, so no row.
    assert efficiency(database, "hand-2") == [(at(3), 9.0, 10.0, 90.0, "partial")]


def test_a_reset_adds_the_new_value_and_drain_adds_nothing(stored):
    """36.6 -> 34.4 is drain (0), 34.4 -> 1.5 is a reset (1.5), then 1.5 -> 2.0: 2.0 kWh in all, also across hours."""
    values = [(0, 36.6), (1, 34.4), (2, 1.5), (3, 2.0)]
    database = stored(
        [vehicle("hand-3", at(hour, 30), register=value) for hour, value in values]
        + [vehicle("hand-3b", at(0, 10 * n), register=value) for n, value in values]
    )
    rows = database.execute(
        "SELECT energy_kwh::float FROM volt.vehicle_energy_hourly WHERE vehicle_id = 'hand-3' ORDER BY hour"
    ).fetchall()
    assert rows == [(None,), (0.0,), (1.5,), (0.5,)]
    row = database.execute(
        "SELECT energy_kwh::float, source FROM volt.vehicle_energy_hourly WHERE vehicle_id = 'hand-3b'"
    ).fetchone()
    assert row == (2.0, "register")


def test_what_is_missing_is_null_and_named(stored):
    """Each quality in its situation; efficiency is NULL where a side is missing or AC is 0."""
    ids = ["no-link", "ac-zero", "no-dc", "over", "under", "dc-zero", "shared-a", "shared-b"]
    for name in ids[1:]:
        link(stored.connection, name, "m-shared" if name.startswith("shared") else f"m-{name}")
    dc = {"no-link": 1, "ac-zero": 1, "over": 1.1, "under": 0.1, "dc-zero": 0, "shared-a": 0.5, "shared-b": 0.4}
    ac = {"m-ac-zero": 0, "m-no-dc": 1, "m-over": 1, "m-under": 1, "m-dc-zero": 1, "m-shared": 1, "m-alone": 5}
    database = stored(
        [vehicle(name, at(5, n), kwh=kwh / 60) for name, kwh in dc.items() for n in range(60)]
        + [meter(name, at(5, n), kwh=kwh / 60) for name, kwh in ac.items() for n in range(60)]
    )
    rows = database.execute(
        "SELECT vehicle_id, efficiency_pct::float, quality FROM volt.efficiency_hourly WHERE vehicle_id = ANY (%s)"
        " OR meter_id = 'm-alone'",
        (ids,),
    ).fetchall()
    assert {(name, None if pct is None else round(pct), quality) for name, pct, quality in rows} == {
        ("no-link", None, "no_ac"),
        ("ac-zero", None, "no_ac"),
        ("no-dc", None, "no_dc"),
        ("over", 110, "suspect"),
        ("under", 10, "suspect"),
        ("dc-zero", 0, "suspect"),
        ("shared-a", 50, "shared_meter"),
        ("shared-b", 40, "shared_meter"),
    }


def test_two_meters_in_one_hour_are_summed_and_the_same_one_twice_is_not(stored):
    """Links that change within the hour: distinct meters in the order of their links."""
    link(stored.connection, "moved", "m-1", None, at(7, 20))
    link(stored.connection, "moved", "m-0", at(7, 20), None)
    link(stored.connection, "twice", "m-2", None, at(7, 20))
    link(stored.connection, "twice", "m-2", at(7, 30), None)
    database = stored([meter(name, at(7, 5), kwh=2) for name in ("m-0", "m-1", "m-2")])
    rows = database.execute(
        "SELECT vehicle_id, meter_id, ac_kwh::int, ac_readings::int FROM volt.efficiency_hourly"
        " WHERE vehicle_id IN ('moved', 'twice') AND hour = %s ORDER BY 1",
        (at(7),),
    ).fetchall()
    assert rows == [("moved", "m-1, m-0", 4, 2), ("twice", "m-2", 2, 1)]


def _oracle(stream):
    """Energy by hour of one register, from a plain walk in the order of time."""
    energy, previous, first_hour = {}, None, {}
    for when, value in sorted(stream):
        hour = when.replace(minute=0, second=0, microsecond=0)
        now = decimal.Decimal(repr(value))
        first_hour.setdefault(hour, []).append(now)
        energy.setdefault(hour, decimal.Decimal(0))
        if previous is not None:
            energy[hour] += now - previous if now >= previous else now if now < previous / 2 else 0
        previous = now
    first = min(energy)
    return {hour: None if hour == first and len(first_hour[hour]) == 1 else kwh for hour, kwh in energy.items()}


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


@pytest.mark.parametrize("seed", range(4))
def test_registers_equal_a_plain_walk_in_any_order_of_arrival(database, seed):
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
    rows = database.execute(
        "SELECT vehicle_id, hour, energy_kwh FROM volt.vehicle_energy_hourly WHERE vehicle_id = ANY (%s)",
        (list(streams),),
    ).fetchall()
    assert {(name, hour): kwh for name, hour, kwh in rows} == {
        (name, hour): kwh for name, stream in streams.items() for hour, kwh in _oracle(stream).items()
    }
    daily = database.execute(
        "SELECT vehicle_id, sum(register_increase_kwh) FROM volt.vehicle_daily WHERE vehicle_id = ANY (%s) GROUP BY 1",
        (list(streams),),
    ).fetchall()
    assert {name for name, _ in daily} == streams.keys()


def _fleet(rng):
    """Both kinds, gaps, resets, drains, readings on the edge of hours, meters shared, exchanged and not linked."""
    readings = []
    for n in range(12):
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
    recent = [vehicle(f"f-i{n}", NOW - dt.timedelta(seconds=n), kwh=0.25) for n in range(12)]
    return readings + recent


def test_both_editions_show_the_same_rows(connection_of):
    """The same readings, live, materialised, with late ones and after these are caught up: every view row by row."""
    connections = [connection_of("timescale", "fleet"), connection_of("apache", "fleet")]
    rng = random.Random(7)
    readings = _fleet(rng)
    rng.shuffle(readings)
    half = len(readings) // 2
    for connection in connections:
        for n in range(11):
            link(connection, f"f-{n}", f"f-m{n}", None, at(20))
            link(connection, f"f-i{n}", f"f-mi{n // 2}")
        link(connection, "f-3", "f-m4", at(20), None)

    def compare():
        for view in VIEWS:
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
            compare()
        for connection in connections:
            materialise(connection)
        compare()


def test_no_late_reading_is_missed_while_hours_close(connection_of):
    """Apache-2: a batch under way holds up the closing; one that comes later marks its hours."""
    connection = connection_of("apache")
    materialise(connection)
    connection.execute("UPDATE volt.rollup_state SET closing_watermark = closing_watermark - INTERVAL '2 hours'")
    with (
        psycopg.connect(connection.info.dsn) as writer,
        psycopg.connect(connection.info.dsn, autocommit=True) as scheduler,
    ):
        before = rollup.begin_batch(writer)
        scheduler.execute("SET lock_timeout = '200ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            scheduler.execute(queries.text("rollup_close_hours"))
        writer.commit()
        (after,) = scheduler.execute(queries.text("rollup_close_hours")).fetchone()
        assert after > before
        assert rollup.begin_batch(writer) == after
