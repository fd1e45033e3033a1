"""``voltd devices`` against a real database: who is there, and who is retired, also of those that nobody registered."""

import json
import os

import psycopg
import pytest

from support import commands


class Desk:
    """A migrated database, and the command of somebody who sits before it."""

    def __init__(self, dsn):
        self.dsn = dsn

    def voltd(self, *words, code=0, owner=True):
        environ = {name: value for name, value in os.environ.items() if not name.startswith("VOLTD_")}
        environ |= {"VOLTD_DATABASE__DSN": f"{self.dsn} options='-c role=volt_writer'", "TZ": "UTC"}
        environ |= {"VOLTD_DATABASE__MIGRATE_DSN": self.dsn} if owner else {}
        done = commands.run(["devices", *words], environ)
        assert done.returncode == code, (done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def execute(self, statement, *values):
        with psycopg.connect(self.dsn) as connection:
            found = connection.execute(statement, values)
            return found.fetchall() if found.description else []

    def statuses(self, *words):
        rows = [json.loads(line) for line in self.voltd("list", "--json", *words).splitlines()]
        return {(one["device_type"], one["device_id"]): one["status"] for one in rows}


@pytest.fixture
def desk(migrated_database):
    made = Desk(migrated_database)
    made.execute("INSERT INTO volt.fleet (fleet_id) VALUES ('north')")
    made.execute("INSERT INTO volt.vehicle (vehicle_id, fleet_id) VALUES ('V1', 'north')")
    made.execute("INSERT INTO volt.vehicle_current (vehicle_id, recorded_at, last_seen_at) VALUES ('V1', now(), now())")
    made.execute("INSERT INTO volt.meter_current (meter_id, recorded_at, last_seen_at) VALUES ('M1', now(), now())")
    return made


def test_devices_are_retired_and_come_back(desk):
    """Of either type; one that was heard and never registered is by this, and a name nobody knows is questioned."""
    assert desk.voltd("retire", "meter", "M1", "M1", "M9") == (
        "meter M1: retired, and registered\n"
        "meter M9: retired, and registered; voltd has never heard it: is the name right?\n"
    )
    assert desk.voltd("maintenance", "vehicle", "V1") == "vehicle V1: maintenance, was active\n"
    assert desk.statuses() == {
        ("vehicle", "V1"): "maintenance", ("meter", "M1"): "retired", ("meter", "M9"): "retired",
    }  # fmt: skip
    assert desk.voltd("retire", "meter", "M1") == "meter M1: is retired already\n"
    assert desk.voltd("activate", "meter", "M1") == "meter M1: active, was retired\n"
    assert desk.execute("SELECT fleet_id FROM volt.vehicle WHERE vehicle_id = 'V1'") == [("north",)]
    assert desk.execute("SELECT status FROM volt.device_liveness WHERE device_type = 'meter' ORDER BY device_id") == [
        ("active",),
        ("retired",),
    ]


def test_open_alerts_of_who_is_retired_are_counted(desk):
    """Who retires a device hears what becomes of them."""
    desk.execute(
        "INSERT INTO volt.alert (rule, severity, device_type, device_id, opened_at, last_seen_at, message)"
        " VALUES ('stale', 'warning', 'meter', 'M1', now(), now(), 'm')"
    )
    assert "1 open alert ends without a message" in desk.voltd("retire", "meter", "M1")


def test_who_is_listed(desk):
    """By type, status and fleet; also those that are not registered."""
    assert desk.statuses() == {("vehicle", "V1"): "active", ("meter", "M1"): None}
    assert desk.statuses("--type", "meter") == {("meter", "M1"): None}
    assert desk.statuses("--status", "unregistered") == {("meter", "M1"): None}
    assert desk.statuses("--fleet", "north") == {("vehicle", "V1"): "active"}
    text = desk.voltd("list")
    assert "vehicle V1" in text
    assert "not registered" in text
    assert "the first 1 of 2" in desk.voltd("list", "--limit", "1")


def test_the_daemons_role_may_not_retire(desk):
    """The registry is the owner's; the command says which setting names that user, and nothing was changed."""
    assert "database.migrate_dsn" in desk.voltd("retire", "vehicle", "V1", owner=False, code=78)
    assert desk.statuses()["vehicle", "V1"] == "active"
    desk.voltd("retire", "vehicle", "x" * 65, code=2)
