"""Fleet views, functions on one vehicle, and the merge of the current state."""

import datetime as dt
import itertools

import psycopg
import pytest

from voltd.database import queries

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)


@pytest.fixture
def database(migrated_database):
    """Autocommit connection to a migrated database."""
    with psycopg.connect(migrated_database, autocommit=True) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        yield connection


def ago(seconds):
    return NOW - dt.timedelta(seconds=seconds)


def merge(connection, vehicle_id, recorded_at, *, seen_at=None, **fields):
    """One vehicle's state as the daemon stages it: values with their own times."""
    columns = {"vehicle_id": vehicle_id, "recorded_at": recorded_at, "last_seen_at": seen_at, **fields}
    with connection.transaction():
        connection.execute(queries.text("create_staged_vehicle_current"))
        marks = ", ".join(["%s"] * len(columns))
        connection.execute(
            f"INSERT INTO pg_temp.staged_vehicle_current ({', '.join(columns)}) VALUES ({marks})",
            list(columns.values()),
        )
        return connection.execute(queries.text("merge_vehicle_current")).fetchall()


def test_the_current_state_does_not_depend_on_the_order_of_arrival(database):
    """Three states in all six orders, one of them twice: always the newest value of each field."""
    states = [
        {"recorded_at": ago(30), "soc_pct": 50.0, "soc_at": ago(30), "speed_kmh": 80.0, "speed_at": ago(30)},
        {"recorded_at": ago(20), "soc_pct": 49.0, "soc_at": ago(20), "seen_at": ago(1)},
        {"recorded_at": ago(10), "latitude": 1.0, "longitude": 2.0, "position_at": ago(10), "seen_at": ago(2)},
    ]
    found = set()
    for order in itertools.permutations(states):
        database.execute("TRUNCATE volt.vehicle_current")
        for state in [*order, order[0]]:
            merge(database, "v", **state)
        found.add(
            database.execute(
                "SELECT recorded_at, soc_pct, soc_at, speed_kmh, speed_at, latitude, longitude, last_seen_at"
                " FROM volt.vehicle_current"
            ).fetchone()
        )
    assert found == {(ago(10), 49.0, ago(20), 80.0, ago(30), 1.0, 2.0, ago(1))}


def test_at_equal_times_the_stored_value_stays(database):
    """A second reading of the same moment changes nothing."""
    merge(database, "v", ago(5), soc_pct=50.0, soc_at=ago(5))
    merge(database, "v", ago(5), soc_pct=51.0, soc_at=ago(5))
    assert database.execute("SELECT soc_pct FROM volt.vehicle_current").fetchone() == (50.0,)


def test_the_current_state_heals_from_raw_readings(database):
    """What was stored but not merged before a crash is found by the time it was received; liveness is left alone."""
    merge(database, "v", ago(60), seen_at=ago(60), soc_pct=70.0, soc_at=ago(60))
    database.execute(
        "INSERT INTO volt.vehicle_reading (vehicle_id, recorded_at, soc_pct, speed_kmh, received_at)"
        " VALUES ('v', %s, 60, NULL, %s), ('v', %s, NULL, 20, %s)",
        (ago(30), ago(29), ago(40), ago(28)),
    )
    with database.transaction():
        database.execute(queries.text("stage_vehicle_current_since"), {"since": ago(50)})
        database.execute(queries.text("merge_vehicle_current"))
    row = database.execute("SELECT recorded_at, soc_pct, speed_kmh, last_seen_at FROM volt.vehicle_current").fetchone()
    assert row == (ago(30), 60.0, 20.0, ago(60))


def test_the_fleet_at_this_moment(database):
    """Buckets of ten percent, retired ones left out; registered devices that were never seen show with NULL."""
    database.execute("INSERT INTO volt.fleet (fleet_id) VALUES ('f')")
    database.execute(
        "INSERT INTO volt.vehicle (vehicle_id, fleet_id, status)"
        " VALUES ('a', 'f', 'active'), ('old', 'f', 'retired'), ('never', 'f', 'active')"
    )
    database.execute("INSERT INTO volt.meter (meter_id) VALUES ('m')")
    database.execute("INSERT INTO volt.vehicle_meter (vehicle_id, meter_id) VALUES ('a', 'm')")
    for name, soc in (("a", 100.0), ("old", 5.0), ("guest", 9.9)):
        merge(database, name, ago(60), seen_at=ago(60), soc_pct=soc, soc_at=ago(60))
    soc = database.execute("SELECT * FROM volt.fleet_soc_distribution ORDER BY bucket").fetchall()
    assert soc == [(None, "0-10", 1), ("f", "90-100", 1)]
    rows = database.execute(
        "SELECT device_type, device_id, fleet_id, last_seen_at, seconds_since >= 60, status FROM volt.device_liveness"
    ).fetchall()
    assert set(rows) == {
        ("vehicle", "a", "f", ago(60), True, "active"),
        ("vehicle", "old", "f", ago(60), True, "retired"),
        ("vehicle", "guest", None, ago(60), True, None),
        ("vehicle", "never", "f", None, None, "active"),
        ("meter", "m", "f", None, None, "active"),
    }


def test_the_newest_state_of_one_vehicle(database):
    merge(database, "v", NOW, soc_pct=50.0, soc_at=NOW)
    assert len(database.execute("SELECT * FROM volt.vehicle_latest('v')").fetchall()) == 1


def test_impossible_values_are_refused_by_a_named_constraint(database):
    """The table guards the wire contract's ranges itself, NaN and infinity included."""
    for column, value in (
        ("soc_pct", 100.1), ("speed_kmh", -1), ("latitude", 91), ("odometer_km", "Infinity"),
        ("dc_register_kwh", "NaN"), ("kwh_delivered_dc", 2e9),
    ):  # fmt: skip
        with pytest.raises(psycopg.errors.CheckViolation) as raised:
            database.execute(
                f"INSERT INTO volt.vehicle_reading (vehicle_id, recorded_at, received_at, {column})"
                " VALUES ('v', now(), now(), %s::float8)",
                (value,),
            )
        assert raised.value.diag.constraint_name == f"vehicle_reading_{column}_range"


def test_the_same_link_may_not_overlap(database):
    """Several meters at a time may feed a vehicle; the same pair counts once."""
    database.execute("INSERT INTO volt.vehicle_meter (vehicle_id, meter_id) VALUES ('v', 'm'), ('v', 'n'), ('w', 'm')")
    with pytest.raises(psycopg.errors.ExclusionViolation) as raised:
        database.execute("INSERT INTO volt.vehicle_meter VALUES ('v', 'n', NULL, '[2026-01-01,)')")
    assert raised.value.diag.constraint_name == "vehicle_meter_no_overlap"
    assert raised.value.diag.message_primary == "v is linked to n already, from always to now on"
    database.execute(raised.value.diag.message_hint.split("begins: ")[1])
    database.execute("INSERT INTO volt.vehicle_meter VALUES ('v', 'n', NULL, '[2026-01-01,)')")
    for _ in range(2):
        database.execute("INSERT INTO volt.vehicle_meter VALUES ('v', 'm') ON CONFLICT DO NOTHING")  # repeats a link
    database.execute("UPDATE volt.vehicle_meter SET valid = '[2025-01-01,)' WHERE vehicle_id = 'w'")
    with pytest.raises(psycopg.errors.ExclusionViolation, match="delete that link, or let the new one end"):
        database.execute("INSERT INTO volt.vehicle_meter VALUES ('w', 'm')")
