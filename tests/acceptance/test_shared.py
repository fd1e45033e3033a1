"""Several daemons share one subscription and one database."""

import datetime as dt
from concurrent import futures

import psycopg
import pytest

from support import harness

START = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)


@pytest.fixture
def three(make_daemon):
    """Three running daemons of one group on the same topics."""
    first = make_daemon(mqtt__share_group="g", mqtt__receive_maximum=500)
    daemons = [first]
    for _ in range(2):
        other = make_daemon(mqtt__share_group="g", mqtt__receive_maximum=500)
        other.env |= {name: value for name, value in first.env.items() if "TOPICS" in name}
        daemons.append(other)
    for daemon in daemons:
        daemon.start()
    return daemons


def _publish(publisher, name, count, first=0):
    return [
        publisher.publish(
            f"{name}/vehicle/V{number % 50}",
            f'{{"timestamp":"{(START + dt.timedelta(seconds=number)).isoformat()}","soc":{number % 100}}}',
        )
        for number in range(first, first + count)
    ]


def test_three_daemons_one_killed(three, publisher, database):
    """Each message goes to one of the three; one is killed in the stream: nothing lost, nothing twice."""
    name = three[0].name
    infos = _publish(publisher, name, 6000)
    harness.wait_for(lambda: harness.count(database, "vehicle_reading") > 1000)
    three[1].kill()
    infos += _publish(publisher, name, 6000, first=6000)
    publisher.flush(infos)
    three[1].start()  # what the broker had given to it waits in its session
    harness.wait_for(lambda: harness.count(database, "vehicle_reading") >= 12_000, 60)
    assert harness.count(database, "vehicle_reading") == 12_000
    shares = [daemon.status()["messages_received_total"] for daemon in (three[0], three[2])]
    assert min(shares) > 500, "the work is shared"


def test_jobs_run_in_exactly_one_daemon_and_are_taken_over(three, database):
    """One holds the leader's lock; when it dies another has it within ten seconds."""

    def leaders():
        return [daemon for daemon in three if daemon.events("jobs.leading")]

    harness.wait_for(leaders)
    (leader,) = leaders()
    leader.kill()
    harness.wait_for(lambda: len(leaders()) == 2, 10, "the takeover")
    with psycopg.connect(database) as connection:
        held = connection.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database"
            " WHERE locktype = 'advisory' AND objid = 1818583396 AND d.datname = current_database()"
        ).fetchone()
    assert held == (1,)


def test_voltd_check_takes_nothing_from_the_group(three, publisher, database):
    """Somebody looks again and again while messages come: each still reaches one of the daemons."""
    looks, infos = [], []
    with futures.ThreadPoolExecutor(1) as pool:
        while len(looks) < 3 or not looks[-1].done() or len(infos) <= 500:
            if not looks or looks[-1].done():
                looks.append(pool.submit(three[0].run, "check"))
            infos += _publish(publisher, three[0].name, 100, first=len(infos))
            publisher.flush(infos[-1:])
    publisher.flush(infos)
    assert {look.result().returncode for look in looks} == {0}
    harness.wait_for(lambda: harness.count(database, "vehicle_reading") >= len(infos), what="all of them")


def test_a_daemon_that_joins_a_group_later(make_daemon, publisher, database):
    """It is sent its share, and no longer everything as before, too."""
    daemon = make_daemon().start()
    daemon.terminate()
    daemon.env["VOLTD_MQTT__SHARE_GROUP"] = "g"
    daemon.start()
    publisher.flush(_publish(publisher, daemon.name, 500))
    harness.wait_for(lambda: harness.count(database, "vehicle_reading") == 500)
    harness.wait_for(lambda: daemon.status()["readings_written_total"] == 500)
    assert daemon.status()["messages_received_total"] == 500
