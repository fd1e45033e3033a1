"""``voltd sessions export``: the sessions of a month, by the calendar of their fleet, and what they come to."""

import csv
import io
import json
import os

import psycopg
import pytest

from support import commands

_INSERT = """
INSERT INTO volt_internal.charging_session (session_id, vehicle_id, fleet_id, start_date_time, end_date_time, status,
  kwh, dc_kwh, comparable_dc_kwh, comparable_ac_kwh, last_charging_at, duration_s, charging_s, found_by, estimated)
SELECT vehicle || '/' || start, vehicle, fleet, start, stop,
  CASE WHEN stop IS NULL THEN 'ACTIVE' ELSE 'COMPLETED' END, kwh, dc, CASE WHEN kwh IS NOT NULL THEN dc END, kwh,
  coalesce(stop, start + INTERVAL '1 hour'), 3600, 1800, 'energy', false
FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::numeric[], %s::numeric[])
  AS s (vehicle, fleet, start, stop, kwh, dc)"""
# Berlin's October 2026 is from 30 September, 22:00Z, to 31 October, 23:00Z.
_SESSIONS = [
    ("EV-1", "north", "2026-09-30 21:59Z", "2026-09-30 23:00Z", 1, 1),
    ("EV-1", "north", "2026-09-30 22:00Z", "2026-09-30 23:00Z", 10, 9),
    ("EV-1", "north", "2026-10-25 00:30Z", "2026-10-25 03:30Z", 20.0005, 17),
    ("EV-1", "north", "2026-10-31 22:59Z", "2026-11-01 02:00Z", 30, 28),
    ("EV-1", "north", "2026-10-31 23:00Z", "2026-11-01 02:00Z", 100, 90),
    ("EV-2", "north", "2026-10-10 10:00Z", "2026-10-10 11:00Z", None, 7),
    ("EV-2", "north", "2026-10-20 10:00Z", None, 5, 4),
    ("=EV-3", "south", "2026-09-30 23:00Z", "2026-10-01 01:00Z", 3, 2),
    ("=EV-3", "south", "2026-10-01 00:00Z", "2026-10-01 01:00Z", 4, 3),
]


class Desk:
    """A migrated database with sessions of two fleets, and the command on it as an analyst's role."""

    def __init__(self, dsn):
        self.dsn = dsn
        with psycopg.connect(dsn) as connection:
            connection.execute(
                "INSERT INTO volt.fleet (fleet_id, timezone) VALUES ('north', 'Europe/Berlin'), ('south', NULL)"
            )
            connection.execute(
                _INSERT,
                [
                    [None if value is None else str(value) for value in column]
                    for column in zip(*_SESSIONS, strict=True)
                ],
            )

    def run(self, *words, code=0):
        environ = {name: value for name, value in os.environ.items() if not name.startswith("VOLTD_")}
        environ["VOLTD_DATABASE__DSN"] = f"{self.dsn} options='-c role=volt_reader'"
        result = commands.run(["sessions", "export", *words], environ)
        assert result.returncode == code, (result.stdout, result.stderr)
        return result

    def csv(self, *words):
        return list(csv.DictReader(io.StringIO(self.run(*words).stdout)))


@pytest.fixture
def desk(migrated_database):
    return Desk(migrated_database)


def test_a_month_is_that_of_the_fleet(desk, tmp_path):
    rows = desk.csv("--month", "2026-10", "--fleet", "north")
    assert [(one["vehicle_id"], one["start_date_time"], one["end_date_time"], one["kwh"]) for one in rows] == [
        ("EV-1", "2026-10-01T00:00:00+02:00", "2026-10-01T01:00:00+02:00", "10.000"),
        ("EV-1", "2026-10-25T02:30:00+02:00", "2026-10-25T04:30:00+01:00", "20.001"),
        ("EV-1", "2026-10-31T23:59:00+01:00", "2026-11-01T03:00:00+01:00", "30.000"),
        ("EV-2", "2026-10-10T12:00:00+02:00", "2026-10-10T13:00:00+02:00", ""),
        ("EV-2", "2026-10-20T12:00:00+02:00", "", "5.000"),
    ]
    assert [one["status"] for one in rows].count("ACTIVE") == 1
    everybody = desk.csv("--month", "2026-10")
    assert [one["vehicle_id"] for one in everybody] == ["'=EV-3", *(one["vehicle_id"] for one in rows)]
    totals = desk.csv("--month", "2026-10", "--fleet", "north", "--totals")
    assert [list(one.values()) for one in totals] == [
        ["EV-1", "north", "3", "0", "0", "60.001", "54.000", "90.00", "10800", "5400"],
        ["EV-2", "north", "2", "1", "1", "5.000", "11.000", "80.00", "7200", "3600"],
    ]
    file = tmp_path / "october.json"
    result = desk.run("--month", "2026-10", "--fleet", "north", "--format", "json", "--output", str(file))
    assert (result.stdout, result.stderr) == ("", "1 of 5 sessions may still go on\n")
    found = json.loads(file.read_text())
    assert (found["month"], found["fleet"], len(found["sessions"])) == ("2026-10", "north", 5)
    assert sum(one["kwh"] or 0 for one in found["sessions"]) == pytest.approx(65.001)
    assert [one["kwh"] for one in found["totals"]] == [60.001, 5]
    assert list(tmp_path.iterdir()) == [file]

    for words, said in (
        (["--month", "2026-13"], "'2026-13' is no month such as 2026-10"),
        (["--month", "October"], "'October' is no month such as 2026-10"),
        ([], "--month"),
        (["--month", "2026-10", "--fleet", "nort"], "there is no fleet 'nort'"),
        (["--month", "2026-10", "--fleet", ""], "'' names nothing"),
        (["--month", "2026-10", "--format", "xls"], "invalid choice: 'xls'"),
        (["--month", "2026-10", "--output", "/nowhere/file.csv"], "/nowhere/file.csv cannot be written"),
    ):
        assert said in desk.run(*words, code=2).stderr
    assert desk.run("--month", "2025-01").stdout.count("\n") == 1
