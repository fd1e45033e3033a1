"""The database is away: readings are acked because the spool has them, and are all in the table in the end."""

import datetime as dt
import secrets

from support import harness

START = dt.datetime.now(dt.UTC) - dt.timedelta(hours=5)


def _publish(publisher, daemon, count, first=0):
    return [
        publisher.publish(
            f"{daemon.name}/vehicle/V{number % 50}",
            f'{{"timestamp":"{(START + dt.timedelta(seconds=number)).isoformat()}","soc":{number % 100}}}',
        )
        for number in range(first, first + count)
    ]


def _settled(daemon, database, count, dead_letters=0):
    harness.wait_for(lambda: harness.count(database, "vehicle_reading") >= count, 60, f"{count} rows")
    assert harness.count(database, "vehicle_reading") == count
    harness.wait_for(lambda: daemon.status()["readings_spooled"] == 0, what="an empty spool")
    assert harness.count(database, "dead_letter") == dead_letters
    assert daemon.status()["dropped_total"] == 0


def _spooled(daemon, count):
    harness.wait_for(lambda: daemon.status()["readings_spooled"] >= count, 30, f"{count} readings in the spool")


def test_outage_without_the_brokers_memory(make_daemon, publisher, database, servers):
    """Acks continue while the database is away; afterwards each reading and dead letter is there once, as counted."""
    daemon = make_daemon(mqtt__receive_maximum=200, database__retry_max_s=0.5, spool__after_s=0.5).start()
    publisher.flush(_publish(publisher, daemon, 100))
    servers.database.stop(immediate=True)
    try:
        publisher.flush(
            [*_publish(publisher, daemon, 3000, first=100), publisher.publish(f"{daemon.name}/vehicle/V0", "no")]
        )
        _spooled(daemon, 3000)
        harness.wait_for(lambda: daemon.status()["in_flight"] == 0, what="an open window")
        assert daemon.status()["store"] == "unavailable"
    finally:
        servers.database.start()
    publisher.flush(_publish(publisher, daemon, 100, first=3100))
    _settled(daemon, database, 3200, dead_letters=1)
    status = harness.wait_for(lambda: daemon.status()["store"] == "ok" and daemon.status(), what="a store that is ok")
    assert (status["readings_written_total"], status["messages_dead_lettered_total"]) == (3200, {"not_json": 1})
    harness.wait_for(
        lambda: (
            harness.count(database, "vehicle_current", f"recorded_at >= '{START + dt.timedelta(seconds=3150)}'") == 50
        ),
        what="the newest state of each vehicle",
    )
    assert daemon.events("spool.drained") >= 1


def test_killed_while_spooling_and_while_draining(make_daemon, publisher, database, servers):
    """Kill -9 with the database away, and again while the spool drains: nothing is lost, nothing doubled."""
    daemon = make_daemon(database__retry_max_s=0.5, spool__after_s=0.2, batch__max_messages=100).start()
    servers.database.stop(immediate=True)
    try:
        publisher.flush(_publish(publisher, daemon, 2000))
        _spooled(daemon, 500)
        daemon.kill()
        daemon.start()
        _spooled(daemon, 2000)
        publisher.flush(_publish(publisher, daemon, 2000, first=2000))
        _spooled(daemon, 4000)
    finally:
        servers.database.start()
    harness.wait_for(lambda: harness.count(database, "vehicle_reading") > 200, 30)
    daemon.kill()
    daemon.start()
    _settled(daemon, database, 4000)


def test_full_spool_is_backpressure(make_daemon, publisher, database, servers):
    """A spool that is full acks no more and says so; the broker keeps the rest, and all is stored in the end."""
    bounds = {"spool__max_bytes": 1 << 20, "batch__max_bytes": 1 << 18}
    daemon = make_daemon(mqtt__receive_maximum=300, database__retry_max_s=0.5, spool__after_s=0.2, **bounds).start()
    servers.database.stop(immediate=True)
    try:
        infos = [
            publisher.publish(
                f"{daemon.name}/vehicle/V{number % 50}",
                {
                    "timestamp": (START + dt.timedelta(seconds=number)).isoformat(),
                    "diagnostics": {"n": number, "noise": secrets.token_hex(5000)},
                },
            )
            for number in range(1000)
        ]
        publisher.flush(infos)
        harness.wait_for(lambda: daemon.events("spool.unavailable") > 0, 30, "the full spool being reported")
        _spooled(daemon, 1)
        assert daemon.status()["readings_spooled"] < 1000
        harness.wait_for(lambda: daemon.status()["in_flight"] > 200, what="a closed window")
    finally:
        servers.database.start()
    _settled(daemon, database, 1000)
    assert daemon.process.poll() is None


def test_starting_while_the_database_is_away(make_daemon, publisher, database, servers):
    """A daemon that starts before the database takes readings all the same, and keeps them over a SIGTERM."""
    daemon = make_daemon(database__retry_max_s=0.5)
    servers.database.stop()
    try:
        daemon.start()
        publisher.flush(_publish(publisher, daemon, 50))
        _spooled(daemon, 50)
        assert daemon.terminate() == 0
        daemon.start()
        _spooled(daemon, 50)
    finally:
        servers.database.start()
    _settled(daemon, database, 50)
