"""A daemon on a host whose clock is wrong, or steps: readings wait for it, and people are told what to do."""

import datetime as dt
import signal
import subprocess
import time

import psycopg
import pytest

from support import databases, harness, shifted_clock

HOUR = 3600.0
RULES = """
[rules.ingest_lag]
metric = "ingest_lag_s"
applies_to = ["system"]
fire_above = 1.0
clear_below = 0.9
severity = "critical"

[rules.stale]
metric = "silence"
applies_to = ["vehicle", "meter"]
fire_above = 300.0
"""


@pytest.fixture
def clock(tmp_path):
    return shifted_clock.Clock(tmp_path / "clock")


@pytest.fixture
def shifted(make_daemon, clock, tmp_path):
    """A daemon (not started) that lives by the clock."""
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES)
    daemon = make_daemon(alerts__rules_file=rules)
    daemon.program = clock.program
    return daemon


def _publish(publisher, daemon, numbers):
    """A reading of now from each of so many vehicles, acked by the broker."""
    now = dt.datetime.now(dt.UTC).isoformat()
    topic = f"{daemon.name}/vehicle/V"
    publisher.flush([publisher.publish(f"{topic}{one}", {"timestamp": now, "soc": 50}) for one in numbers])


def _alerts(database):
    return databases.ask(database, "SELECT rule, message, resolved_at IS NULL FROM volt.alert ORDER BY 1, 2")


def test_a_host_without_a_clock_battery(shifted, clock, publisher, database):
    """Starts an hour behind: nothing is refused, all is held; alert, status and check say why; then all is stored."""
    clock.set(-HOUR)
    shifted.start()
    _publish(publisher, shifted, range(5))
    held = harness.wait_for(lambda: shifted.status().get("clock_hold"), what="the hold")
    assert held.startswith("this host's clock is 60 min behind")
    text = harness.wait_for(lambda: _alerts(database), what="the alert")[0][1]
    assert "ingest_lag critical: this host's clock is 60 min behind" in text
    assert "timedatectl" in text
    shown = shifted.run("status").stdout
    assert "60 min behind" in shown
    assert "timedatectl" in shown
    harness.wait_for(lambda: "60 min behind" in shifted.run("check").stdout, what="the daemon's word in the check")
    shifted_check = subprocess.run(
        [*clock.program, "check"], env=shifted.env, capture_output=True, text=True, check=False
    )
    assert shifted_check.returncode == 78
    assert "FAIL  clock: this host's clock is 60 min behind the database's" in shifted_check.stdout
    assert harness.count(database, "dead_letter") == harness.count(database, "vehicle_reading") == 0
    clock.set(0.0)
    harness.wait_for(lambda: harness.count(database, "vehicle_reading") == 5, what="the readings")
    _publish(publisher, shifted, range(5))
    harness.wait_for(lambda: harness.count(database, "vehicle_reading") == 10, what="the readings after that")
    assert harness.count(database, "dead_letter") == 0
    harness.wait_for(lambda: [one[2] for one in _alerts(database)] == [False], what="the end of the alert")
    with psycopg.connect(database) as connection:
        (late_s,) = connection.execute(
            "SELECT max(extract(epoch FROM received_at - recorded_at)) FROM volt.vehicle_reading"
        ).fetchone()
    assert -1 < late_s < 30, "received by the clock that is right"
    harness.wait_for(lambda: not shifted.status().get("clock_hold"), what="the status without a hold")


def test_a_host_that_is_ahead(shifted, clock, publisher, database):
    """By less than makes a reading too old: all is stored, and one alert names the clock until it is set."""
    clock.set(1200.0)
    shifted.start()
    _publish(publisher, shifted, range(5))
    harness.wait_for(lambda: harness.count(database, "vehicle_reading") == 5, what="the readings")
    ((rule, text, _),) = harness.wait_for(lambda: _alerts(database), what="the alert")
    assert f"{rule} critical: this host's clock is 20 min ahead of the database's" in text
    assert "timedatectl" in text
    clock.set(0.0)
    harness.wait_for(lambda: [one[2] for one in _alerts(database)] == [False], what="the end of the alert")
    _publish(publisher, shifted, range(5))
    harness.wait_for(lambda: harness.count(database, "vehicle_reading") == 10, what="the readings after that")
    harness.wait_for(
        lambda: harness.count(database, "vehicle_current", "last_seen_at < now() + INTERVAL '1 min'") == 5,
        what="signs of life by the right clock",
    )


def test_stopped_while_it_holds(shifted, clock, publisher, database):
    """Leaves at once with 0 and acks nothing: started again by a right clock it stores all."""
    clock.set(-HOUR)
    shifted.start()
    _publish(publisher, shifted, range(3))
    harness.wait_for(lambda: shifted.status().get("clock_hold"), what="the hold")
    began = time.monotonic()
    assert shifted.terminate() == 0
    assert time.monotonic() - began < 5
    clock.set(0.0)
    shifted.start()
    harness.wait_for(lambda: harness.count(database, "vehicle_reading") == 3, what="the readings")
    assert harness.count(database, "dead_letter") == 0


def test_an_admin_goes_on_with_the_clock_as_it_is(shifted, clock, publisher, database):
    """SIGHUP: the readings become dead letters, and a replay stores them when they are not in the future any more."""
    clock.set(-HOUR)
    shifted.start()
    _publish(publisher, shifted, range(3))
    harness.wait_for(lambda: shifted.status().get("clock_hold"), what="the hold")
    shifted.process.send_signal(signal.SIGHUP)
    harness.wait_for(lambda: harness.count(database, "dead_letter") == 3, what="the dead letters")
    found = shifted.run("dead-letters", "replay", "--reason", "in_future")
    assert "3 readings stored" in found.stdout, found
    assert harness.count(database, "vehicle_reading") == 3
    shifted.kill()  # what the replay stored it has not counted


@pytest.mark.parametrize("by_s", [HOUR, -HOUR])
def test_the_clock_steps_while_readings_come(shifted, clock, publisher, database, by_s):
    """And back again: each reading is stored once, nobody is called silent, and the rules go on being checked."""
    shifted.start()
    _publish(publisher, shifted, range(5))
    harness.wait_for(lambda: harness.count(database, "vehicle_reading") == 5, what="the readings")
    clock.set(by_s)
    harness.wait_for(lambda: shifted.events("clock.stepped") == 1, what="the step")
    _publish(publisher, shifted, range(5))
    checked = shifted.events("rules.checked")
    harness.wait_for(lambda: shifted.events("rules.checked") > checked + 1, what="checks of the rules")
    clock.set(0.0)
    harness.wait_for(lambda: shifted.events("clock.stepped") == 2, what="the step back")
    _publish(publisher, shifted, range(5))
    harness.wait_for(lambda: harness.count(database, "vehicle_reading") == 15, what="the readings")
    checked = shifted.events("rules.checked")
    harness.wait_for(lambda: shifted.events("rules.checked") > checked + 3, what="checks of the rules")
    assert harness.count(database, "dead_letter") == 0
    assert [one for one in _alerts(database) if one[0] == "stale"] == []
