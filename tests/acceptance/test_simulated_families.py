"""A daemon with the settings that ``voltd simulate --as`` prints takes what the fleet sends."""

import json
import secrets
import tomllib

from support import databases, harness
from voltd.simulate.families import catalogue


def test_a_mixed_fleet(make_daemon, database, broker):
    """Every device is heard, nothing is refused, and registers rise; who gives no time is dated by its arrival."""
    prefix = f"t{secrets.token_hex(3)}-"
    daemon = make_daemon()
    for kind in ("VEHICLE", "METER", "INGEST"):
        del daemon.env[f"VOLTD_MQTT__TOPICS__{kind}"]
    daemon.env["VOLTD_DEVICES"] = json.dumps(tomllib.loads(catalogue.settings(("ovms", "tasmota")))["devices"])
    daemon.start()
    try:
        words = ["--vehicles", "12", "--meters", "12", "--as", "ovms,tasmota,voltd", "--prefix", prefix]
        quiet = ["--bad-share", "0", "--duplicate-share", "0", "--offline-share", "0"]
        done = daemon.run("simulate", *words, *quiet, "--interval", "1", "--for", "8")
        assert done.returncode == 0, done.stderr
        for family in ("ovms", "tasmota"):
            assert f"[devices.{family}]" in done.stderr
        heard = "SELECT count(DISTINCT vehicle_id) FROM volt.vehicle_reading WHERE time_source = 'arrival'"
        harness.wait_for(lambda: databases.ask(database, heard) == [(6,)])
        harness.wait_for(lambda: harness.count(database, "meter_reading") >= 12 * 7)
        rows = databases.ask(
            database, "SELECT max(ac_register_kwh) - min(ac_register_kwh) FROM volt.meter_reading GROUP BY meter_id"
        )
        assert sum(rise is not None and rise > 0 for (rise,) in rows) >= 2
        assert databases.ask(database, "SELECT DISTINCT time_source FROM volt.meter_reading") == [(None,)]
        assert harness.count(database, "dead_letter") == 0
    finally:
        daemon.terminate()
        harness.end_session(broker.host, broker.port, f"voltd-{daemon.env['VOLTD_INSTANCE']}")
