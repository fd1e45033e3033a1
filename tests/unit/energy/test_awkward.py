"""What holds for the energy of any device, on random and on recorded readings."""

import datetime as dt
import pathlib
import random
from fractions import Fraction

import pytest

from support.energy import model, registers
from support.energy.awkward import awkward
from support.energy.cases.build import DAY
from support.energy.oracle import Energy
from support.energy.recorded import recorded

RECORDED = pathlib.Path(__file__).resolve().parents[4] / "shared" / "data" / "twizy_trips.csv.gz"

SEEDS = range(60)
START, END = DAY - dt.timedelta(hours=2), DAY + dt.timedelta(days=9)


@pytest.mark.parametrize("seed", SEEDS)
def test_quarters_add_up(seed):
    """Each figure is within its bounds, and quarter hours add up to any longer period, also if it is cut anywhere."""
    side = awkward(seed)
    energy = Energy(side)
    days = sorted({one.at.date() for one in side.readings})
    start = dt.datetime.combine(days[0], dt.time(), dt.UTC) - dt.timedelta(hours=2)
    end = dt.datetime.combine(days[-1], dt.time(), dt.UTC) + dt.timedelta(hours=26)
    quarters = energy.quarters(start, end)
    whole = energy.of(start, end)
    assert sum(one.energy_kwh for one in quarters) == whole.energy_kwh
    assert sum(one.covered for one in quarters) / len(quarters) == whole.covered
    for one in [whole, *quarters]:
        assert 0 <= one.low_kwh <= one.energy_kwh <= one.high_kwh
        assert 0 <= one.covered <= 1
        assert one.estimated or one.low_kwh == one.high_kwh
    cut = start + dt.timedelta(seconds=random.Random(seed).randrange(int((end - start).total_seconds())))
    assert energy.of(start, cut).energy_kwh + energy.of(cut, end).energy_kwh == whole.energy_kwh


@pytest.mark.parametrize("seed", SEEDS)
def test_any_order(seed):
    """The order of arrival changes nothing, and a seed is one device."""
    side = awkward(seed)
    assert side == awkward(seed)
    ordered = model.Side(tuple(sorted(side.readings, key=lambda one: one.at)), side.device)
    assert Energy(side).of(START, END) == Energy(ordered).of(START, END)
    assert len({one.at for one in side.readings}) == len(side.readings)


def test_everything_occurs():
    """Random devices come by each event, each source, estimates and suspect stretches."""
    energies = [Energy(awkward(seed)) for seed in range(200)]
    quarters = [quarter for one in energies[:20] for quarter in one.quarters(START, START + dt.timedelta(days=3))]
    assert {event.what for one in energies for event in one.events} == {
        "contradicted", "impossible_step", "reset", "lower_start", "session",
    }  # fmt: skip
    assert {one.source for one in quarters} == {"register", "interval", "mixed", "none"}
    assert {one.estimated for one in quarters} == {one.suspect for one in quarters} == {True, False}


def test_nothing_lies_on_the_edge():
    """A tolerance a millionth of a kWh off changes no event: rounding cannot decide what a random reading is."""
    for seed in SEEDS:
        events = [
            Energy(awkward(seed), jitter_kwh=registers.JITTER_KWH + off).events
            for off in (Fraction(-1, 10**7), Fraction(1, 10**7))
        ]
        assert events[0] == events[1], seed


@pytest.mark.slow
@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded trips are not part of the project")
def test_recorded_trips():
    """A trip takes what its highest reading has above its first, but for what voltd found in between."""
    for vehicle, side in recorded(RECORDED).items():
        energy = Energy(side)
        ordered = sorted(side.readings, key=lambda one: one.at)
        figure = energy.of(ordered[0].at, ordered[-1].at)
        assert figure.source == "register", vehicle
        if not energy.events:
            rise = max(one.register_kwh for one in ordered) - ordered[0].register_kwh
            assert float(figure.energy_kwh) == pytest.approx(rise, abs=1e-9), vehicle
            assert figure.covered == 1, vehicle
