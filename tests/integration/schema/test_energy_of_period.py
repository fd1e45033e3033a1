"""Energy of a period from what is kept of it: the same as from raw readings, whatever is closed, marked or cut."""

import datetime as dt
import itertools
import random

import pytest

from support.energy import sides
from support.energy.awkward import awkward
from support.energy.kept import efficiency_differences, period_differences
from support.energy.scenarios import SCENARIOS
from support.energy.world import World, on
from support.schema import at, connection_of, heard, keep_at, link, materialise, meter, store, vehicle
from voltd import models

__all__ = ["connection_of"]  # a fixture
_SECOND, _MINUTE, _HOUR = dt.timedelta(seconds=1), dt.timedelta(minutes=1), dt.timedelta(hours=1)
_LENGTHS = [4 * _MINUTE, 20 * _MINUTE, _HOUR, 6 * _HOUR, 24 * _HOUR, 50 * _HOUR]


def _period(rng, ends_about):
    """Some time that ends about then: on a quarter hour, a minute, a second, or within one."""
    grid = rng.choice([15 * _MINUTE, _MINUTE, _SECOND, _SECOND / 8])
    end = ends_about - (ends_about - at(0)) % grid
    start = end - rng.choice(_LENGTHS) - rng.choice([0, 0, 401]) * _SECOND
    return start - (start - at(0)) % grid, end


def _regular(rng, first):
    """Vehicles as most are, some asleep for hours, some that change from one kind of energy to the other."""
    for number in range(10):
        step = rng.choice([1, 1, 2, 5, 15])
        for place, minute in enumerate(range(0, 60 * 36, step)):
            asleep = number % 4 == 1 and 300 < minute % 900 < 700
            if asleep or rng.random() < (0.01 if number % 2 else 0):
                continue
            by_register = number % 3 == 0 or (number % 3 == 1 and minute > 1500)
            when = first + dt.timedelta(minutes=minute, seconds=rng.randrange(3))
            yield vehicle(
                f"live-v{number}", when, kwh=None if by_register and number else 0.1,
                register=500 + 0.1 * place if by_register else None, speed=rng.choice([0, 0, 0, 40]),
            )  # fmt: skip


def test_as_time_goes_on(connection_of, editions):
    """Quarter hour by quarter hour, before and after each is closed; one message in fifty is hours late, some days.

    Both editions have the same tables and functions for this, and for links.
    """
    connection = connection_of(editions[0], "live")
    rng = random.Random(13)
    readings: list[models.Reading] = []
    devices = [("vehicle", f"live-v{number}") for number in range(10)] * 2
    for seed in range(4000, 4004):
        device, side = f"live-{seed}", awkward(seed)
        sides.register(connection, device, "meter", side)
        devices.append(("meter", device))
        days = (at(0) - min(one.at for one in side.readings)).days - 20
        readings += sides.readings(device, "meter", side, dt.timedelta(days=days))
    first = min(one.recorded_at for one in readings)
    readings += _regular(rng, first)
    delays = [dt.timedelta()] * 80 + [8 * _MINUTE] * 4 + [3 * _HOUR, 24 * _HOUR]
    arriving = sorted(((one.recorded_at + rng.choice(delays), one) for one in readings), key=lambda pair: pair[0])
    now = first.replace(minute=0, second=0, microsecond=0)
    connection.execute("UPDATE volt_internal.rollup_state SET closing_watermark = %s", (now,))
    while arriving:
        now += dt.timedelta(minutes=rng.choice([15, 25, 50, 100]))
        arrived = [one for arrives_at, one in arriving if arrives_at <= now]
        del arriving[: len(arrived)]
        if not arrived:
            continue
        store(connection, arrived, 500)
        heard(connection)
        if rng.random() < 0.8:  # else what came late is marked and not yet computed
            keep_at(connection, now)
        for kind, device in rng.sample(devices, 3):
            ends_about = now - rng.choice([-5 * _MINUTE, 0 * _MINUTE, 0 * _MINUTE, 20 * _MINUTE, 5 * _HOUR, 30 * _HOUR])
            assert period_differences(connection, kind, device, *_period(rng, ends_about)) == []


def test_scenarios(connection_of):
    """Each of them once all is closed, in periods that begin and end anywhere in it."""
    connection = connection_of("timescale", "scenarios")
    devices = []
    for number, scenario in enumerate(SCENARIOS):
        for kind, side in (("meter", scenario.meter), ("vehicle", scenario.vehicle)):
            if side is not None and side.readings:
                sides.register(connection, f"{kind}-{number}", kind, side)
                days = (at(0) - min(one.at for one in side.readings)).days - 20
                readings = sides.readings(f"{kind}-{number}", kind, side, dt.timedelta(days=days))
                store(connection, readings, 500)
                devices.append((kind, f"{kind}-{number}", [one.recorded_at for one in readings]))
    materialise(connection)
    heard(connection)
    rng = random.Random(17)
    for kind, device, times in devices:
        for _ in range(3):
            ends_about = rng.choice(times) + dt.timedelta(seconds=rng.randrange(-2000, 2000))
            assert period_differences(connection, kind, device, *_period(rng, ends_about)) == []


def test_two_vehicles_at_a_meter(connection_of, editions):
    """Links that begin and end within quarter hours, shared meters, gaps, drives; and late readings."""
    world = World(connection_of(editions[-1], "world"), "w")
    world.build()
    readings = list(world.readings())
    late = readings[7::400]
    store(world.connection, [one for one in readings if one not in late], 500)
    materialise(world.connection)
    heard(world.connection)
    rng = random.Random(19)

    def same():
        for one in world.vehicles:
            for _ in range(4):
                start, end = _period(rng, on(rng.uniform(3, 40)))
                inner = [start + _HOUR - (start - at(0)) % _HOUR + n * _HOUR for n in range(60)]
                edges = [start, *[one for one in inner if start < one < end], end]
                starts, ends = [start, *edges[:-1]], [end, *edges[1:]]
                assert efficiency_differences(world.connection, one, starts, ends) == []

    same()
    store(world.connection, late)
    same()  # marked
    materialise(world.connection)
    same()


def test_what_is_kept_is_read(connection):
    """Whoever changes a kept quarter hour sees it, until the device is marked."""
    end = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)
    minutes = [end - n * _MINUTE for n in range(30 * 60)]
    kinds = {"OP-i": lambda _n: {"kwh": 0.1}, "OP-r": lambda n: {"register": 900 - n / 10}}
    store(
        connection, [vehicle(f"{name}", when, **of(n)) for name, of in kinds.items() for n, when in enumerate(minutes)]
    )
    link(connection, "OP-i", "OP-m")
    store(connection, [meter("OP-m", when, kwh=0.11) for when in minutes])
    materialise(connection)
    heard(connection)
    for name in kinds:
        start = end - dt.timedelta(hours=24, minutes=7)
        assert period_differences(connection, "vehicle", name, start, end) == []
        connection.execute(
            "UPDATE volt_internal.vehicle_quarter SET kwh = kwh + 1 WHERE vehicle_id = %s AND quarter_hour = %s",
            (name, (end - 3 * _HOUR).replace(minute=0)),
        )
        assert len(period_differences(connection, "vehicle", name, start, end)) == 2
        store(connection, [vehicle(name, end - 100 * _MINUTE - _SECOND, soc=50)])
        assert period_differences(connection, "vehicle", name, start, end) == []


def test_a_register_that_goes_on_after_a_gap(connection):
    """What it shows after the watermark tells of closed quarter hours, in which nothing was known yet."""
    end = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)
    silent_from = end - 5 * _HOUR
    store(connection, [vehicle("OP-gap", silent_from - n * _MINUTE, register=900 - n / 10) for n in range(600)])
    materialise(connection)
    heard(connection)
    periods = list(itertools.pairwise([end - 7 * _HOUR, end - 4 * _HOUR, end - 3 * _HOUR, end]))
    for start, until in periods:
        assert period_differences(connection, "vehicle", "OP-gap", start, until) == []
    store(connection, [vehicle("OP-gap", end - _MINUTE, register=905)])
    heard(connection)
    for start, until in periods:
        assert period_differences(connection, "vehicle", "OP-gap", start, until) == []
    ((energy,),) = connection.execute(
        "SELECT sum(kwh) FROM volt_internal.vehicle_quarters_of('OP-gap', %s, %s, false)", periods[1]
    ).fetchall()
    assert float(energy) == pytest.approx(1.0, abs=0.01)
