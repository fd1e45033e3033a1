"""The simulated fleet's registry in a real database."""

import datetime as dt
import os

import psycopg
import pytest

from support import commands
from voltd.simulate.fleet.fleet import Fleet, FleetOptions
from voltd.simulate.fleet.registry import write_registry

START = dt.datetime(2026, 5, 1, 8, tzinfo=dt.UTC)


@pytest.fixture
def connection(migrated_database):
    with psycopg.connect(migrated_database, autocommit=True) as opened:
        yield opened


def _counts(connection):
    tables = ("fleet", "vehicle", "meter", "vehicle_meter")
    return [connection.execute(f"select count(*) from volt.{table}").fetchone()[0] for table in tables]


def test_written_twice(connection):
    """Everybody is registered once, however often it is written and whenever the fleet starts."""
    write_registry(connection, Fleet(FleetOptions(10, 8, 1, START)).registry())
    assert _counts(connection) == [4, 10, 8, 8]
    write_registry(connection, Fleet(FleetOptions(10, 8, 1, START - dt.timedelta(days=4000))).registry())
    assert _counts(connection) == [4, 10, 8, 8]
    linked = connection.execute(
        "select count(*) from volt.vehicle_meter where valid @> %s and right(vehicle_id, 5) = right(meter_id, 5)",
        [START],
    ).fetchone()
    assert linked == (8,)


def test_the_command_registers_its_fleet(migrated_database, broker, monkeypatch):
    """With --register, before it publishes; the daemon's role may not, and the hint says who may."""
    monkeypatch.setenv("VOLTD_MQTT__HOST", broker.host)
    monkeypatch.setenv("VOLTD_MQTT__PORT", str(broker.port))
    words = ["simulate", "--vehicles", "3", "--meters", "2", "--prefix", "X-", "--for", "0.2", "--register"]
    monkeypatch.setenv("VOLTD_DATABASE__DSN", f"{migrated_database} options='-c role=volt_writer'")
    refused = commands.run(words, dict(os.environ))
    assert (refused.returncode, refused.stdout) == (78, "")
    assert "volt_registrar" in refused.stderr
    monkeypatch.setenv("VOLTD_DATABASE__MIGRATE_DSN", f"{migrated_database} options='-c role=volt_registrar'")
    assert commands.run(words, dict(os.environ)).returncode == 0
    with psycopg.connect(migrated_database) as connection:
        linked = connection.execute("select count(*) from volt.vehicle_meter where vehicle_id like 'X-%'").fetchone()
        assert (linked, _counts(connection)[1:3]) == ((2,), [3, 2])
    assert "--register" in commands.run(words[:-1], dict(os.environ)).stderr


def test_corrected_by_people(connection):
    """What people changed since stays as they left it; a fleet that has grown is completed."""
    write_registry(connection, Fleet(FleetOptions(3, 3, 1, START)).registry())
    connection.execute("update volt.vehicle set status = 'retired' where vehicle_id = 'EV-00001'")
    connection.execute("update volt.vehicle_meter set meter_id = 'OTHER' where vehicle_id = 'EV-00002'")
    write_registry(connection, Fleet(FleetOptions(5, 5, 1, START)).registry())
    assert _counts(connection) == [4, 5, 5, 5]
    assert connection.execute("select status from volt.vehicle where vehicle_id = 'EV-00001'").fetchone() == (
        "retired",
    )
    assert connection.execute("select meter_id from volt.vehicle_meter where vehicle_id = 'EV-00002'").fetchone() == (
        "OTHER",
    )
