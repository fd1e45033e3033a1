"""volt.efficiency_quarter_hourly: the definition by quarter hour, and plans of what is asked for alone."""

import datetime as dt

import pytest

from support.energy.world import START, World, on
from support.schema import connection_of, link, materialise, store

__all__ = ["connection_of"]  # a fixture
_COLUMNS = (
    "dc_kwh, ac_kwh, comparable_dc_kwh, comparable_ac_kwh, efficiency_pct, efficiency_low_pct, efficiency_high_pct,"
    " standby_kwh, unassigned_kwh, meter_id, source, quality"
)
_NUMBERS = 9


@pytest.fixture(scope="module", params=["timescale", "apache"])
def world(connection_of, request):
    made = World(connection_of(request.param), "quarters")
    made.build()
    store(made.connection, list(made.readings()), 5000)
    link(made.connection, made.id("a"), made.id("n"), on(21, 10), on(28, 4))
    materialise(made.connection)
    return made


def _rounded(rows):
    return [
        tuple(round(one, 6) if one is not None and 1 <= at <= _NUMBERS else one for at, one in enumerate(row))
        for row in rows
    ]


def _shown(world, vehicle, condition="true"):
    return world.sql(
        f"SELECT quarter_hour, {_COLUMNS} FROM volt.efficiency_quarter_hourly"
        f" WHERE vehicle_id = %(vehicle)s AND {condition} ORDER BY quarter_hour", vehicle=vehicle,
    ).fetchall()  # fmt: skip


def _defined(world, vehicle):
    return world.sql(
        "WITH quarter AS (SELECT array_agg(q) AS at FROM generate_series("
        " %(start)s, (SELECT energy_watermark FROM volt_internal.rollup_state) - INTERVAL '1 second',"
        " INTERVAL '15 minutes') AS q),"
        " ends AS (SELECT array_agg(q + INTERVAL '15 minutes') AS at FROM quarter CROSS JOIN unnest(quarter.at) AS q)"
        f" SELECT k.began_at, {_COLUMNS} FROM quarter, ends, volt_internal.kept_figures("
        " array_fill(%(vehicle)s::text, ARRAY[cardinality(quarter.at)]), quarter.at, ends.at) k"
        " WHERE dc_kwh > 0 OR ac_kwh > 0 ORDER BY 1",
        start=START - dt.timedelta(days=1), vehicle=vehicle,
    ).fetchall()  # fmt: skip


def test_they_are_as_defined(world):
    """Shared meters, two meters at a time, edges of links, gaps, resets, driving; and after the readings are gone."""
    qualities = set()
    for vehicle in world.vehicles:
        rows = _rounded(_shown(world, vehicle))
        assert rows == _rounded(_defined(world, vehicle))
        qualities |= {row[-1] for row in rows}
    assert {"ok", "shared_meter", "estimated", "no_ac", "idle", "unassigned"} <= qualities
    with world.connection.transaction(force_rollback=True):
        world.sql("UPDATE volt_internal.rollup_state SET dropped_before = %(at)s", at=on(60))
        world.sql("DELETE FROM volt.meter_reading WHERE meter_id = ANY (%(meters)s)", meters=world.meters)
        for vehicle in world.vehicles:
            assert _rounded(_shown(world, vehicle)) == _rounded(_defined(world, vehicle))


def test_a_fleet_has_its_vehicles_while_they_are_in_it(world):
    """By full hours, as in volt.efficiency_hourly; b changes at half past ten. An analyst may read it."""
    with world.connection.transaction(force_rollback=True):
        world.sql("SET LOCAL ROLE volt_reader")
        first, last = world.sql(
            "SELECT min(quarter_hour), max(quarter_hour) FROM volt.efficiency_quarter_hourly"
            " WHERE fleet_id = %(g)s AND vehicle_id = %(b)s"
        ).fetchone()
        assert first < last < on(11)
        together = "SELECT vehicle_id, fleet_id, {} AS hour, sum(dc_kwh), sum(ac_kwh) FROM volt.{} GROUP BY 1, 2, 3"
        quarters = together.format("date_trunc('hour', quarter_hour, 'UTC')", "efficiency_quarter_hourly")
        ((differences,),) = world.sql(
            f"SELECT count(*) FROM (({together.format('hour', 'efficiency_hourly')}) EXCEPT ({quarters})) d"
            " WHERE vehicle_id = ANY (%(vehicles)s)",
            vehicles=world.vehicles,
        ).fetchall()
        assert differences == 0


@pytest.mark.parametrize("condition", ["vehicle_id = %(a)s", "fleet_id = %(f)s"])
def test_a_plan_reads_the_period_asked_for(world, condition):
    """Other chunks are not in it, whether one vehicle is asked for or a fleet."""
    values = {"start": START, "until": START + dt.timedelta(days=1)}
    for kind in ("vehicle", "meter"):
        world.sql(
            f"INSERT INTO volt_internal.{kind}_quarter SELECT (jsonb_populate_record(q, jsonb_build_object("
            f" 'quarter_hour', q.quarter_hour - INTERVAL '28 days'))).* FROM volt_internal.{kind}_quarter q"
            " WHERE q.quarter_hour >= %(start)s ON CONFLICT DO NOTHING",
            **values,
        )
    lines = world.sql(
        f"EXPLAIN SELECT * FROM volt.efficiency_quarter_hourly WHERE {condition}"
        " AND quarter_hour >= %(start)s AND quarter_hour < %(until)s",
        **values,
    ).fetchall()
    plan = "\n".join(line for (line,) in lines)
    chunks = world.sql(
        "SELECT chunk_name, range_start <= %(until)s AND range_end > %(start)s FROM timescaledb_information.chunks"
        " WHERE hypertable_name IN ('vehicle_quarter', 'meter_quarter')",
        **values,
    ).fetchall()
    assert {asked for _, asked in chunks} == {True, False}
    assert [name for name, asked in chunks if not asked and f"{name} " in plan] == []
    assert any(f"{name} " in plan for name, asked in chunks if asked)
