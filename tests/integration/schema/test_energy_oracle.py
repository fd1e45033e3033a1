"""Energy by quarter hour in SQL and by an oracle that knows the definition alone: the same figures, on any readings."""

import datetime as dt

import pytest

from support.energy import sides
from support.energy.awkward import awkward, decided
from support.energy.oracle import Energy
from support.energy.scenarios import SCENARIOS
from support.schema import store

_SIDES = [
    (f"{number}-{name}", name, side)
    for number, scenario in enumerate(SCENARIOS)
    for name, side in (("meter", scenario.meter), ("vehicle", scenario.vehicle))
    if side is not None
]


def _store(connection, device, kind, side):
    """The readings of a side and what the registry says of it; all of them are in the current state's past."""
    sides.register(connection, device, kind, side)
    store(connection, sides.readings(device, kind, side))
    for one in side.decisions:
        connection.execute(
            "INSERT INTO volt.register_decision (device_type, device_id, recorded_at, decision, start_kwh)"
            " VALUES (%s, %s, %s, %s, %s)",
            (kind, device, *one),
        )


def _of_the_database(connection, device, kind, start, end):
    rows = connection.execute(
        "SELECT quarter_hour, kwh, (covered_s + gap_s) / length_s, gaps IS NOT NULL, suspect, low_kwh, high_kwh, source"
        f" FROM volt_internal.{kind}_energy_quarters(%s, %s, %s)",
        (device, start, end),
    )
    return {
        at: (float(kwh), float(covered), estimated, suspect, float(low), float(high), source)
        for at, kwh, covered, estimated, suspect, low, high, source in rows
    }


def _of_the_oracle(side, start, end):
    source = {"mixed": "both", "none": None}
    return {
        one.start: (
            float(one.energy_kwh), float(one.covered), one.estimated, one.suspect, float(one.low_kwh),
            float(one.high_kwh), source.get(one.source, one.source),
        )
        for one in Energy(side).quarters(start, end)
        if one.source != "none" or one.covered or one.suspect
    }  # fmt: skip


def _same(connection, device, kind, side):
    _store(connection, device, kind, side)
    times = [one.at for one in side.readings]
    start = dt.datetime.combine(min(times).date(), dt.time(), dt.UTC) - dt.timedelta(hours=2)
    end = dt.datetime.combine(max(times).date(), dt.time(), dt.UTC) + dt.timedelta(hours=26)
    found, expected = _of_the_database(connection, device, kind, start, end), _of_the_oracle(side, start, end)
    assert found.keys() == expected.keys()
    for at, figures in expected.items():
        assert (*found[at][2:4], found[at][6]) == (*figures[2:4], figures[6]), at
        numbers = [(row[0], row[1], row[4], row[5]) for row in (found[at], figures)]
        assert numbers[0] == pytest.approx(numbers[1], abs=1e-6), at


@pytest.mark.parametrize(("device", "kind", "side"), _SIDES, ids=[name for name, _, _ in _SIDES])
def test_scenarios(connection, device, kind, side):
    _same(connection, device, kind, side)


@pytest.fixture
def in_turn(connection_of, editions, seed):
    """A connection to one edition or the other: each definition is tried above on both."""
    return connection_of(editions[seed % len(editions)])


@pytest.mark.parametrize("seed", range(40))
def test_awkward_readings(in_turn, seed):
    _same(in_turn, f"awkward-{seed}", "meter", awkward(seed))


@pytest.mark.parametrize("seed", range(3000, 3040))
def test_awkward_readings_with_decisions(in_turn, seed):
    _same(in_turn, f"decided-{seed}", "meter", decided(seed))


@pytest.mark.parametrize("seed", range(2000, 2040))
def test_a_part_of_the_history(in_turn, seed):
    """Whoever asks for some quarter hours gets those of the whole: the readings around them are looked at, too."""
    side = awkward(seed)
    _store(in_turn, f"part-{seed}", "meter", side)
    times = sorted(one.at for one in side.readings)
    start = times[len(times) // 2].replace(minute=0, second=0, microsecond=0)
    end = start + dt.timedelta(hours=1)
    expected = _of_the_oracle(side, start, end)
    found = _of_the_database(in_turn, f"part-{seed}", "meter", start, end)
    assert {at: row[0] for at, row in found.items()} == pytest.approx(
        {at: row[0] for at, row in expected.items()}, abs=1e-6
    )
