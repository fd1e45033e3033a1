"""Energy and efficiency of on-board chargers in SQL, and by oracles that know the definition alone."""

import datetime as dt
from fractions import Fraction

import pytest

from support.energy import kept, model, sides
from support.energy.awkward import awkward, decided
from support.energy.comparison import efficiency
from support.energy.oracle import Energy
from support.energy.roaming import Roaming
from support.schema import connection_of, heard, materialise, store

__all__ = ["connection_of"]  # a fixture
_STANDBY_KW = Fraction("0.02")
_COLUMNS = ("dc_kwh", "ac_kwh", "comparable_dc_kwh", "comparable_ac_kwh", "standby_kwh", "unassigned_kwh")


@pytest.mark.parametrize("seed", [*range(5000, 5008)])
def test_the_register_is_as_any(connection, seed):
    """By the oracle of energy, with decisions on half of them."""
    side = decided(seed) if seed % 2 else awkward(seed)
    name = f"awkward-{seed}"
    sides.register(connection, name, "onboard", side)
    store(connection, sides.readings(name, "onboard", side))
    for one in side.decisions:
        connection.execute(
            "INSERT INTO volt.register_decision (device_type, device_id, recorded_at, decision, start_kwh)"
            " VALUES ('onboard', %s, %s, %s, %s)", (name, *one),
        )  # fmt: skip
    only = model.Side(tuple(one._replace(interval_kwh=None) for one in side.readings), side.device, side.decisions)
    times = [one.at for one in side.readings if one.register_kwh is not None]
    if not times:
        return
    start = dt.datetime.combine(min(times).date(), dt.time(), dt.UTC)
    end = dt.datetime.combine(max(times).date(), dt.time(), dt.UTC) + dt.timedelta(days=1)
    rows = connection.execute(
        "SELECT quarter_hour, energy_kwh::float, low_kwh::float, high_kwh::float, suspect"
        " FROM volt.onboard_energy_quarters(%s, %s, %s)", (name, start, end),
    ).fetchall()  # fmt: skip
    found = {at: (pytest.approx(figures, abs=1e-6), suspect) for at, *figures, suspect in rows}
    assert found == {
        one.start: ([float(one.energy_kwh), float(one.low_kwh), float(one.high_kwh)], one.suspect)
        for one in Energy(only).quarters(start, end)
        if one.source != "none" or one.covered or one.suspect
    }


def _row(figures):
    if figures is None:
        return None
    numbers = [getattr(figures, one) for one in _COLUMNS]
    return (
        *(None if one is None else pytest.approx(float(one), abs=1e-5) for one in numbers),
        figures.meter_id, figures.source, figures.quality,
    )  # fmt: skip


@pytest.fixture(scope="module", params=["timescale", "apache"])
def randoms(connection_of, request):
    """A database with random vehicles, of which all is kept; and these vehicles. Half of them on each edition."""
    connection = connection_of(request.param, "randoms")
    made = [Roaming(seed) for seed in range(6)][request.param == "apache" :: 2]
    for one in made:
        one.store(connection)
    heard(connection)
    materialise(connection)
    return connection, made


def test_by_the_oracle(randoms):
    """Hours, quarter hours, days and periods that begin and end anywhere; kept as defined."""
    connection, made = randoms
    statement = (
        f"SELECT began_at, ended_at, {', '.join(f'{one}::float' for one in _COLUMNS)}, meter_id, source, quality"
        " FROM volt_internal.vehicle_periods(%s, %s, %s, {})"
    )
    seen = set()
    for one in made:
        whole = one.defined()
        hours = [one.start + dt.timedelta(hours=n) for n in range(39)]
        quarters = [one.start + dt.timedelta(minutes=15 * n) for n in range(0, 150, 5)]
        periods = [(since, since + dt.timedelta(hours=1)) for since in hours]
        periods += [(since, since + dt.timedelta(minutes=15)) for since in quarters]
        periods += [(one.start, one.start + dt.timedelta(hours=24)), (one.start, hours[-1])]
        expected = {key: _row(efficiency(whole, *key, _STANDBY_KW)) for key in periods}
        for from_raw in (True, False):
            rows = connection.execute(
                statement.format(from_raw), (one.name, [since for since, _ in periods], [until for _, until in periods])
            ).fetchall()
            found = {(row[0], row[1]): row[2:] for row in rows}
            wrong = {key: (found.get(key), expected[key]) for key in periods if found.get(key) != expected[key]}
            assert not wrong, f"{one.name}: {wrong}"
        since = one.start + dt.timedelta(seconds=one.rng.randrange(20000))
        until = since + dt.timedelta(seconds=one.rng.randrange(3600, 90000))
        (found,) = connection.execute(statement.format("false"), (one.name, [since], [until])).fetchall()
        assert found[2:] == _row(efficiency(whole, since, until, _STANDBY_KW)), (one.name, since, until)
        seen |= {row[-2:] for row in rows}
        assert kept.differences(connection, [one.name], [f"{one.name}-{name}" for name in one.meters], one.start) == []
    assert {("onboard", "ok"), ("onboard", "no_ac"), ("onboard", "estimated"), ("mixed", "partial")} <= seen
