"""Who else has the client id, as far as the database knows."""

import os
import subprocess
import sys
import threading

import psycopg

from voltd import config
from voltd.daemon import heartbeats
from voltd.host import identity


def _ended():
    """The number of a process that is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def _report(dsn, pid):
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO volt.daemon"
            " (instance, reported_at, lag_s, spooling, healthy, client_id, host, pid, started_at)"
            " VALUES ('far', now(), 0, false, true, 'shared', %s, %s, '2026-01-01Z') ON CONFLICT (instance)"
            " DO UPDATE SET reported_at = now()",
            [identity.own().host, pid],
        )


def test_a_machine_of_the_same_name(migrated_database):
    """Its daemon lives, whatever numbers processes here have; one that reports no more does not."""
    asks = heartbeats.Heartbeats(config.Settings(mqtt={"client_id": "shared"}, database={"dsn": migrated_database}))
    pid, done = _ended(), threading.Event()
    assert pid != os.getpid()
    _report(migrated_database, pid)

    def go_on():
        while not done.wait(0.1):
            _report(migrated_database, pid)

    other = threading.Thread(target=go_on)
    other.start()
    try:
        found = asks.living(before=None)
    finally:
        done.set()
        other.join()
    assert found is not None
    assert (found.host, found.pid) == (identity.own().host, pid)
    assert asks.living(before=None) is None
