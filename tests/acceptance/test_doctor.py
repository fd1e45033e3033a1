"""The doctor beside a running daemon: it hears everything and takes nothing."""

import json
import secrets
import threading
import time

import psycopg

from support import commands, harness


def _doctor(daemon, *words, listen=3):
    return commands.run(["doctor", "--listen", listen, *words], daemon.env)


def test_what_it_writes_takes_what_it_heard(make_daemon, publisher, database, tmp_path):
    """A newcomer's way: listen, write, start with what was written, and the readings arrive."""
    daemon = make_daemon()
    base = f"fleet-{secrets.token_hex(3)}"
    plug = json.dumps({"Time": "2026-05-01T14:00:00", "ENERGY": {"Total": 12.5, "Power": 7400}})
    messages = [(f"{base}/tele/plug/SENSOR", plug), (f"{base}/tele/plug/LWT", "Online")]
    stop = threading.Event()

    def publish():
        while not stop.wait(0.3):
            publisher.flush([publisher.publish(topic, payload) for topic, payload in messages])

    thread = threading.Thread(target=publish)
    thread.start()
    file = tmp_path / "found.toml"
    try:
        found = _doctor(daemon, "--write", file)
        assert f"{base}/tele/{{id}}: tasmota, which the settings do not enable\n" in found.stdout
        assert found.returncode == 1
        section = file.read_text().split("[devices.tasmota]\n")[1]
        assert f'"{base}/tele/{{id}}"' in section.splitlines()[0]
        again = _doctor(daemon, "--write", file)
        assert (again.returncode, f"{file} cannot be written" in again.stderr) == (78, True)
        daemon.env["VOLTD_DEVICES"] = json.dumps({"tasmota": {"topics": [f"{base}/tele/{{id}}"]}})
        daemon.start()
        harness.wait_for(lambda: harness.count(database, "meter_reading"))
        found = _doctor(daemon)
        assert f"{base}/tele/{{id}}: tasmota, as in the settings\n" in found.stdout
        assert "not in the registry: plug" in found.stdout
    finally:
        stop.set()
        thread.join()
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "SELECT DISTINCT meter_id, ac_register_kwh, power_kw FROM volt.meter_reading"
        ).fetchall()
    assert rows == [("plug", 12.5, 7.4)]


def test_it_takes_nothing_from_the_daemon(daemon, publisher, database):
    """Each message reaches the daemon, however many doctors listen."""
    infos = []
    looks = [threading.Thread(target=_doctor, args=(daemon,)) for _ in range(2)]
    for look in looks:
        look.start()
    while any(look.is_alive() for look in looks):
        payload = f'{{"soc":5,"timestamp":{time.time()}}}'
        infos += [publisher.publish(f"{daemon.name}/vehicle/V{len(infos) + n}", payload) for n in range(20)]
        publisher.flush(infos[-1:])
    harness.wait_for(
        lambda: harness.count(database, "vehicle_reading") + harness.count(database, "dead_letter") >= len(infos)
    )


def test_no_broker(daemon):
    env = daemon.env | {"VOLTD_MQTT__PORT": "1"}
    ended = commands.run(["doctor", "--listen", "1"], env)
    assert ended.returncode == 1
    assert "check that the broker runs" in ended.stderr
