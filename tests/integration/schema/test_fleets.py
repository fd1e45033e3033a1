"""Fleets over time: memberships follow the registry, the past stays, and efficiency shows the fleet of its hour."""

import datetime as dt

import psycopg
import pytest

from support.schema import NOW, at, connection_of, link, materialise, meter, store, vehicle
from voltd.database import migrate

__all__ = ["connection_of"]  # a fixture
SINCE = NOW - dt.timedelta(minutes=5)  # before every change that a test makes


@pytest.fixture(params=["timescale", "apache"])
def database(connection_of, request):
    """A migrated database of each edition in turn; every test has fleets and vehicles of its own."""
    return connection_of(request.param)


def register(database, vehicle_id, fleet_id, *fleets):
    for fleet in {fleet_id, *fleets} - {None}:
        database.execute("INSERT INTO volt.fleet (fleet_id) VALUES (%s) ON CONFLICT DO NOTHING", (fleet,))
    database.execute("INSERT INTO volt.vehicle (vehicle_id, fleet_id) VALUES (%s, %s)", (vehicle_id, fleet_id))


def move(database, vehicle_id, fleet_id):
    database.execute("UPDATE volt.vehicle SET fleet_id = %s WHERE vehicle_id = %s", (fleet_id, vehicle_id))


def memberships(database, vehicle_id):
    """Fleet, and whether the membership begins and ends at a change that was made during the test; None: unbounded."""
    rows = database.execute(
        "SELECT fleet_id, lower(valid), upper(valid) FROM volt.fleet_membership WHERE vehicle_id = %s"
        " ORDER BY lower(valid) NULLS FIRST",
        (vehicle_id,),
    ).fetchall()
    return [(fleet, begin and begin > SINCE, end and end > SINCE) for fleet, begin, end in rows]


def test_the_first_registration_speaks_for_the_past(database):
    """A vehicle is in its fleet always; one without a fleet is in none until it is given one, and from then on."""
    register(database, "m-1", "m-a")
    register(database, "m-2", None)
    assert memberships(database, "m-1") == [("m-a", None, None)]
    assert memberships(database, "m-2") == []
    move(database, "m-2", "m-a")
    assert memberships(database, "m-2") == [("m-a", True, None)]


def test_a_change_ends_one_membership_and_begins_another(database):
    """Both at the same moment; the same fleet again changes nothing, no fleet ends it."""
    register(database, "c-1", "c-a", "c-b")
    move(database, "c-1", "c-b")
    changed = [("c-a", None, True), ("c-b", True, None)]
    assert memberships(database, "c-1") == changed
    move(database, "c-1", "c-b")
    database.execute("UPDATE volt.vehicle SET status = 'maintenance' WHERE vehicle_id = 'c-1'")
    assert memberships(database, "c-1") == changed
    move(database, "c-1", None)
    assert memberships(database, "c-1") == [("c-a", None, True), ("c-b", True, True)]


def test_two_changes_in_one_transaction_leave_the_last(database):
    """A membership that lasts no time is none."""
    register(database, "t-1", "t-a", "t-b", "t-c")
    with database.transaction():
        move(database, "t-1", "t-b")
        move(database, "t-1", "t-c")
    assert memberships(database, "t-1") == [("t-a", None, True), ("t-c", True, None)]


def test_a_transaction_that_began_earlier_may_change_it_later(database):
    """It takes place behind the one that it waited for, and overlaps nothing."""
    register(database, "o-1", "o-a", "o-b", "o-c")
    with psycopg.connect(database.info.dsn) as early:
        early.execute("SELECT now()")
        move(database, "o-1", "o-b")
        move(early, "o-1", "o-c")
        early.commit()
    assert memberships(database, "o-1") == [("o-a", None, True), ("o-c", True, None)]


def test_a_fleet_that_is_renamed_is_the_same_fleet(database):
    """Vehicles and memberships have the new name, and nothing has ended."""
    register(database, "r-1", "r-a", "r-b")
    move(database, "r-1", "r-b")
    database.execute("UPDATE volt.fleet SET fleet_id = 'r-new' WHERE fleet_id = 'r-b'")
    database.execute("UPDATE volt.fleet SET fleet_id = 'r-old' WHERE fleet_id = 'r-a'")
    assert memberships(database, "r-1") == [("r-old", None, True), ("r-new", True, None)]


def test_the_past_outlives_the_registry(database):
    """A vehicle that is deleted was in its fleet until then; registered again, it is in one from then on."""
    register(database, "d-1", "d-a", "d-b")
    database.execute("DELETE FROM volt.vehicle WHERE vehicle_id = 'd-1'")
    assert memberships(database, "d-1") == [("d-a", None, True)]
    register(database, "d-1", "d-b")
    assert memberships(database, "d-1") == [("d-a", None, True), ("d-b", True, None)]
    database.execute("UPDATE volt.vehicle SET vehicle_id = 'd-2' WHERE vehicle_id = 'd-1'")
    assert memberships(database, "d-1") == [("d-a", None, True), ("d-b", True, True)]
    assert memberships(database, "d-2") == [("d-b", None, None)]
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        database.execute("DELETE FROM volt.fleet WHERE fleet_id = 'd-a'")


def test_the_past_may_be_corrected(database):
    """As docs/analysts.md shows; memberships may be loaded before the vehicle is registered."""
    register(database, "EV-0042", "north", "south")
    move(database, "EV-0042", "south")
    with database.transaction():
        for fleet, valid in (("north", "(,2026-03-01 00:00Z)"), ("south", "[2026-03-01 00:00Z,)")):
            database.execute(
                "UPDATE volt.fleet_membership SET valid = %s WHERE vehicle_id = 'EV-0042' AND fleet_id = %s",
                (valid, fleet),
            )
    assert memberships(database, "EV-0042") == [("north", None, False), ("south", False, None)]
    with database.transaction():
        database.execute("DELETE FROM volt.fleet_membership WHERE vehicle_id = 'EV-0042'")
        database.execute("INSERT INTO volt.fleet_membership VALUES ('EV-0042', 'south'), ('EV-0043', 'south')")
    register(database, "EV-0043", "south")
    assert memberships(database, "EV-0042") == memberships(database, "EV-0043") == [("south", None, None)]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM volt.fleet_membership WHERE vehicle_id = 'n-1'",
        "UPDATE volt.fleet_membership SET fleet_id = 'n-b' WHERE vehicle_id = 'n-1'",
        "UPDATE volt.fleet_membership SET valid = '(,2030-01-01)' WHERE vehicle_id = 'n-1'",
        "INSERT INTO volt.fleet_membership VALUES ('n-2', 'n-a')",
    ],
)
def test_the_fleet_of_now_is_the_registrys(database, statement):
    """Memberships that say another fleet than vehicle.fleet_id are refused, with where to set it."""
    if not database.execute("SELECT FROM volt.vehicle WHERE vehicle_id = 'n-1'").fetchall():
        register(database, "n-1", "n-a", "n-b")
        register(database, "n-2", None)
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation) as raised:
        database.execute(statement)
    assert raised.value.diag.constraint_name == "fleet_membership_of_now"
    assert "vehicle n-" in raised.value.diag.message_primary
    assert "UPDATE volt.vehicle SET fleet_id" in raised.value.diag.message_hint
    assert memberships(database, "n-1") == [("n-a", None, None)]


def test_memberships_do_not_overlap_and_end_with_nothing_but_a_time(database):
    """A vehicle is in one fleet at a time; an unbounded end is left out and not infinity."""
    register(database, "x-1", "x-a", "x-b")
    for valid, constraint in (
        ("[2020-01-01,2021-01-01)", "fleet_membership_no_overlap"),
        ("[2020-01-01,infinity)", "fleet_membership_valid_ends"),
        ("empty", "fleet_membership_valid_not_empty"),
    ):
        with pytest.raises(psycopg.errors.IntegrityError) as raised:
            database.execute("INSERT INTO volt.fleet_membership VALUES ('x-1', 'x-b', %s)", (valid,))
        assert raised.value.diag.constraint_name == constraint


def test_a_migration_fills_in_what_is_there(database_of):
    """Vehicles that were registered before memberships were recorded have always been in their fleet."""
    dsn = database_of("apache", schema=True)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("ALTER TABLE volt.vehicle DISABLE TRIGGER USER")
        register(connection, "old-1", "old-a")
        register(connection, "old-2", None)
        connection.execute("ALTER TABLE volt.vehicle ENABLE TRIGGER USER")
        for _ in range(2):
            migrate.migrate(dsn, migrate.MigrateOptions(), report=lambda _line: None)
            assert memberships(connection, "old-1") == [("old-a", None, None)]
            assert memberships(connection, "old-2") == []


def test_a_fleets_time_zone_is_one_that_postgresql_knows(database):
    """A misspelt zone, or an offset that looks like one, is refused with what to write; NULL is the setting's."""
    database.execute("INSERT INTO volt.fleet (fleet_id, timezone) VALUES ('z-1', 'Europe/Berlin'), ('z-2', NULL)")
    for zone in ("Europe/Berln", "Berlin+2", "europe/berlin", ""):
        with pytest.raises(psycopg.errors.CheckViolation, match="knows no time zone") as raised:
            database.execute("UPDATE volt.fleet SET timezone = %s WHERE fleet_id = 'z-2'", (zone,))
        assert raised.value.diag.constraint_name == "fleet_timezone_known"
        assert "Europe/Berlin" in raised.value.diag.message_hint
    database.execute("UPDATE volt.fleet SET timezone = 'Asia/Kolkata' WHERE fleet_id = 'z-2'")


def _charged(database, vehicle_id):
    """Four hours of 5.4 kWh DC, three of 6 kWh AC: 90 %, and the last one without AC."""
    link(database, vehicle_id, f"{vehicle_id}-m")
    store(database, [vehicle(vehicle_id, at(0, n), kwh=0.09) for n in range(1, 241)])
    store(database, [meter(f"{vehicle_id}-m", at(0, n), kwh=0.1) for n in range(1, 181)])
    materialise(database)


def test_efficiency_shows_the_fleet_of_its_hour(database):
    """As the hour began; a day has a row for each fleet; the fleet's filter finds the same rows."""
    name = "e-1"
    register(database, name, f"{name}-b", f"{name}-a")
    with database.transaction():
        for fleet, valid in ((f"{name}-b", f"[{at(2, 30)},)"), (f"{name}-a", f"[{at(1)},{at(2, 30)})")):
            database.execute(
                "INSERT INTO volt.fleet_membership VALUES (%(vehicle)s, %(fleet)s, %(valid)s)"
                if fleet.endswith("a")
                else "UPDATE volt.fleet_membership SET valid = %(valid)s WHERE vehicle_id = %(vehicle)s",
                {"vehicle": name, "fleet": fleet, "valid": valid},
            )
    _charged(database, name)
    wanted = [(at(0), None, 90), (at(1), f"{name}-a", 90), (at(2), f"{name}-a", 90), (at(3), f"{name}-b", None)]
    shown = "SELECT hour, fleet_id, efficiency_pct::int FROM volt.efficiency_hourly WHERE"
    assert database.execute(f"{shown} vehicle_id = %s ORDER BY hour", (name,)).fetchall() == wanted
    for fleet in (f"{name}-a", f"{name}-b"):
        found = database.execute(f"{shown} fleet_id = %s ORDER BY hour", (fleet,)).fetchall()
        assert found == [row for row in wanted if row[1] == fleet]
    days = database.execute(
        "SELECT fleet_id, sum(dc_kwh)::float, sum(ac_kwh)::float FROM volt.efficiency_daily WHERE vehicle_id = %s"
        " GROUP BY 1 ORDER BY 1",
        (name,),
    ).fetchall()
    assert days == [(f"{name}-a", 10.8, 12), (f"{name}-b", 5.4, None), (None, 5.4, 6)]


def test_a_fleets_query_leaves_other_vehicles_out_at_once(database):
    """The plan goes to the fleet's rows by an index, and what else is asked is asked of those."""
    register(database, "p-1", "p-a")
    _charged(database, "p-1")
    with database.transaction():
        database.execute("SET LOCAL enable_seqscan = off")  # the tables of the tests are too small for an index
        for view in ("efficiency_hourly", "efficiency_daily"):
            found = database.execute(f"EXPLAIN SELECT * FROM volt.{view} WHERE fleet_id = 'p-a'").fetchall()
            plan = "\n".join(line for (line,) in found)
            assert "Index Cond: (fleet_id = 'p-a'::text)" in plan
            assert "Seq Scan" not in plan
            assert "Join" not in plan
