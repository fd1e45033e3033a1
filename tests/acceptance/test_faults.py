"""Nothing lost, nothing twice: the daemon, the database and the broker die at the worst moments."""

import datetime as dt
import signal

import psycopg

from support import harness

START = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)


def _publish(publisher, daemon, count, first=0):
    """Readings that differ in device and time; returned as infos to wait for."""
    return [
        publisher.publish(
            f"{daemon.name}/vehicle/V{number % 50}",
            f'{{"timestamp":"{(START + dt.timedelta(seconds=number)).isoformat()}","soc":{number % 100}}}',
        )
        for number in range(first, first + count)
    ]


def _all_stored(database, count, within_s=60.0):
    harness.wait_for(lambda: harness.count(database, "vehicle_reading") >= count, within_s, f"{count} rows")
    assert harness.count(database, "vehicle_reading") == count


def test_kill_between_copy_and_commit(make_daemon, publisher, database):
    """Invariants 1 and 4: killed with rows copied and not committed, all of them are stored once after the restart."""
    daemon = make_daemon().start()
    with psycopg.connect(database) as blocker:
        blocker.execute("LOCK TABLE volt.dead_letter IN SHARE MODE")  # stops writers only; they come after the readings
        # In the middle: behind all readings it might come in a batch after theirs.
        sent = [*_publish(publisher, daemon, 250), publisher.publish(f"{daemon.name}/vehicle/V0", "no JSON")]
        publisher.flush([*sent, *_publish(publisher, daemon, 250, first=250)])
        harness.wait_for(lambda: _waits_for_lock(database), what="the batch to reach the dead letters")
        daemon.kill()
        blocker.rollback()
    assert harness.count(database, "vehicle_reading") < 500
    daemon.start()
    _all_stored(database, 500)
    assert harness.count(database, "dead_letter") == 1


def _waits_for_lock(database):
    with psycopg.connect(database) as connection:
        return connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND query LIKE '%record_dead_letters%'"
        ).fetchone()[0]


def test_kill_between_commit_and_ack(make_daemon, publisher, database, broker_proxy):
    """Invariant 4: committed, killed before any ack reached the broker: the redelivery changes nothing."""
    daemon = make_daemon(mqtt=broker_proxy.address).start()
    broker_proxy.hold_client()
    publisher.flush([*_publish(publisher, daemon, 500), publisher.publish(f"{daemon.name}/vehicle/V0", "no JSON")])
    harness.wait_for(lambda: harness.count(database, "vehicle_reading") == 500)
    harness.wait_for(lambda: harness.count(database, "dead_letter") == 1)
    daemon.kill()
    broker_proxy.cut()
    broker_proxy.pass_on()
    daemon.start()
    harness.wait_for(lambda: daemon.status()["messages_redelivered_total"] == 501, what="redelivery")
    harness.wait_for(lambda: daemon.status()["readings_duplicate_total"] == 500, what="duplicates counted")
    _all_stored(database, 500)
    assert harness.count(database, "dead_letter") == 1


def test_kill_in_the_middle_of_a_stream(make_daemon, publisher, database):
    """Killed with -9 three times while 10,000 readings are on their way: as many rows as readings."""
    daemon = make_daemon().start()
    infos = []
    for round_ in range(4):
        infos += _publish(publisher, daemon, 2500, first=2500 * round_)
        if round_ < 3:
            harness.wait_for(lambda: harness.count(database, "vehicle_reading") > 2500 * round_ + 500)  # noqa: B023
            daemon.kill()
            daemon.start()
    publisher.flush(infos)
    _all_stored(database, 10_000)


def test_database_down_and_back(make_daemon, publisher, database, servers):
    """The batch is kept, the window stays closed, nothing is acked; when the database is back all is stored."""
    daemon = make_daemon(mqtt__receive_maximum=200, database__retry_max_s=0.5, spool__enabled=False).start()
    publisher.flush(_publish(publisher, daemon, 100))
    _all_stored(database, 100)
    servers.database.stop(immediate=True)
    try:
        publisher.flush(_publish(publisher, daemon, 1000, first=100))
        harness.wait_for(lambda: daemon.status()["in_flight"] == 200, what="a closed window")
        assert daemon.status()["store"] == "unavailable"
    finally:
        servers.database.start()
    _all_stored(database, 1100)
    assert daemon.process.poll() is None
    assert daemon.events("store.recovered") == 1


def test_database_comes_after_the_daemon(make_daemon, publisher, database, servers):
    """Started while the database is away, the daemon waits for it."""
    daemon = make_daemon(database__retry_max_s=0.5)
    servers.database.stop()
    try:
        daemon.start(wait=False)
        harness.wait_for(lambda: daemon.events("store.unavailable") > 0)
    finally:
        servers.database.start()
    harness.wait_for(lambda: daemon.events("broker.connected") == 1)
    publisher.flush(_publish(publisher, daemon, 10))
    _all_stored(database, 10)


def test_broker_down_and_back(make_daemon, publisher, database, broker):
    """The daemon reconnects by itself; acks of the old connection are dropped (invariant 5); all is stored once."""
    daemon = make_daemon(mqtt__reconnect_max_s=0.5).start()
    publisher.flush(_publish(publisher, daemon, 1000))
    broker.stop()
    harness.wait_for(lambda: daemon.events("broker.unavailable") > 0)
    broker.start()
    harness.wait_for(lambda: daemon.events("broker.connected") == 2)
    publisher.flush(_publish(publisher, daemon, 1000, first=1000))
    _all_stored(database, 2000)


def test_sigterm_drains(make_daemon, publisher, database):
    """SIGTERM in a stream: what was taken is written and acked, the exit is 0 within 10 s, the rest arrives later."""
    daemon = make_daemon().start()
    infos = _publish(publisher, daemon, 5000)
    harness.wait_for(lambda: harness.count(database, "vehicle_reading") > 100)
    assert daemon.terminate(10) == 0
    stored = harness.count(database, "vehicle_reading")
    publisher.flush(infos)
    daemon.start()
    _all_stored(database, 5000)
    assert daemon.status()["readings_duplicate_total"] == 0, f"acked all of the {stored} it had stored"


def test_sigterm_with_the_database_away(make_daemon, publisher, database, servers):
    """A store that stays away does not hold up the stop; what was not written stays with the broker."""
    daemon = make_daemon().start()
    servers.database.stop(immediate=True)
    try:
        publisher.flush(_publish(publisher, daemon, 50))
        harness.wait_for(lambda: daemon.events("store.unavailable") > 0)
        assert daemon.terminate(10) == 0
    finally:
        servers.database.start()
    daemon.start()
    _all_stored(database, 50)


def test_second_signal_leaves_at_once(make_daemon, publisher, servers):
    daemon = make_daemon().start()
    servers.database.stop(immediate=True)
    try:
        publisher.flush(_publish(publisher, daemon, 50))
        harness.wait_for(lambda: daemon.events("store.unavailable") > 0)
        daemon.process.send_signal(signal.SIGTERM)
        harness.wait_for(lambda: daemon.events("daemon.stopping") > 0)
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(5) == 1  # a clean stop gives the store longer
    finally:
        servers.database.start()


def test_restart_with_more_queued_than_the_window(make_daemon, publisher, database):
    """What is committed before the broker has answered SUBSCRIBE is acked, too: no slot of the window is lost."""
    daemon = make_daemon(mqtt__receive_maximum=200).start()
    assert daemon.terminate() == 0
    publisher.flush(_publish(publisher, daemon, 3000))
    daemon.start()
    _all_stored(database, 3000)
    assert daemon.status()["acks_voided_total"] == 0
    assert daemon.terminate() == 0
    daemon.start()
    assert daemon.status()["messages_redelivered_total"] == 0


def test_window_full_by_bytes_for_longer_than_the_keepalive(make_daemon, publisher, database):
    """A long outage with large payloads: the daemon stays connected without reading, and catches up afterwards."""
    daemon = make_daemon(
        mqtt__keepalive_s=5, limits__max_held_bytes=1 << 20, batch__max_bytes=1 << 16, limits__max_payload_bytes=1 << 18
    ).start()
    with psycopg.connect(database) as blocker:
        blocker.execute("LOCK TABLE volt.vehicle_reading IN ACCESS EXCLUSIVE MODE")
        notes = "x" * 50_000
        at = START.isoformat()
        infos = [
            publisher.publish(f"{daemon.name}/vehicle/V{number}", {"timestamp": at, "diagnostics": {"notes": notes}})
            for number in range(100)
        ]
        publisher.flush(infos)
        harness.wait_for(lambda: daemon.status()["store"] == "slow", 30, "the status saying so")
        harness.wait_for(lambda: daemon.status()["lag_s"] > 9, 30, "two keepalives")
        assert daemon.status()["status"] == "online"
        assert daemon.events("broker.connected") == 1
        blocker.rollback()
    _all_stored(database, 100)
    assert daemon.events("broker.connected") == 1


def test_broker_that_falls_silent(make_daemon, publisher, database, broker_proxy):
    """A connection that is a black hole is closed after the keepalive, and a new one made."""
    daemon = make_daemon(mqtt=broker_proxy.address, mqtt__keepalive_s=5, mqtt__reconnect_max_s=0.5).start()
    broker_proxy.hold_client()
    harness.wait_for(lambda: daemon.events("broker.disconnected"), 30, "the loss being noticed")
    broker_proxy.pass_on()
    harness.wait_for(lambda: daemon.events("broker.connected") >= 2, 30, "a new connection")
    publisher.flush(_publish(publisher, daemon, 10))
    _all_stored(database, 10)
    assert daemon.process.poll() is None


def test_sigterm_with_a_database_that_hangs(make_daemon, publisher, database):
    """Locks on everything the daemon touches do not hold up the stop either."""
    daemon = make_daemon().start()
    with psycopg.connect(database) as blocker:
        blocker.execute("LOCK TABLE volt.vehicle, volt.vehicle_reading, volt.vehicle_current IN ACCESS EXCLUSIVE MODE")
        publisher.flush(_publish(publisher, daemon, 50))
        harness.wait_for(lambda: daemon.status()["lag_s"] > 1)
        assert daemon.terminate(12) == 0
        blocker.rollback()
    daemon.start()
    _all_stored(database, 50)


def test_hangup_with_a_broken_file(make_daemon, tmp_path):
    """SIGHUP applies the log level; a broken file is refused with an error, and changes nothing."""
    file = tmp_path / "voltd.toml"
    file.write_text("[log]\nlevel = 'info'\n")
    daemon = make_daemon()
    del daemon.env["VOLTD_LOG__LEVEL"]
    daemon.words = ["--config", str(file), "run"]
    daemon.start()
    file.write_text("[log]\nlevel = 'shout'\n")
    daemon.process.send_signal(signal.SIGHUP)
    harness.wait_for(lambda: daemon.events("settings.refused") == 1)
    file.write_text("[log]\nlevel = 'debug'\n")
    daemon.process.send_signal(signal.SIGHUP)
    harness.wait_for(lambda: daemon.events("settings.reloaded") == 1)
    assert daemon.terminate() == 0


def test_broken_fleet_stops_the_stream_until_somebody_has_looked(make_daemon, publisher, database):
    """Past dead_letters.max_ratio nothing more is taken, which the status says; a reload takes the rest."""
    daemon = make_daemon(dead_letters__ratio_over=100, mqtt__receive_maximum=100).start()
    publisher.flush([publisher.publish(f"{daemon.name}/vehicle/V{number % 40}", "malformed") for number in range(400)])
    status = harness.wait_for(lambda: daemon.status().get("halted") and daemon.status(), what="the stop")
    assert "dead_letters.max_ratio" in status["halted"]
    assert harness.count(database, "dead_letter") < 400
    while harness.count(database, "dead_letter") < 400:  # each reload lets another part through
        halted = daemon.events("messages.halted")
        daemon.process.send_signal(signal.SIGHUP)
        harness.wait_for(
            lambda: daemon.events("messages.halted") > halted or harness.count(database, "dead_letter") == 400,  # noqa: B023
            what="the next stop, or the rest",
        )
    assert daemon.events("messages.resumed") >= 1
