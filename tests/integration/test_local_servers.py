"""The servers of `voltd.local` start, restart and go, and the fixtures give what they promise."""

import psycopg
import pytest


def test_fresh_database_has_the_extension_and_nothing_else(fresh_database):
    with psycopg.connect(fresh_database) as connection:
        assert connection.execute("select count(*) from pg_extension where extname = 'timescaledb'").fetchone() == (1,)
        assert connection.execute("select count(*) from timescaledb_information.hypertables").fetchone() == (0,)


@pytest.mark.parametrize("edition", ["timescale", "apache"])
def test_database_of_an_edition_has_its_licence(database_of, edition):
    with psycopg.connect(database_of(edition)) as connection:
        assert connection.execute("show timescaledb.license").fetchone() == (edition,)


def test_each_database_is_a_new_one(database_of, editions):
    assert database_of(editions[0]) != database_of(editions[0])
