"""Dead letters that people can use: replayed when they can be stored, discarded when they cannot."""

import datetime as dt
import json
import os
import pathlib
import subprocess
import sys

import psycopg
import pytest

import harness
from voltd import config
from voltd.database import migrate, session
from voltd.pipeline import decode, write

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
VOLTD = str(pathlib.Path(sys.executable).with_name("voltd"))


def reading(number, **values):
    return {"timestamp": (NOW - dt.timedelta(minutes=number)).isoformat(), "soc": 50, **values}


@pytest.fixture
def dsn(fresh_database):
    migrate.migrate(fresh_database, migrate.MigrateOptions(), report=lambda _line: None)
    return fresh_database


@pytest.fixture
def voltd(dsn, tmp_path):
    """A function that runs a command of voltd on this database; ``dsn`` as the daemon's, another for the owner's."""

    def run(*words, code=0, **settings):
        environ = {name: value for name, value in os.environ.items() if not name.startswith("VOLTD_")}
        environ |= {"VOLTD_DATABASE__DSN": dsn, "VOLTD_SPOOL__DIRECTORY": str(tmp_path)}
        environ |= {f"VOLTD_{name.upper()}": value for name, value in settings.items()}
        result = subprocess.run(
            [VOLTD, "dead-letters", *words], env=environ, capture_output=True, text=True, check=False
        )
        assert result.returncode == code, result.stdout + result.stderr
        return result.stdout + result.stderr

    return run


@pytest.fixture
def received(dsn):
    """A function: payloads by topic, as the daemon would have received them with strict limits."""

    def receive(*messages, max_array=10):
        settings = config.Settings(database={"dsn": dsn}, limits={"max_array_readings": max_array})
        batch = decode.Decoder(settings.mqtt.topics, settings.limits, 90).decode(
            [
                write.models.Message(topic, body if isinstance(body, bytes) else json.dumps(body).encode(), number, NOW)
                for number, (topic, body) in enumerate(messages, 1)
            ]
        )
        store = write.PostgresStore(session.connector(settings), "test")
        result = store.write(batch)
        store.close()
        return result

    return receive


def rows(dsn, statement):
    with psycopg.connect(dsn) as connection:
        return connection.execute(statement).fetchall()


def test_replay_stores_what_a_limit_had_refused(dsn, voltd, received):
    """After a limit was raised the readings go in, marked in the same transaction; rubbish stays and is counted."""
    received(
        ("volt/vehicle/V1/telemetry", [reading(number) for number in range(12)]),
        ("volt/vehicle/V2/telemetry", b"rubbish"),
        ("volt/ingest", [{"type": "METER", "payload": {"meterId": "M1", **reading(0), "voltage": 1e9}}]),
    )
    assert harness.count(dsn, "dead_letter") == 3
    text = voltd("replay", "--dry-run", code=1, limits__max_array_readings="100")
    assert "12 readings would be stored" in text
    assert harness.count(dsn, "vehicle_reading") == 0
    text = voltd("replay", code=1, limits__max_array_readings="100")
    assert "12 readings stored, 0 were there already" in text
    assert "1 not_json" in text
    assert "1 out_of_range" in text
    assert harness.count(dsn, "vehicle_reading") == 12
    assert rows(dsn, "SELECT reason FROM volt.dead_letter WHERE replayed_at IS NOT NULL") == [("too_many",)]
    assert harness.count(dsn, "dead_letter") == 3, "no second dead letter for what was refused again"
    assert rows(dsn, "SELECT soc_pct FROM volt.vehicle_current WHERE vehicle_id = 'V1'") == [(50.0,)]
    assert "0 readings stored" in voltd("replay", code=1, limits__max_array_readings="100")
    again = voltd("replay", "--again", code=1, limits__max_array_readings="100")
    assert "0 readings stored, 12 were there already" in again


def test_single_elements_and_what_the_database_refuses(dsn, voltd, received):
    """An element is replayed by itself, envelope or not, also one that a constraint of the database had refused."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("ALTER TABLE volt.vehicle_reading ADD CONSTRAINT odd CHECK (soc_pct <> 13)")
        received(
            ("volt/vehicle/V1/telemetry", [reading(1, soc=13), reading(2), reading(3, soc=13, diagnostics={"a": 1})]),
            ("volt/ingest", [{"type": "VEHICLE", "payload": {"vehicleId": "V9", **reading(4, soc=13)}}]),
        )
        assert rows(dsn, "SELECT count(*), count(element) FROM volt.dead_letter") == [(3, 3)]
        assert "3 rejected_by_database" in voltd("replay", code=1)
        assert rows(dsn, "SELECT count(*), count(replayed_at) FROM volt.dead_letter") == [(3, 0)]
        connection.execute("ALTER TABLE volt.vehicle_reading DROP CONSTRAINT odd")
    assert "3 readings stored" in voltd("replay")
    assert rows(dsn, "SELECT vehicle_id, count(*) FROM volt.vehicle_reading GROUP BY 1 ORDER BY 1") == [
        ("V1", 3),
        ("V9", 1),
    ]
    assert rows(dsn, "SELECT count(*) FROM volt.vehicle_reading WHERE diagnostics = '{\"a\": 1}'") == [(1,)]


def test_filters_and_discard(dsn, voltd, received):
    """The same filters everywhere; discarding for good has to be confirmed."""
    received(
        *((f"volt/vehicle/V{number}/telemetry", b"rubbish") for number in range(4)), ("volt/meter/M/telemetry", [])
    )
    assert "4 dead letters would be deleted" in voltd("discard", "--reason", "not_json", code=2)
    assert harness.count(dsn, "dead_letter") == 5
    assert "1 dead letters deleted" in voltd("discard", "--yes", "--topic", "volt/vehicle/V2/+")
    assert "0 dead letters deleted" in voltd("discard", "--yes", "--until", "1h")
    ((identity,),) = rows(dsn, "SELECT id FROM volt.dead_letter WHERE topic LIKE '%V3%'")
    assert "V3" in voltd("list", str(identity))
    assert "1 dead letters deleted" in voltd("discard", "--yes", str(identity))
    assert "3 dead letters deleted" in voltd("discard", "--yes")


def test_payloads_are_the_owners(dsn, voltd, received):
    """The daemon's role can list, but neither show, replay nor discard, and is told which role can."""
    received(("volt/vehicle/V1/telemetry", b"secret"))
    options = {"database__dsn": f"{dsn} options='-c role=volt_writer'"}
    assert "secret" not in voltd("list", **options)
    for words in (("show", "1"), ("replay",), ("discard", "--yes")):
        text = voltd(*words, code=78, **options)
        assert "volt_owner" in text
        assert "secret" not in text
    owner = {"database__migrate_dsn": f"{dsn} options='-c role=volt_owner'"}
    assert "secret" in voltd("show", "1", **options, **owner)
    assert "1 not_json" in voltd("replay", code=1, **options, **owner)
    assert "1 dead letters deleted" in voltd("discard", "--yes", **options, **owner)
