"""Every fault once, shortened, while a fleet publishes: nothing lost, nothing twice, and the counters agree."""

import contextlib

import pytest

from faults import everything, small_disk
from faults.oracle import Oracle
from faults.stage import Stage

_HOLD_S = 0.8
_RATE = 250  # messages a second: each costs the publisher, the broker, the daemon and the database


@pytest.fixture(scope="module")
def stages():
    """One stage for all faults, and a new one after a fault that failed."""
    with contextlib.ExitStack() as open_ones:
        yield open_ones, []


@pytest.fixture
def stage_and_oracle(stages):
    open_ones, ready = stages
    if not ready:
        open_ones.close()
        try:
            stage = Stage(spool__after_s=0.5)
        except small_disk.NotPossible as problem:
            pytest.skip(str(problem))
        open_ones.callback(stage.close)
        oracle = Oracle(stage.start(), rate=_RATE)
        open_ones.callback(oracle.close)
        ready.append((stage, oracle))
    return ready.pop()  # a test that succeeds gives it back


@pytest.mark.parametrize("name", everything.REGISTRY)
def test_fault_while_publishing(stages, stage_and_oracle, name):
    """The messages acked to the publisher are the rows and dead letters, each once."""
    stage, oracle = stage_and_oracle
    oracle.publisher.go()
    try:
        everything.REGISTRY[name].inject(stage, oracle, _HOLD_S)
        not_possible = ""
    except small_disk.NotPossible as problem:
        not_possible = str(problem)
        oracle.publisher.await_acked(100)  # on a busy machine nothing is published yet
    figures = oracle.check()
    assert figures.readings > 0
    assert figures.faultless, figures
    stages[1].append((stage, oracle))
    if not_possible:
        pytest.skip(not_possible)
