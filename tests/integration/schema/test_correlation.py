"""Readings of a vehicle and of its meter side by side: the nearest, one to one, and those that met none."""

import random

import psycopg
import pytest

from support.schema import at, link, meter, store, vehicle


@pytest.fixture
def pairs(connection):
    """A function: (vehicle's second, meter's second) of each row."""

    def rows(vehicle_id, tolerance="5 s"):
        found = connection.execute(
            "SELECT vehicle_recorded_at, meter_recorded_at FROM volt.correlated_readings(%s, %s, %s, %s)",
            (vehicle_id, at(0), at(24), tolerance),
        )
        return [tuple(None if one is None else round((one - at(0)).total_seconds()) for one in row) for row in found]

    return rows


def _store(connection, name, ours, theirs):
    link(connection, f"CR-{name}", f"CR-m{name}")
    store(connection, [vehicle(f"CR-{name}", at(0, 0, s), kwh=0.1) for s in ours])
    store(connection, [meter(f"CR-m{name}", at(0, 0, s), kwh=0.1) for s in theirs])


@pytest.mark.parametrize(
    "case",
    [
        ("apart", [0, 60, 120], [2, 58, 130], [(0, 2), (60, 58), (120, None), (None, 130)]),
        ("two-for-one", [10, 12], [11.5], [(10, None), (12, 12)]),
        ("one-for-two", [11], [8, 12], [(None, 8), (11, 12)]),
        ("tie", [10, 14], [12], [(10, 12), (14, None)]),
        ("alone", [10], [], [(10, None)]),
        ("nobody", [], [10], [(None, 10)]),
    ],
)
def test_pairs(connection, pairs, case):
    name, ours, theirs, expected = case
    _store(connection, name, ours, theirs)
    assert sorted(pairs(f"CR-{name}"), key=str) == sorted(expected, key=str)


def test_any_times(connection, pairs):
    """Each reading is in one pair at most, no pair is wider than the tolerance, and no two that are left would pair."""
    rng = random.Random(7)
    ours, theirs = (sorted(rng.sample(range(2000), 150)) for _ in range(2))
    _store(connection, "any", ours, theirs)
    found = pairs("CR-any")
    assert sorted(one for one, _ in found if one is not None) == ours
    assert sorted(one for _, one in found if one is not None) == theirs
    met = [(one, other) for one, other in found if None not in (one, other)]
    assert len(met) > 50
    assert all(abs(one - other) <= 5 for one, other in met)
    for one, other in met:
        nearer = [abs(one - third) for third in theirs if abs(one - third) < abs(one - other)]
        assert not nearer


def test_only_while_the_link_was_valid(connection, pairs):
    link(connection, "CR-late", "CR-mlate", at(0, 30))
    store(connection, [vehicle("CR-late", at(0, n), kwh=0.1) for n in (10, 40)])
    store(connection, [meter("CR-mlate", at(0, n), kwh=0.1) for n in (10, 40)])
    assert pairs("CR-late") == [(600, None), (2400, 2400)]


def test_how_many_met(connection):
    """The matched energy is that of the quarter hours where all readings met."""
    _store(connection, "sum", range(60, 1860, 60), [s + 2 for s in range(60, 1800, 60)])
    (row,) = connection.execute("SELECT * FROM volt.correlation('CR-sum', %s, %s)", (at(0), at(24))).fetchall()
    assert tuple(map(float, row)) == (30, 29, 29, 96.67, 2.0, 2.9, 2.9)


def test_analysts_may_ask(connection):
    with connection.transaction():
        connection.execute("SET LOCAL ROLE volt_reader")
        row = connection.execute("SELECT * FROM volt.correlation('CR-unknown', %s, %s)", (at(0), at(24))).fetchone()
    assert row[:4] == (0, 0, 0, None)


def test_two_meters_at_once(connection):
    """Equal times of two meters hold nothing up."""
    _store(connection, "two", range(60, 660, 60), range(60, 660, 60))
    link(connection, "CR-two", "CR-mtwo-b")
    store(connection, [meter("CR-mtwo-b", at(0, 0, s), kwh=0.1) for s in range(60, 660, 60)])
    (row,) = connection.execute(
        "SELECT matched, correlation_pct FROM volt.correlation('CR-two', %s, %s)", (at(0), at(24))
    )
    assert tuple(map(float, row)) == (10, 100)


def test_upside_down(connection):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="before it begins"):
        connection.execute("SELECT * FROM volt.correlated_readings('V', %s, %s)", (at(1), at(0)))
