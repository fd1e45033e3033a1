"""Faults in an outage of the database, in which the daemon spools."""

import contextlib

from faults import small_disk
from faults.database import away
from faults.registry import fault, hold
from support import harness


@fault
def database_away_while_publishing(stage, oracle, hold_s):
    """Acks do not stop: after spool.after_s the window empties into the spool."""
    with away(stage):
        _spooling(stage)
        before = stage.daemon.status()
        oracle.publisher.await_acked(500)
        hold(hold_s / 2)
        harness.wait_for(
            lambda: stage.daemon.status()["messages_spooled_total"] > before["messages_spooled_total"], what="more acks"
        )
        assert stage.daemon.status()["in_flight"] < 5 * oracle.publisher.rate


@fault
def daemon_killed_while_spooling(stage, oracle, hold_s):
    """What the spool has is there after kill -9 and a start while the database is still away."""
    with away(stage):
        _spooling(stage)
        oracle.publisher.await_acked(200)
        stage.daemon.kill()
        stage.start()
        spooled = stage.daemon.status()["readings_spooled"]
        assert spooled > 0
        oracle.publisher.await_acked(100)
        hold(hold_s / 4)


@fault
def daemon_killed_while_draining(stage, oracle, hold_s):
    """Kill -9 again and again between a COMMIT of the drain and its forgetting: duplicates, stored once."""
    with away(stage):
        _spooling(stage)
        hold(hold_s / 2)
        oracle.publisher.await_acked(200)
    for _ in range(2):
        stage.daemon.kill()
        stage.start(wait=False)
        hold(0.5)  # about the time of a start: some kills come before, some within the drain
    stage.daemon.kill()
    stage.start()


@fault
def daemon_started_without_the_database(stage, oracle, hold_s):
    """Started while the database is away: takes messages into the spool, stores them later."""
    assert stage.daemon.terminate() == 0
    with away(stage):
        stage.start()
        _spooling(stage)
        oracle.publisher.await_acked(100)
        hold(hold_s / 4)


@fault
def spool_disk_full(stage, oracle, hold_s):
    """The spool's disk is full while the database is away: no more acks, an error in the log, and nothing lost."""
    assert stage.daemon.terminate() == 0
    try:
        with small_disk.over(stage.spool_folder, 512 << 10):
            stage.start()
            reported = stage.daemon.events("spool.unavailable")
            with away(stage), _quick(oracle):
                _spooling(stage)
                harness.wait_for(
                    lambda: stage.daemon.events("spool.unavailable") > reported, 60, "the full disk being reported"
                )
                assert stage.daemon.process.poll() is None
                hold(hold_s / 4)
            oracle.publisher.settle()
            stage.at_rest(60)
            assert stage.daemon.terminate() == 0
    finally:
        if stage.daemon.process.poll() is not None:
            stage.start()
        oracle.publisher.go()


@contextlib.contextmanager
def _quick(oracle):
    """Meanwhile twice as much is published, or more: what is to be filled is large."""
    usual = oracle.publisher.rate
    oracle.publisher.rate = max(usual, 1000)
    try:
        yield
    finally:
        oracle.publisher.rate = usual


def _spooling(stage):
    harness.wait_for(lambda: stage.daemon.status().get("readings_spooled", 0) > 0, 60, "readings in the spool")
