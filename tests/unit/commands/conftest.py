"""For commands that run in the tests' own process."""

import pytest

from voltd import log


@pytest.fixture(autouse=True)
def _logging_stays(monkeypatch):
    """A command would send the logs of later tests to a stream that is closed by then."""
    monkeypatch.setattr(log, "configure", lambda *_: None)
