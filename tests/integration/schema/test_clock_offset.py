"""How far a meter's clock is off a vehicle's: from begins and ends of charging, between the readings."""

import random

import psycopg
import pytest

from support.schema import at, meter, store, vehicle

EVERY_S = 60
SESSIONS = [(3725.0, 9333.0), (20011.0, 29222.0)]  # s from the start


def _energy(sessions, since, until, kw):
    """Energy of a constant power while charging, kWh."""
    return sum(max(0.0, min(until, end) - max(since, begin)) for begin, end in sessions) * kw / 3600


def _readings(make, device, sessions, kw, *, phase, off_s=0.0, jitter_s=0.0, lost=0.0, every=EVERY_S, register=False,
              ends=36000):  # fmt: skip
    """What a device sends that samples a charging power, by its own clock."""
    rng = random.Random(device)
    last, total, found = phase - every, 100.0, []
    for n in range(int(ends / every)):
        now = phase + n * every + rng.uniform(-jitter_s, jitter_s)
        kwh = _energy(sessions, last, now, kw)
        last, total = now, total + kwh
        if rng.random() >= lost:
            found.append(make(device, at(0, 0, now + off_s), **({"register": total} if register else {"kwh": kwh})))
    return found


@pytest.fixture
def offset(connection):
    """A function: stores readings of a vehicle and its meter, asks for the offset."""

    def ask(name, off_s, *, sessions=SESSIONS, ours=None, theirs=None):
        readings = _readings(vehicle, f"CO-{name}", sessions, 9.2, phase=13.0, **(ours or {}))
        readings += _readings(meter, f"CO-m{name}", sessions, 10.0, phase=41.0, off_s=off_s, **(theirs or {}))
        store(connection, readings, 500)
        ((found, *edges),) = connection.execute(
            "SELECT * FROM volt.clock_offset(%s, %s, %s, %s)", (f"CO-{name}", f"CO-m{name}", at(0), at(10))
        ).fetchall()
        return (None if found is None else float(found)), edges

    return ask


@pytest.mark.parametrize("off_s", [0, 7, -90, 600])
@pytest.mark.parametrize(
    ("kind", "more", "within_s"),
    [
        ("clean", {}, 0.5),
        ("registers", {"register": True}, 0.5),
        ("jitter", {"jitter_s": 5.0}, 2.0),
        ("seldom", {"every": 300}, 2.0),
    ],
)
def test_known(offset, kind, more, within_s, off_s):
    found, edges = offset(f"{kind}{off_s}", off_s, ours=more, theirs=more)
    assert found == pytest.approx(off_s, abs=within_s)
    assert edges == [4, 4, 4]


@pytest.mark.parametrize("off_s", [7, 600])
def test_readings_are_lost(offset, off_s):
    """Edges amid what is lost are left out; the others agree."""
    sessions = [(begin, begin + 1210.0 + begin / 50) for begin in (1825.0, 5433.0, 9111.0, 14007.0, 19030.0, 26100.0)]
    found, edges = offset(f"lost{off_s}", off_s, sessions=sessions, ours={"lost": 0.1}, theirs={"lost": 0.1})
    assert found == pytest.approx(off_s, abs=2.0)
    assert 2 <= edges[0] <= 12


def test_one_reports_every_minute_and_one_every_five(offset):
    found, _ = offset("mixed", 40, ours={"every": 300, "register": True})
    assert found == pytest.approx(40, abs=2.0)


@pytest.mark.parametrize(
    ("name", "sessions"),
    [("constant", [(-1e6, 1e6)]), ("nothing", []), ("one-edge", [(5000.0, 1e6)]), ("too-short", [(5000.0, 5030.0)])],
)
def test_not_known(offset, name, sessions):
    assert offset(name, 7, sessions=sessions)[0] is None


def test_two_offsets_have_as_many(connection):
    """The meter fed two vehicles for the same time each, one after the other."""
    readings = _readings(vehicle, "CO-amb", [(5000.0, 6000.0)], 9.2, phase=13.0)
    readings += _readings(meter, "CO-mamb", [(4000.0, 5000.0), (5700.0, 6700.0)], 10.0, phase=41.0)
    store(connection, readings, 500)
    (row,) = connection.execute("SELECT * FROM volt.clock_offset('CO-amb', 'CO-mamb', %s, %s)", (at(0), at(10)))
    assert row == (None, 2, 2, 4)


def test_others_at_the_meter_do_not_matter(connection):
    readings = _readings(vehicle, "CO-one", SESSIONS, 9.2, phase=13.0)
    others = [(10_000.0, 11_000.0), (12_000.0, 14_500.0), (31_000.0, 33_333.0)]
    readings += _readings(meter, "CO-mone", SESSIONS + others, 10.0, phase=41.0, off_s=-20.0)
    store(connection, readings, 500)
    (row,) = connection.execute("SELECT * FROM volt.clock_offset('CO-one', 'CO-mone', %s, %s)", (at(0), at(10)))
    assert (float(row[0]), row[1:]) == (pytest.approx(-20, abs=0.5), (4, 4, 10))


def test_nobody(connection):
    with connection.transaction():
        connection.execute("SET LOCAL ROLE volt_reader")
        row = connection.execute("SELECT * FROM volt.clock_offset('CO-x', 'CO-y', %s, %s)", (at(0), at(24))).fetchone()
    assert row == (None, 0, 0, 0)


def test_upside_down(connection):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="before it begins"):
        connection.execute("SELECT * FROM volt.clock_offset('V', 'M', %s, %s)", (at(1), at(0)))
