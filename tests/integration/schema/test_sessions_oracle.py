"""Charging sessions in SQL and by an oracle that knows docs/sessions.md alone: the same, whatever vehicles report."""

import datetime as dt

import pytest

from support.sessions.oracle import Sessions
from support.sessions.random_worlds import random_world
from support.sessions.rows import put

DAY = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)


def _of_the_database(connection, vehicle, world):
    times = [one.at for one in world.readings]
    rows = connection.execute(
        "SELECT began_at, ended_at, charging_s, found_by, estimated FROM volt_internal.session_spans(%s, %s, %s)",
        (vehicle, min(times) - dt.timedelta(days=2), max(times) + dt.timedelta(days=2)),
    ).fetchall()
    return [(*row[:2], round(float(row[2]), 3), *row[3:]) for row in rows]


def _of_the_oracle(world):
    return [
        (one.began_at, one.ended_at, round(one.charging_s, 3), one.found_by, one.estimated)
        for one in Sessions(world).found()
    ]


@pytest.mark.parametrize("seed", range(24))
def test_random_vehicles(connection, seed):
    world = random_world(seed, DAY)
    if not world.readings:
        return
    put(connection, f"random-{seed}", world)
    assert _of_the_database(connection, f"random-{seed}", world) == _of_the_oracle(world)
