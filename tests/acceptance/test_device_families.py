"""Devices that publish in formats of their own, through a running daemon."""

import json

import psycopg
import pytest

from support import harness


@pytest.fixture
def daemon(make_daemon):
    """A running daemon that takes OVMS vehicles and Tasmota meters beside voltd's own format."""
    one = make_daemon()
    one.env["VOLTD_DEVICES"] = json.dumps(
        {
            "ovms": {"topics": [f"{one.name}/ovms/{{user}}/{{id}}"], "gather_s": 2.0},
            "tasmota": {"topics": [f"{one.name}/tele/{{id}}"], "zone": "Europe/Berlin", "ids": {"plug": "depot-1"}},
        }
    )
    return one.start()


def _rows(database, query):
    with psycopg.connect(database) as connection:
        return connection.execute(query).fetchall()


def _ovms(daemon, device, **metrics):
    return [
        (f"{daemon.name}/ovms/fleet/{device}/metric/{name.replace('_', '/')}", str(value))
        for name, value in metrics.items()
    ]


def _send(publisher, messages, **options):
    publisher.flush([publisher.publish(topic, payload, **options) for topic, payload in messages])


def test_readings_of_families_arrive(daemon, publisher, database):
    """One value a message and documents; the vehicle's metrics become one reading."""
    _send(publisher, _ovms(daemon, "EV1", v_b_soc=61.5, v_p_speed=0, v_b_power=-7.2, v_c_state="charging"), retain=True)
    plug = {"Time": "", "ENERGY": {"Total": 12.5, "Power": 7400, "Voltage": 231, "Current": 32.1}}
    plug["Time"] = _rows(database, "SELECT to_char(now() AT TIME ZONE 'Europe/Berlin', 'YYYY-MM-DD\"T\"HH24:MI:SS')")[
        0
    ][0]
    _send(publisher, [(f"{daemon.name}/tele/plug/SENSOR", json.dumps(plug))])
    harness.wait_for(lambda: harness.count(database, "meter_reading") and harness.count(database, "vehicle_reading"))
    assert _rows(
        database,
        "SELECT vehicle_id, soc_pct, speed_kmh, charging_power_kw, charging_status, time_source"
        " FROM volt.vehicle_reading",
    ) == [("EV1", 61.5, 0.0, 7.2, "charging", "arrival")]
    assert _rows(
        database,
        "SELECT meter_id, ac_register_kwh, power_kw, time_source, received_at - recorded_at < '5 s'"
        " FROM volt.meter_reading",
    ) == [("depot-1", 12.5, 7.4, None, True)]
    harness.wait_for(lambda: _rows(database, "SELECT soc_pct FROM volt.vehicle_current") == [(61.5,)])


def test_killed_while_values_are_gathered(daemon, publisher, database):
    """They are not acked before they are stored: the broker sends them again to the next run."""
    _send(publisher, _ovms(daemon, "EV1", v_b_soc=61.5, v_p_odometer=1000))
    _send(publisher, [(f"{daemon.name}/vehicle/V1", f'{{"soc":5,"timestamp":"{_now(database)}"}}')])
    harness.wait_for(lambda: harness.count(database, "vehicle_reading") == 1, what="the one in voltd's own format")
    daemon.kill()
    assert _rows(database, "SELECT vehicle_id FROM volt.vehicle_reading") == [("V1",)]
    daemon.start()
    harness.wait_for(lambda: harness.count(database, "vehicle_reading") >= 2)
    assert _rows(database, "SELECT vehicle_id, soc_pct, odometer_km FROM volt.vehicle_reading ORDER BY vehicle_id") == [
        ("EV1", 61.5, 1000.0),
        ("V1", 5.0, None),
    ]
    harness.wait_for(lambda: daemon.status()["in_flight"] == 0)


def test_what_a_device_leaves_out_is_known_after_a_restart(make_daemon, publisher, database):
    """A Shelly says what changed: what it feeds in is in its import, and voltd knew how much that was."""
    one = make_daemon()
    one.env["VOLTD_DEVICES"] = json.dumps({"shelly": {"topics": [f"{one.name}/{{id}}"]}})

    def send(seconds, **status):
        params = {"ts": at - seconds, "switch:0": status}
        _send(publisher, [(f"{one.name}/plug/events/rpc", json.dumps({"method": "NotifyStatus", "params": params}))])

    (at,) = _rows(database, "SELECT extract(epoch FROM now())::float8")[0]
    one.start()
    send(9, aenergy={"total": 9000.0}, ret_aenergy={"total": 2000.0})
    harness.wait_for(lambda: harness.count(database, "meter_reading") == 1)
    one.terminate()
    one.start()
    send(5, aenergy={"total": 9500.0})
    harness.wait_for(lambda: harness.count(database, "meter_reading") == 2)
    registers = "SELECT ac_register_kwh FROM volt.meter_reading ORDER BY recorded_at"
    assert _rows(database, registers) == [(7.0,), (7.5,)]


def test_what_is_retained_is_history_of_an_unknown_time(make_daemon, publisher, database, daemon):
    """A daemon that starts while cars sleep invents nothing, and a car that wakes up is heard."""
    other = make_daemon(instance="late")
    other.env["VOLTD_DEVICES"] = daemon.env["VOLTD_DEVICES"]
    daemon.terminate()
    _send(publisher, _ovms(daemon, "EV1", v_b_soc=61.5, v_p_odometer=1000), retain=True)
    other.start()
    harness.wait_for(lambda: other.status()["messages_received_total"] == 2)
    _send(publisher, _ovms(daemon, "EV1", v_p_odometer=1001), retain=True)
    harness.wait_for(lambda: harness.count(database, "vehicle_reading"))
    assert _rows(database, "SELECT soc_pct, odometer_km FROM volt.vehicle_reading") == [(None, 1001.0)]


def test_a_burst_behind_a_gathered_value_does_not_wait(make_daemon, publisher, database):
    """With half of the window taken up, what is gathered is complete."""
    one = make_daemon(mqtt__receive_maximum=200)
    one.env["VOLTD_DEVICES"] = json.dumps({"ovms": {"topics": [f"{one.name}/ovms/{{user}}/{{id}}"], "gather_s": 60.0}})
    one.start()
    at = _now(database)
    messages = [
        *_ovms(one, "EV1", v_b_soc=61.5),
        *((f"{one.name}/vehicle/V{number}", f'{{"soc":5,"timestamp":"{at}"}}') for number in range(1000)),
    ]
    _send(publisher, messages)
    harness.wait_for(lambda: harness.count(database, "vehicle_reading") == 1001, 30)


def test_a_wrong_family_ends_the_start(make_daemon):
    """With its name and what is there."""
    one = make_daemon()
    one.env["VOLTD_DEVICES"] = json.dumps({"tasmotta": {}})
    for command in ("run", "check"):
        ended = one.run(command)
        assert ended.returncode == 78
        said = ended.stdout + ended.stderr
        assert "devices.tasmotta: no description of this device family; did you mean tasmota?" in said
    one.env["VOLTD_DEVICES"] = json.dumps({"tasmota": {}})
    assert "ok    device families: tasmota (tele/{id}, stat/{id})\n" in one.run("check").stdout


def _now(database):
    return _rows(database, "SELECT now()")[0][0].isoformat()
