"""Every fault once, shortened, while a fleet publishes: nothing lost, nothing twice, and the counters agree."""

import faults_broker  # noqa: F401 registers its faults
import faults_database  # noqa: F401 likewise
import oracle as oracle_module
import pytest
import stage as stage_module

import faults

_HOLD_S = 2.0


@pytest.fixture(scope="module")
def stage():
    try:
        made = stage_module.Stage()
    except stage_module.NotPossible as problem:
        pytest.skip(str(problem))
    yield made.start()
    made.close()


@pytest.fixture(scope="module")
def oracle(stage):
    made = oracle_module.Oracle(stage, rate=500)
    yield made
    made.close()


@pytest.mark.parametrize("name", faults.REGISTRY)
def test_fault_while_publishing(stage, oracle, name):
    """The messages acked to the publisher are the rows and dead letters, each once."""
    oracle.publisher.go()
    try:
        faults.REGISTRY[name].inject(stage, oracle, _HOLD_S)
    except stage_module.NotPossible as problem:
        oracle.check()
        pytest.skip(str(problem))
    figures = oracle.check()
    assert figures.readings > 0
    assert figures.faultless, figures
