"""Migrated databases of each edition."""

import pytest

from support.schema import connection_of

__all__ = ["connection_of"]  # a fixture


@pytest.fixture
def either(connection_of, editions):
    """The same of one edition: for what is slow, and has the same tables and functions on both."""
    return connection_of(editions[-1])


@pytest.fixture(params=["timescale", "apache"])
def connection(connection_of, request):
    """A connection to a migrated database of each edition in turn; a test speaks of its own devices only."""
    return connection_of(request.param)
