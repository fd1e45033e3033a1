"""Replay: the same way once more. What can be stored now is, once; what cannot stays one dead letter as it was."""

import contextlib
import datetime as dt
from typing import Any

import psycopg
import pytest

from support import dead_letters, harness
from support.dead_letters import NOW, reading
from voltd.database import schema_state

MORE: dict[str, Any] = {"limits__max_array_readings": "100"}


@pytest.fixture
def rig(migrated_database, tmp_path):
    return dead_letters.Rig(migrated_database, tmp_path)


def test_what_a_limit_had_refused(rig):
    """After a limit was raised the readings go in; what is malformed stays and is counted, by reason."""
    rig.receive(
        ("volt/vehicle/V1/telemetry", [reading(number) for number in range(12)]),
        ("volt/vehicle/V2/telemetry", b"malformed"),
        ("volt/ingest", [{"type": "METER", "payload": {"meterId": "M1", **reading(0), "voltage": 1e9}}]),
        max_array_readings=10,
    )
    assert harness.count(rig.dsn, "dead_letter") == 3
    text = rig.voltd("replay", "--dry-run", code=1, **MORE)
    assert "12 readings would be stored, 0 were there already" in text
    assert harness.count(rig.dsn, "vehicle_reading") == 0
    assert rig.rows("SELECT count(replayed_at) FROM volt.dead_letter") == [(0,)]
    text = rig.voltd("replay", code=1, **MORE)
    assert "12 readings stored, 0 were there already" in text
    assert "1 not_json" in text
    assert "1 out_of_range" in text
    assert harness.count(rig.dsn, "vehicle_reading") == 12
    assert rig.rows("SELECT reason FROM volt.dead_letter WHERE replayed_at IS NOT NULL") == [("too_many",)]
    assert harness.count(rig.dsn, "dead_letter") == 3, "no second dead letter for what was refused again"
    assert rig.rows("SELECT soc_pct FROM volt.vehicle_current WHERE vehicle_id = 'V1'") == [(50.0,)]
    assert "0 readings stored" in rig.voltd("replay", code=1, **MORE)
    assert "0 readings would be stored, 12 were there" in rig.voltd("replay", "--again", "--dry-run", code=1, **MORE)
    assert "0 readings stored, 12 were there already" in rig.voltd("replay", "--again", code=1, **MORE)
    assert "nothing to replay" in rig.voltd("replay", "1", **MORE)


def test_single_elements_and_what_the_database_refuses(rig):
    """An element is replayed by itself, envelope or not, also one that a constraint of the database had refused."""
    rig.execute("ALTER TABLE volt.vehicle_reading ADD CONSTRAINT odd CHECK (soc_pct <> 13)")
    rig.receive(
        ("volt/vehicle/V1/telemetry", [reading(1, soc=13), reading(2), reading(3, soc=13, diagnostics={"a": 1})]),
        ("volt/ingest", [{"type": "VEHICLE", "payload": {"vehicleId": "V9", **reading(4, soc=13)}}]),
    )
    assert rig.rows("SELECT count(*), count(element) FROM volt.dead_letter") == [(3, 3)]
    assert "3 rejected_by_database" in rig.voltd("replay", code=1)
    assert rig.rows("SELECT count(*), count(replayed_at) FROM volt.dead_letter") == [(3, 0)]
    rig.execute("ALTER TABLE volt.vehicle_reading DROP CONSTRAINT odd")
    assert "3 readings stored" in rig.voltd("replay")
    assert rig.rows("SELECT vehicle_id, count(*) FROM volt.vehicle_reading GROUP BY 1 ORDER BY 1") == [
        ("V1", 3),
        ("V9", 1),
    ]
    assert rig.rows("SELECT count(*) FROM volt.vehicle_reading WHERE diagnostics = '{\"a\": 1}'") == [(1,)]


def test_an_element_is_decoded_as_an_element(rig):
    """An array within an array is refused as when it came, although its own elements would be fine."""
    rig.receive(("volt/vehicle/V1/telemetry", [[reading(1)], float("nan")]))
    text = rig.voltd("replay", code=1)
    assert "0 readings stored" in text
    assert "2 not_an_object" in text
    assert harness.count(rig.dsn, "vehicle_reading") == 0


def test_a_payload_that_was_too_large(rig):
    """It was kept whole: it is a reading once the limit is raised, or refused for what stands behind its beginning."""
    start = b'{"timestamp":"%s","soc":50}' % reading(1)["timestamp"].encode()
    rig.receive(("volt/vehicle/V1/telemetry", start + b" " * 1000 + b"{}" * 500), max_payload_bytes=1024)
    rig.receive(("volt/vehicle/V2/telemetry", start + b" " * (1025 - len(start))), max_payload_bytes=1024)
    assert rig.rows("SELECT reason, count(*) FROM volt.dead_letter GROUP BY 1") == [("too_large", 2)]
    text = rig.voltd("replay", code=1)
    assert "1 reading stored" in text
    assert "1 not_json" in text
    assert rig.rows("SELECT vehicle_id FROM volt.vehicle_reading") == [("V2",)]


def test_an_array_that_is_good_in_part(rig):
    """The good readings are stored, the letter stays, and the command says so; a second time changes nothing."""
    body = [*(reading(number) for number in range(11)), reading(12, soc=101), reading(13, soc=102)]
    rig.receive(("volt/vehicle/V1/telemetry", body), max_array_readings=10)
    text = rig.voltd("replay", code=1, **MORE)
    assert "11 readings stored" in text
    assert "1 of them in part" in text
    assert "0 readings stored, 11 were there already" in rig.voltd("replay", code=1, **MORE)
    assert rig.rows("SELECT count(*), count(replayed_at) FROM volt.dead_letter") == [(1, 0)]


def test_time_is_checked_as_when_it_was_received(rig):
    """A reading 80 days old that came 20 days ago was 60 days old; what was from the future then stays refused."""
    then = NOW - dt.timedelta(days=20)
    body = [reading(80 * 1440), *(reading(20 * 1440 + number) for number in range(10))]
    rig.receive(("volt/vehicle/V1/telemetry", body), at=then, max_array_readings=10)
    rig.receive(("volt/vehicle/V2/telemetry", reading(19 * 1440)), at=then)
    text = rig.voltd("replay", code=1, limits__max_age_days="61", **MORE)
    assert "11 readings stored" in text
    assert "1 in_future" in text
    assert rig.rows("SELECT count(*), count(DISTINCT received_at), min(received_at) FROM volt.vehicle_reading") == [
        (11, 1, then)
    ]


def test_what_the_retention_would_drop_at_once_is_refused(rig):
    """Received in time, but raw history does not reach back so far any more: storing it would be a lie."""
    body = [reading(100 * 1440), *(reading(30 * 1440 + number) for number in range(10))]
    rig.receive(("volt/vehicle/V1/telemetry", body), at=NOW - dt.timedelta(days=25), max_array_readings=10)
    text = rig.voltd("replay", code=1, **MORE)
    assert "10 readings stored" in text
    assert "1 too_old" in text
    assert harness.count(rig.dsn, "vehicle_reading") == 10


def test_older_readings_once_they_are_allowed(rig):
    """With limits.max_age_days raised they are stored, and kept: the retention follows, as it does for the daemon."""
    rig.receive(("volt/vehicle/V1/telemetry", reading(400 * 1440)))
    assert "1 too_old" in rig.voltd("replay", code=1)
    text = rig.voltd("replay", limits__max_age_days="500")
    assert "1 reading stored" in text
    assert "kept 500 days from now on" in text
    assert rig.rows("SELECT volt_internal.setting_number('raw_retention_days')") == [(500,)]


def test_a_replay_refreshes_no_liveness(rig):
    """It is history: the vehicle's last sign of life stays what it was."""
    rig.receive(("volt/vehicle/V1/telemetry", [reading(number) for number in range(11)]), max_array_readings=10)
    rig.voltd("replay", **MORE)
    ((seen,),) = rig.rows("SELECT last_seen_at FROM volt.vehicle_current WHERE vehicle_id = 'V1'")
    assert seen is None


def test_killed_before_anything_is_marked(rig):
    """Killed between storing and marking: the next run finds the readings there, marks, and stores nothing twice."""
    rig.receive(("volt/vehicle/V1/telemetry", [reading(number) for number in range(12)]), max_array_readings=10)
    with psycopg.connect(rig.dsn) as blocker:
        blocker.execute("LOCK TABLE volt.dead_letter IN EXCLUSIVE MODE")  # lets it read, but not mark
        process = rig.start("replay", **MORE)
        waits = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE%dead_letter%'"
        )
        harness.wait_for(lambda: rig.rows(waits) == [(1,)], what="the replay to reach its marks")
        process.kill()
        process.communicate()
        assert harness.count(rig.dsn, "vehicle_reading") == 12
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'UPDATE%dead_letter%'"
        rig.rows(ended)
    assert rig.rows("SELECT count(*), count(replayed_at) FROM volt.dead_letter") == [(1, 0)]
    assert "0 readings stored, 12 were there already" in rig.voltd("replay", **MORE)
    assert rig.rows("SELECT count(*), count(replayed_at) FROM volt.dead_letter") == [(1, 1)]
    assert harness.count(rig.dsn, "vehicle_reading") == 12
    assert harness.count(rig.dsn, "vehicle_current") == 1


def test_the_database_goes_away_in_the_middle(rig):
    """It says how far it came and that it failed; the next run does the rest."""
    rig.receive(
        *((f"volt/vehicle/V{n}/telemetry", [reading(0), reading(1)]) for n in range(1500)), max_array_readings=1
    )
    trigger = "CREATE TRIGGER late BEFORE UPDATE ON volt.dead_letter FOR EACH ROW WHEN (OLD.id > 1000) EXECUTE FUNCTION"
    rig.execute(
        "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END'"
    )
    rig.execute(f"{trigger} die()")
    text = rig.voltd("replay", code=1, **MORE)
    assert "2000 readings stored" in text
    assert "1000 dead letters done" in text
    rig.execute("DROP TRIGGER late ON volt.dead_letter")
    text = rig.voltd("replay", **MORE)
    assert "500 dead letters done" in text
    assert harness.count(rig.dsn, "vehicle_reading") == 3000


def test_large_payloads_go_in_several_transactions(rig):
    """Payloads of more bytes than one transaction takes are all replayed, in order."""
    padding = {"diagnostics": {"x": "y" * 200_000}}
    letters = [(f"volt/vehicle/V{n}/telemetry", [reading(0), reading(1, **padding)]) for n in range(90)]
    rig.receive(*letters, max_array_readings=1)
    assert "180 readings stored" in rig.voltd("replay", **MORE)
    assert rig.rows("SELECT count(*), count(replayed_at) FROM volt.dead_letter") == [(90, 90)]
    assert rig.rows("SELECT count(DISTINCT replayed_at) > 1 FROM volt.dead_letter") == [(True,)]


@pytest.mark.parametrize("edition", ["timescale", "apache"])
def test_the_owner_can_replay_on_both_editions(database_of, tmp_path, edition):
    """Storing needs no more than the role volt_owner, whichever edition; the daemon's password is not the owner's."""
    rig = dead_letters.Rig(database_of(edition, schema=True), tmp_path)
    rig.receive(
        ("volt/vehicle/V1/telemetry", [reading(200 + number) for number in range(11)]),
        ("volt/meter/M1/telemetry", [{**reading(300 + number), "voltage": 230} for number in range(11)]),
        max_array_readings=10,
    )
    as_owner = f"{rig.dsn} options='-c role=volt_owner'"
    owner: dict[str, Any] = {"database__migrate_dsn": as_owner, "database__password": "wrong"}
    assert "22 readings stored" in rig.voltd("replay", **owner, **MORE)
    assert "2 dead letters" in rig.voltd("discard", "--yes", **owner)
    with contextlib.closing(psycopg.connect(rig.dsn)) as connection:
        assert connection.execute("SELECT count(*) FROM volt.meter_current").fetchone() == (1,)
    assert schema_state.status(rig.dsn).current


def test_what_a_clock_that_was_wrong_had_refused(rig):
    """Asked for ``in_future`` alone: what is not in the future any more counts as received when it is dated."""
    then = NOW - dt.timedelta(days=2)
    rig.receive(
        ("volt/vehicle/V1/telemetry", reading(5)),
        ("volt/vehicle/V2/telemetry", [reading(1), reading(3 * 1440), reading(-60)]),
        ("volt/vehicle/V3/telemetry", reading(-60)),
        ("volt/ingest", [{"type": "METER", "payload": {"meterId": "M1", **reading(7), "voltage": 230}}]),
        at=then,
    )
    assert rig.rows("SELECT reason, count(*) FROM volt.dead_letter GROUP BY 1") == [("in_future", 5)]
    text = rig.voltd("replay", code=1)
    assert "0 readings stored" in text
    assert "--reason in_future" in text
    assert "3 readings would be stored" in rig.voltd("replay", "--reason", "in_future", "--dry-run", code=1)
    text = rig.voltd("replay", "--reason", "in_future", code=1)
    assert "3 readings stored" in text
    assert "2 in_future" in text
    assert rig.rows("SELECT vehicle_id, received_at - recorded_at FROM volt.vehicle_reading ORDER BY recorded_at") == [
        ("V2", dt.timedelta(days=1)),
        ("V1", dt.timedelta(0)),
        ("V2", dt.timedelta(0)),
    ]
    assert harness.count(rig.dsn, "meter_reading") == 1
    assert rig.rows("SELECT count(*), count(replayed_at) FROM volt.dead_letter") == [(5, 3)]
