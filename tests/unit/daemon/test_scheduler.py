"""Jobs that wait, fail or belong to another daemon."""

import functools
import subprocess
import sys
import threading

import pytest
import structlog

from support import harness
from voltd import errors
from voltd.daemon import scheduler

HANGS = """
import threading
from voltd.daemon import scheduler
begun = threading.Event()
def hang():
    begun.set()
    threading.Event().wait()
made = scheduler.make()
scheduler.add(made, [scheduler.Job("hangs", hang, 0.1, 0.0, lambda: True)])
made.start()
assert begun.wait(10)
made.shutdown(wait=False)
"""


@pytest.fixture
def run():
    """A function: runs these jobs until the test ends; each is a name, what it does, and whether it may run."""
    made = scheduler.make()

    def run(*jobs):
        scheduler.add(
            made, [scheduler.Job(name, what, 0.02, 0.0, functools.partial(bool, may)) for name, what, may in jobs]
        )
        made.start()
        return made

    yield run
    if made.running:
        made.shutdown(wait=False)


def test_a_job_that_waits(run):
    """It is not started twice, and no other job waits for it."""
    waits, begun, others = threading.Event(), [], []

    def wait():
        begun.append(1)
        waits.wait(30)

    run(("waits", wait, True), ("other", lambda: others.append(1), True))
    harness.wait_for(lambda: len(others) > 3, what="the other job")
    assert len(begun) == 1
    waits.set()
    harness.wait_for(lambda: len(begun) > 1, what="its next run")


def test_a_job_that_fails(run):
    """It is logged and runs again; after the end nothing is logged."""

    def fail():
        raise errors.StoreUnavailable("away")

    def break_down():
        raise ZeroDivisionError

    with structlog.testing.capture_logs() as logs:
        made = run(("fails", fail, True), ("broken", break_down, True))
        harness.wait_for(lambda: len([one for one in logs if one["job"] == "fails"]) > 1, what="two failures")
        harness.wait_for(lambda: any(one["job"] == "broken" for one in logs), what="the defect")
        made.shutdown(wait=False)
    assert {(one["event"], one["log_level"], one["job"]) for one in logs} == {
        ("job.failed", "warning", "fails"),
        ("job.failed", "error", "broken"),
    }


def test_a_job_of_another_daemon(run):
    """It does not run here."""
    mine, theirs = [], []
    run(("mine", lambda: mine.append(1), True), ("theirs", lambda: theirs.append(1), False))
    harness.wait_for(lambda: len(mine) > 2, what="the job of this daemon")
    assert not theirs


def test_the_process_ends_while_a_job_waits():
    """A silent server holds up no end."""
    subprocess.run([sys.executable, "-c", HANGS], check=True, timeout=30)
