"""A simulated vehicle is believable: physics in the small, habits in the large."""

import itertools
import random

import pytest

from voltd.simulate.fleet import path
from voltd.simulate.fleet.meter import Meter
from voltd.simulate.fleet.vehicle import MODELS, Activity, Vehicle

HOME = (52.09, 5.12)


def _vehicle(activity, seed=1, charger_kw=11.0):
    rng = random.Random(seed)
    return Vehicle(MODELS[0], HOME, activity, rng, charger_kw), rng


def _life(seed, minutes, dt_s=60.0):
    """(before, activity during, after) of each interval of one vehicle; states are (soc, temperature, position)."""
    vehicle, rng = _vehicle(Activity.DRIVING, seed, charger_kw=22.0)
    for minute in range(minutes):
        before = (vehicle.soc_pct, vehicle.battery_temp_c, (vehicle.latitude, vehicle.longitude), vehicle.odometer_km)
        activity = vehicle.activity
        vehicle.advance(minute * dt_s, dt_s, rng)
        yield before, activity, vehicle


@pytest.mark.parametrize("seed", range(3))
def test_two_weeks_of_a_vehicle(seed):
    """SOC and everything else stay within the contract's ranges, and the vehicle does all that vehicles do."""
    seen = set()
    for _, _, vehicle in _life(seed, 14 * 24 * 60):
        seen.add(vehicle.activity)
        assert 0.0 <= vehicle.soc_pct <= 100.0
        assert 0.0 <= vehicle.speed_kmh <= 140.0
        assert -20.0 <= vehicle.battery_temp_c <= 70.0
        assert vehicle.dc_kwh >= 0.0
    assert seen == set(Activity)


def test_driving():
    """SOC falls, the odometer grows, no energy is delivered, and the car is where its speed can have brought it."""
    driven = 0
    for (soc, _, position, odometer), activity, vehicle in _life(3, 3000):
        if activity is Activity.DRIVING:
            driven += 1
            km = vehicle.odometer_km - odometer
            assert vehicle.soc_pct < soc
            assert vehicle.dc_kwh == 0.0
            assert 0.0 <= km <= 140.0 / 60
            # As the crow flies it is at most what the odometer says, and a metre for rounding.
            assert path.DrivenRoute([position, (vehicle.latitude, vehicle.longitude)], [50.0]).length_km <= km + 0.001
    assert driven > 100


def test_faster_is_thirstier():
    """A kilometre on the motorway takes more of the battery than one in town."""
    used = {}
    for limit in (50.0, 120.0):
        vehicle, rng = _vehicle(Activity.DRIVING)
        vehicle._route = path.DrivenRoute([HOME, path.destination(HOME, 0.0, 500.0)], [limit])
        vehicle._km, vehicle.soc_pct = 0.0, 90.0
        began = vehicle.odometer_km
        for second in range(1200):
            vehicle.advance(second, 1.0, rng)
        used[limit] = (90.0 - vehicle.soc_pct) / (vehicle.odometer_km - began)
    assert used[120.0] > used[50.0]


def test_speed_at_one_second():
    """Nothing accelerates or brakes harder than a car."""
    vehicle, rng = _vehicle(Activity.DRIVING)
    before = vehicle.speed_kmh
    for second in range(900):
        vehicle.advance(second, 1.0, rng)
        if vehicle.activity is not Activity.DRIVING:
            break
        assert -6.6 <= vehicle.speed_kmh - before <= 4.6
        before = vehicle.speed_kmh


def test_charging():
    """SOC rises by exactly the energy delivered, the battery warms, and over 80 % it goes slower."""
    vehicle, rng = _vehicle(Activity.CHARGING)
    vehicle._target_pct = 100.0
    began_c, powers = vehicle.battery_temp_c, {}
    minute = 0
    while vehicle.activity is Activity.CHARGING:
        soc = vehicle.soc_pct
        vehicle.advance(minute * 60.0, 60.0, rng)
        minute += 1
        assert vehicle.soc_pct > soc
        assert (vehicle.soc_pct - soc) / 100 * vehicle.model.battery_kwh == pytest.approx(vehicle.dc_kwh)
        powers[soc] = vehicle.dc_kwh * 60
        if minute == 120:
            assert vehicle.battery_temp_c > began_c
    assert vehicle.soc_pct == 100.0
    bulk = [kw for soc, kw in powers.items() if soc < 80.0]
    taper = [kw for soc, kw in powers.items() if 80.0 < soc < 99.9]
    assert max(taper) < max(bulk) == pytest.approx(11.0, rel=0.03)
    assert taper[-1] < 0.2 * max(bulk)


def test_fast_charger_bypasses_the_rectifier():
    """Direct current charges faster than the vehicle's own rectifier could, alternating current does not."""
    assert _vehicle(Activity.CHARGING, charger_kw=50.0)[0].charger_kw == 50.0
    assert _vehicle(Activity.CHARGING, charger_kw=22.0)[0].charger_kw == MODELS[0].charge_kw == 11.0


def test_charger_efficiency_over_two_months():
    """Each charger has its own efficiency within 0.86-0.96; it drifts, but hardly within an hour."""
    bases = set()
    for seed in range(40):
        meter = Meter(random.Random(seed))
        values = [meter.efficiency(hour * 3600.0) for hour in range(24 * 60)]
        assert min(values) >= 0.86
        assert max(values) <= 0.96
        assert max(values) - min(values) > 0.015
        assert max(abs(b - a) for a, b in itertools.pairwise(values)) < 0.0005
        bases.add(round(values[0], 3))
    assert len(bases) > 25


def test_idle_meter():
    """Without a charge a meter shows nothing or a few watts."""
    watts = []
    for seed in range(200):
        rng = random.Random(seed)
        meter = Meter(rng)
        meter.advance(60.0, 60.0, 0.0, rng)
        watts.append(meter.power_kw * 1000)
    assert max(watts) <= 3.001
    assert 100 < watts.count(0.0) < 200


def test_route_positions():
    """Positions lie on the way: the ends are the waypoints and equal distances are equal steps."""
    ends = HOME, path.destination(HOME, 1.0, 30.0)
    route = path.DrivenRoute(list(ends), [100.0])
    assert route.length_km == pytest.approx(30.0, abs=1e-3)
    assert route.position(0.0) == pytest.approx(HOME)
    assert route.position(99.0) == pytest.approx(ends[1])
    middle = route.position(15.0)
    assert path.DrivenRoute([HOME, middle], [1.0]).length_km == pytest.approx(15.0, abs=1e-3)
    assert route.reversed().position(0.0) == pytest.approx(ends[1])


def test_planned_route():
    """A long trip has motorway, a short one has none, and both begin at home."""
    far, near = path.plan(random.Random(1), HOME, 50.0), path.plan(random.Random(1), HOME, 4.0)
    assert far.position(0.0) == near.position(0.0) == pytest.approx(HOME)
    assert max(far.limit_kmh(km) for km in range(50)) >= 90.0
    assert max(near.limit_kmh(km / 10) for km in range(40)) <= 60.0
    assert far.length_km == pytest.approx(50.0, rel=0.05)
