"""Transient or permanent, by SQLSTATE."""

import psycopg
import pytest

from voltd import errors
from voltd.database import sqlstate


@pytest.mark.parametrize(
    "code",
    ["08006", "25006", "28P01", "3D000", "40001", "40P01", "42501", "42P01", "53100", "53300", "55P03", "57014",
     "57P01", "57P03", "58030", "XX000"],
)  # fmt: skip
def test_transient(code):
    """The batch is kept: nothing about its rows is wrong."""
    error = psycopg.errors.lookup(code)("it happened")
    assert isinstance(sqlstate.wrap(error), errors.StoreUnavailable)


@pytest.mark.parametrize("code", ["22003", "22021", "22P02", "23502", "23505", "23514"])
def test_permanent(code):
    """These rows will never go in as they are; the SQLSTATE is kept for whoever isolates them."""
    wrapped = sqlstate.wrap(psycopg.errors.lookup(code)("it happened"))
    assert isinstance(wrapped, errors.StoreRejected)
    assert wrapped.sqlstate == code


def test_a_lost_connection_is_transient():
    """Psycopg gives it no SQLSTATE."""
    wrapped = sqlstate.wrap(psycopg.OperationalError("server closed the connection unexpectedly"))
    assert isinstance(wrapped, errors.StoreUnavailable)
    assert wrapped.hint


def test_what_psycopg_cannot_encode_is_permanent():
    """A NUL in a text never reaches the server, and never will."""
    wrapped = sqlstate.wrap(psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"))
    assert isinstance(wrapped, errors.StoreRejected)


def test_an_unknown_sqlstate_is_transient():
    """In doubt the batch is kept."""

    class Strange(psycopg.DatabaseError):
        sqlstate = "ZZ999"

    assert isinstance(sqlstate.wrap(Strange("?")), errors.StoreUnavailable)


def test_the_message_names_the_case():
    """A person reads what it means, not only a code."""
    wrapped = sqlstate.wrap(psycopg.errors.DiskFull("could not extend file"))
    assert "disk full" in str(wrapped)
    assert "53100" in str(wrapped)
    assert "disk space" in wrapped.hint
