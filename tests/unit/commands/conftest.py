"""Commands run in the tests' own process here."""

import pytest
import structlog


@pytest.fixture(autouse=True)
def _logging():
    """A command sets up the log for its own process: other tests must not write into an output that is closed."""
    yield
    structlog.reset_defaults()
