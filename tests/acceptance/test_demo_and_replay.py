"""``voltd demo`` and ``voltd replay`` as a user runs them."""

import gzip
import itertools
import json
import pathlib
import subprocess

import psycopg
import pytest

from support import harness

RECORDED = pathlib.Path(__file__).parents[3] / "shared/data/twizy_trips.csv.gz"


def test_demo_adds_up(tmp_path):
    """Every published reading is stored, dead-lettered or a duplicate, and there are efficiencies."""
    summary = tmp_path / "summary.json"
    words = ["demo", "--for", "6", "--speed", "1200", "--bad-share", "0.02", "--vehicles", "40", "--meters", "40"]
    result = subprocess.run(
        [harness.VOLTD, *words, "--summary", str(summary)], capture_output=True, text=True, timeout=200, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    found = json.loads(summary.read_text())
    published, stored = found["published"], found["stored"]
    assert sum(published.values()) == sum(stored.values()) + found["dead_letters"] + found["duplicates"]
    assert published["bad"] == found["dead_letters"] > 0
    assert found["efficiency_rows"] > 0
    assert found["p99_ms"] > 0
    assert "psql" in result.stdout
    assert "as Tasmota, zigbee2mqtt, OCPP gateways and dsmr-reader do" in result.stdout


def _replay(daemon, path, *words):
    result = daemon.run("replay", str(path), *words)
    assert result.returncode == 0, result.stderr
    return result


@pytest.fixture
def sessions(broker):
    """Client ids whose sessions end after the daemons: other tests want the default topics for themselves."""
    ids = []
    yield ids
    for client_id in ids:
        harness.end_session(broker.host, broker.port, client_id)


@pytest.fixture
def default_topics(sessions, make_daemon):
    """A function that makes a daemon on the default topics, as ``voltd replay`` uses them."""

    def make(**settings):
        daemon = make_daemon(**settings)
        sessions.append(f"voltd-{daemon.env['VOLTD_INSTANCE']}")
        for kind in ("VEHICLE", "METER", "INGEST"):
            del daemon.env[f"VOLTD_MQTT__TOPICS__{kind}"]
        return daemon.start()

    return make


def test_replay_of_a_small_recording(default_topics, database, tmp_path):
    """CSV, gzipped, blank cells left out, shifted to end now; the same again changes nothing."""
    rows = ["vehicleId,timestamp,soc,speed,odometer", "R1,2021-03-29T11:13:45Z,80,,1", "R1,2021-03-29T11:13:46Z,,50,2"]
    path = tmp_path / "trip.csv.gz"
    path.write_bytes(gzip.compress("\n".join(rows).encode()))
    daemon = default_topics()
    first = _replay(daemon, path, "--now")
    harness.wait_for(lambda: harness.count(database, "vehicle_reading", "vehicle_id = 'R1'") == 2)
    shift = first.stderr.split("--shift ")[1].split()[0]
    _replay(daemon, path, "--shift", shift)
    harness.wait_for(lambda: daemon.status()["readings_duplicate_total"] == 2)
    with psycopg.connect(database) as connection:
        stored = connection.execute(
            "SELECT soc_pct, speed_kmh, odometer_km FROM volt.vehicle_reading ORDER BY recorded_at"
        ).fetchall()
    assert stored == [(80, None, 1), (None, 50, 2)]


def _beginning(folder):
    """The first 5,000 readings of the recorded trips as a recording of their own."""
    path = folder / "beginning.csv"
    with gzip.open(RECORDED, "rt") as lines:
        path.write_text("".join(itertools.islice(lines, 5_001)))
    return path


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded trips are not part of the project")
def test_replay_of_recorded_trips(default_topics, database, tmp_path):
    """55,475 real readings are stored, 3 of them without an impossible longitude; some again change nothing."""
    daemon = default_topics(limits__max_age_days=3650)
    first = daemon.run("replay", str(RECORDED), "--now", "--speed", "0")
    shift = first.stderr.split("--shift ")[1].split()[0]
    harness.wait_for(lambda: harness.count(database, "vehicle_reading") == 55_475, 30)
    assert harness.count(database, "vehicle_reading", "longitude IS NULL AND latitude IS NOT NULL") == 3
    assert harness.count(database, "dead_letter", "reason = 'out_of_range' AND field = 'longitude'") >= 1
    _replay(daemon, _beginning(tmp_path), "--shift", shift, "--speed", "0")
    harness.wait_for(lambda: daemon.status()["readings_duplicate_total"] == 5_000, 30)
    assert harness.count(database, "vehicle_reading") == 55_475


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded trips are not part of the project")
def test_recorded_trips_as_recorded_are_too_old(default_topics, database, tmp_path):
    """As recorded in 2021 and with default settings every row is a dead letter too_old."""
    daemon = default_topics()
    _replay(daemon, _beginning(tmp_path), "--fast")
    harness.wait_for(lambda: harness.count(database, "dead_letter") == 5_000, 30)
    with psycopg.connect(database) as connection:
        reasons = dict(connection.execute("SELECT reason, count(*) FROM volt.dead_letter GROUP BY 1").fetchall())
    assert reasons == {"too_old": 5_000}
    assert harness.count(database, "vehicle_reading") == 0
