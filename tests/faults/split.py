"""Readings that come in two messages each, while daemon and database are taken away: one row with all of it."""

import contextlib

from faults.database import away
from faults.registry import fault, hold
from support import harness


@fault
def split_readings(stage, oracle, hold_s):
    """Halves next to each other, over a kill -9, over connections cut, and of which one waits in the spool."""
    with split(oracle, behind=1):
        oracle.publisher.await_acked(100)
        stage.daemon.kill()
        stage.start(wait=False)
        oracle.publisher.await_acked(100)
        stage.to_database.cut()
    with split(oracle, behind=150):
        oracle.publisher.await_acked(100)
        with away(stage):
            hold(hold_s)
        oracle.publisher.await_acked(100)
    harness.wait_for(lambda: stage.daemon.status().get("readings_filled_total", 0) > 0, what="filled readings")


@contextlib.contextmanager
def split(oracle, behind):
    """Meanwhile a reading's second half comes so many messages behind its first."""
    oracle.publisher.split_behind = behind
    try:
        yield
    finally:
        oracle.publisher.split_behind = 0
