"""The main job with a real broker, a real database and the daemon as a process: from mosquitto_pub to psql."""

import datetime as dt
import json
import secrets

import psycopg
import pytest

from support import databases, harness


@pytest.fixture
def daemon(make_daemon):
    """A running daemon, started as users start it."""
    made = make_daemon()
    made.program = [harness.VOLTD]
    return made.start()


def _hour():
    """The last full hour."""
    return dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0) - dt.timedelta(hours=1)


def _at(minute):
    return (_hour() + dt.timedelta(minutes=minute)).isoformat()


def _efficiency(dsn, vehicle_id, from_minute):
    """Since that minute of the last full hour until now, in one row: meter, kWh DC, kWh AC, %, quality."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT meter_id, round(dc_kwh, 6), round(ac_kwh, 6), efficiency_pct, quality"
            " FROM volt.vehicle_efficiency(%s, %s, now(), 'period')",
            (vehicle_id, _at(from_minute)),
        ).fetchall()
    return [(meter, float(dc or 0), float(ac or 0), float(pct or 0), quality) for meter, dc, ac, pct, quality in rows]


def test_readings_arrive_within_a_second(daemon, publisher, database):
    """A published reading is visible in its table, with its values, within a second."""
    now = dt.datetime.now(dt.UTC)
    vehicle = {"timestamp": now.isoformat(), "soc": 55.5, "diagnostics": {"fw": "1.2"}}
    publisher.publish(f"{daemon.name}/vehicle/V1", vehicle)
    publisher.publish(f"{daemon.name}/meter/M1", {"timestamp": now.isoformat(), "voltage": 231})
    within_s = 1.0 * harness.contention()
    harness.wait_for(lambda: harness.count(database, "vehicle_reading") == 1, within_s)
    harness.wait_for(lambda: harness.count(database, "meter_reading") == 1, within_s)
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT vehicle_id, recorded_at, soc_pct, diagnostics FROM volt.vehicle_reading")
        assert row.fetchone() == ("V1", now, 55.5, {"fw": "1.2"})


def test_efficiency_from_interval_energy(daemon, publisher, database):
    """18 kWh of 20 kWh is 90 %: by hand, from interval energies of one hour."""
    with psycopg.connect(database) as connection:
        connection.execute("INSERT INTO volt.vehicle_meter (vehicle_id, meter_id) VALUES ('V1', 'M1')")
    for minute in (10, 20):
        publisher.publish(f"{daemon.name}/vehicle/V1", {"timestamp": _at(minute), "kwhDeliveredDc": 9})
        publisher.publish(f"{daemon.name}/meter/M1", {"timestamp": _at(minute), "kwhConsumedAc": 10})
    harness.wait_for(lambda: [one[1:3] for one in _efficiency(database, "V1", 0)] == [(18, 20)])
    # Intervals of 10 minutes, 0:00 to 0:20: all of the first quarter hour, a third of the second.
    assert _efficiency(database, "V1", 0) == [("M1", 18, 20, 90, "partial")]


def test_efficiency_from_registers_with_a_reset(daemon, publisher, database):
    """DC 100 -> 104 kWh, then a new session 0 -> 5; AC 500 -> 510: 9 of 10 kWh.

    Both are measured for all of two quarter hours: DC 2/3 of 4 and half of 5, AC 2/3 of 4 and 2/3 of 6.
    """
    with psycopg.connect(database) as connection:
        connection.execute("INSERT INTO volt.vehicle_meter (vehicle_id, meter_id) VALUES ('V2', 'M2')")
    for minute, register in ((-5, 100), (10, 104), (20, 0), (40, 5)):
        publisher.publish(f"{daemon.name}/vehicle/V2", {"timestamp": _at(minute), "kwhDeliveredDcTotal": register})
    for minute, register in ((-5, 500), (10, 504), (40, 510)):
        publisher.publish(f"{daemon.name}/meter/M2", {"timestamp": _at(minute), "kwhConsumedAcTotal": register})
    harness.wait_for(lambda: [one[1:3] for one in _efficiency(database, "V2", -15)] == [(9, 10)])
    assert _efficiency(database, "V2", -15) == [("M2", 9, 10, 77.5, "partial")]  # 5 1/6 of 6 2/3 kWh


def test_a_charging_session_within_a_minute(daemon, publisher, database):
    """It is there a minute after it began, and complete a minute after the vehicle said that it was unplugged."""
    now = dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(minutes=12)

    def say(minute, word, register):
        when = (now + dt.timedelta(minutes=minute)).isoformat()
        said = {"timestamp": when, "chargingStatus": word, "kwhDeliveredDcTotal": register, "soc": 50 + minute}
        publisher.publish(f"{daemon.name}/vehicle/V3", said)

    def sessions():
        return databases.ask(
            database,
            "SELECT status, start_date_time, end_date_time, dc_kwh::float, soc_end_pct FROM volt.charging_session",
        )

    for minute in range(12):
        say(minute, "Charging" if 2 <= minute < 9 else "Connected", 100 + 0.1 * min(max(minute - 2, 0), 7))
    harness.wait_for(sessions, 60, "the session")
    assert [one[:3] for one in sessions()] == [("ACTIVE", now + dt.timedelta(minutes=2), None)]
    say(12, "Available", 100.7)
    harness.wait_for(lambda: sessions()[0][0] == "COMPLETED", 60, "its end")
    ended = now + dt.timedelta(minutes=9)
    assert sessions() == [("COMPLETED", now + dt.timedelta(minutes=2), ended, pytest.approx(0.7), 59)]


BAD = {
    "not_json": "malformed",
    "not_an_object": "17",
    "missing_field": json.dumps({"soc": 1}),
    "wrong_type": json.dumps({"timestamp": "{now}", "soc": "full"}),
    "out_of_range": json.dumps({"timestamp": "{now}", "soc": 101}),
    "bad_time": json.dumps({"timestamp": "2026-01-01T00:00:00", "soc": 1}),
    "too_old": json.dumps({"timestamp": "2020-01-01T00:00:00Z", "soc": 1}),
    "in_future": json.dumps({"timestamp": "2099-01-01T00:00:00Z", "soc": 1}),
    "no_measurement": json.dumps({"timestamp": "{now}"}),
    "bad_text": json.dumps({"timestamp": "{now}", "chargingStatus": "a\0"}),
    "id_mismatch": json.dumps({"timestamp": "{now}", "vehicleId": "someone-else", "soc": 1}),
    "too_large": "x" * ((4 << 20) + 1),
    "too_many": json.dumps([{}] * 10_001),
}


def test_bad_input_lands_in_dead_letters_while_good_readings_flow_on(daemon, publisher, database):
    """Every kind of bad input has its reason; the good readings between them are stored; people can read it."""
    now = dt.datetime.now(dt.UTC)
    for number, text in enumerate(BAD.values()):
        publisher.publish(f"{daemon.name}/vehicle/V1", text.replace("{now}", now.isoformat()))
        publisher.publish(
            f"{daemon.name}/vehicle/V1", {"timestamp": (now - dt.timedelta(seconds=number)).isoformat(), "soc": 1}
        )
    harness.wait_for(lambda: harness.count(database, "vehicle_reading") == len(BAD))
    with psycopg.connect(database) as connection:
        reasons = [row[0] for row in connection.execute("SELECT reason FROM volt.dead_letter")]
    assert sorted(reasons) == sorted(BAD)
    listed = daemon.run("dead-letters", "list", "--reason", "out_of_range", "--topic", f"{daemon.name}/+/V1")
    assert "soc: should be at most 100, not 101" in listed.stdout
    identity = listed.stdout.split()[0]
    assert '"soc": 101' in daemon.run("dead-letters", "show", identity).stdout
    assert daemon.run("dead-letters", "show", "999999").returncode == 1


def test_current_state_and_live_topic(daemon, publisher, database, broker):
    """Newest wins field by field whatever the order; the live topic carries the merged state within two seconds."""
    import paho.mqtt.subscribe  # noqa: PLC0415 used here only

    now = dt.datetime.now(dt.UTC)
    with psycopg.connect(database) as connection:
        connection.execute("INSERT INTO volt.fleet (fleet_id) VALUES ('F1')")
        connection.execute("INSERT INTO volt.vehicle (vehicle_id, fleet_id) VALUES ('V1', 'F1')")
    for age, values in ((0, {"speed": 50}), (20, {"soc": 40, "speed": 10}), (10, {"soc": 30})):
        at = (now - dt.timedelta(seconds=age)).isoformat()
        publisher.publish(f"{daemon.name}/vehicle/V1", {"timestamp": at, **values})

    def state():
        with psycopg.connect(database) as connection:
            return connection.execute("SELECT soc_pct, speed_kmh, recorded_at FROM volt.vehicle_current").fetchone()

    assert harness.wait_for(lambda: state() == (30.0, 50.0, now), 3.0)
    publisher.publish(f"{daemon.name}/vehicle/V1", {"timestamp": dt.datetime.now(dt.UTC).isoformat(), "odometer": 5})
    message = paho.mqtt.subscribe.simple("voltd/live/+/V1", hostname=broker.host, port=broker.port)
    live = json.loads(message.payload)
    assert (live["event"], live["soc_pct"], live["speed_kmh"]) == ("telemetry.update", 30.0, 50.0)


def test_retained_message_is_stored_but_no_sign_of_life(make_daemon, publisher, database):
    """A message retained by the broker is history."""
    daemon = make_daemon()
    now = dt.datetime.now(dt.UTC)
    topic = f"{daemon.name}/vehicle/V1"
    publisher.flush([publisher.publish(topic, {"timestamp": now.isoformat(), "soc": 5}, retain=True)])
    daemon.start()
    harness.wait_for(lambda: harness.count(database, "vehicle_current") == 1)
    assert harness.count(database, "vehicle_current", "last_seen_at IS NULL AND soc_pct = 5") == 1
    publisher.flush([publisher.publish(topic, "", retain=True)])


def test_status_while_running_after_stop_and_after_a_crash(daemon):
    """The retained status says online, stopped, and connection lost (the last will)."""
    assert daemon.run("status").stdout.startswith("instance")
    assert daemon.terminate() == 0
    assert harness.wait_for(lambda: daemon.status().get("reason") == "stopped")
    daemon.start()
    daemon.kill()
    assert harness.wait_for(lambda: daemon.status().get("reason") == "connection lost")
    assert daemon.run("status").returncode == 1


def test_check_says_ok_or_what_to_do(make_daemon):
    daemon = make_daemon()
    good = daemon.run("check")
    assert (good.returncode, good.stdout.count("ok ")) == (0, 9), good.stdout
    daemon.env["VOLTD_MQTT__PORT"] = "1"
    bad = daemon.run("check")
    assert bad.returncode == 1
    assert "FAIL  broker" in bad.stdout
    assert "VOLTD_MQTT__HOST" in bad.stdout


def test_check_finds_a_user_who_may_not_write(make_daemon, database):
    """A login without write privileges is found before the daemon fails on it."""
    name = f"reader_{secrets.token_hex(4)}"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN IN ROLE volt_reader")
    daemon = make_daemon()
    daemon.env["VOLTD_DATABASE__DSN"] = psycopg.conninfo.make_conninfo(database, user=name)
    result = daemon.run("check")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"DROP ROLE {name}")
    assert result.returncode == 78
    assert f'GRANT volt_writer TO "{name}"' in result.stdout


def test_run_refuses_a_database_without_schema(make_daemon, database_of, editions):
    """Exit code 78, on which systemd does not restart, and what to do."""
    daemon = make_daemon()
    daemon.env["VOLTD_DATABASE__DSN"] = database_of(editions[0])
    result = daemon.run("run")
    assert result.returncode == 78
    assert "voltd migrate" in result.stderr


@pytest.mark.parametrize("words", [["frobnicate"], ["run", "--nonsense"], []])
def test_usage_errors_exit_with_2(make_daemon, words):
    assert make_daemon().run(*words).returncode == 2
