"""Energy and efficiency as voltd keeps them: the same as the definition gives from raw readings, whatever came when."""

import datetime as dt
import random

import pytest

from support.energy import sides
from support.energy.awkward import awkward
from support.energy.kept import same_as_defined
from support.energy.scenarios import SCENARIOS
from support.schema import at, connection_of, heard, keep, keep_at, materialise, meter, store, vehicle
from voltd import models

__all__ = ["connection_of"]  # a fixture


def _recent(device, kind, side):
    """Its readings, moved by whole days to the last ones that are closed: each hour before them would be computed."""
    days = (at(0) - max(one.at for one in side.readings)).days
    return sides.readings(device, kind, side, dt.timedelta(days=days))


@pytest.fixture(scope="module", params=["timescale", "apache"])
def history(connection_of, editions, request):
    """A database into which many devices had reported before anything was kept; and which devices.

    Both editions have the same tables and functions for this, so each device that is not plain is tried on one of them.
    """
    connection = connection_of(request.param, "kept")
    devices = []
    readings = []
    scenarios = [
        (f"{name}-{number}", name, side)
        for number, scenario in list(enumerate(SCENARIOS))[::2]
        for name, side in (("meter", scenario.meter), ("vehicle", scenario.vehicle))
        if side is not None and side.readings
    ] + [(f"awkward-{seed}", "meter", awkward(seed)) for seed in range(3000, 3020)]
    scenarios += [(f"charger-{seed}", "onboard", awkward(seed)) for seed in range(3020, 3030)]
    for device, kind, side in scenarios[editions.index(request.param) :: len(editions)]:
        if not sides.readings(device, kind, side):
            continue
        sides.register(connection, device, kind, side)
        readings += _recent(device, kind, side)
        devices.append((kind, device))
    rng = random.Random(5)
    for number in range(10):  # as most devices are: regular, with a little jitter; a few messages lost
        times = [at(-3 * 24, minute, rng.uniform(0, 2)) for minute in range(36 * 60) if rng.random() > 0.02]
        readings += [
            vehicle(f"plain-{number}", when, kwh=0.1 if number % 2 else None,
                    register=None if number % 2 else 1000 + 0.1 * place, speed=30 if place % 300 < 20 else 0,
                    onboard=50 + 0.11 * place if number < 3 else None)
            for place, when in enumerate(times)
        ]  # fmt: skip
        devices += [("vehicle", f"plain-{number}"), *([("onboard", f"plain-{number}")] if number < 3 else [])]
    store(connection, readings, 5000)
    heard(connection)
    materialise(connection)
    return connection, devices


def test_as_history_is_caught_up_with(history):
    """Slice by slice, most devices by sums, the others by the definition: the figures are the same."""
    connection, devices = history
    for kind, device in devices:
        same_as_defined(connection, kind, device)
    (plain,) = connection.execute(
        "SELECT count(*) FROM volt_internal.vehicle_quarter WHERE vehicle_id LIKE 'plain-%'"
    ).fetchone()
    assert plain > 10 * 36 * 4 * 0.9
    with connection.transaction(force_rollback=True):
        ((others,),) = connection.execute(
            "SELECT volt_internal.keep_onboard_quarters(%s, %s)", (at(-2 * 24), at(-2 * 24 + 2))
        ).fetchall()
    assert [one for one in others if one.startswith("plain")] == []


def test_what_comes_late(history):
    """More readings of the same devices, in any order, before, amid and after what was kept."""
    connection, devices = history
    rng = random.Random(7)
    late: list[models.Reading] = []
    for kind, device in devices[::3]:
        of = "vehicle" if kind == "onboard" else kind
        times = [row[0] for row in connection.execute(
            f"SELECT recorded_at FROM volt.{of}_reading WHERE {of}_id = %s", (device,))]  # fmt: skip
        make = meter if kind == "meter" else vehicle
        for _ in range(3):
            when = rng.choice(times) + dt.timedelta(
                minutes=rng.choice([-200, -7, 3, 11, 500]), seconds=rng.randrange(60)
            )
            register = rng.choice([None, 0, 1000.5])
            if kind == "onboard":
                late.append(vehicle(device, when, onboard=register))
            else:
                late.append(make(device, when, kwh=rng.choice([None, 0.2]), register=register))
    rng.shuffle(late)
    store(connection, late, 10)
    materialise(connection)
    for kind, device in devices:
        same_as_defined(connection, kind, device)


@pytest.mark.parametrize("edition", ["timescale", "apache"])
def test_as_time_goes_on(connection_of, edition):
    """Quarter hour by quarter hour, with what has arrived by then; one message in fifty is hours late, some days.

    Both editions have the same tables and functions for this, so each device is tried on one of them.
    """
    connection = connection_of(edition, "live")
    half = slice(4) if edition == "timescale" else slice(4, 8)
    rng = random.Random(11)
    devices = []
    arriving = []
    for seed in range(4000, 4008)[half]:
        device, kind, side = f"live-{seed}", "meter", awkward(seed)
        sides.register(connection, device, kind, side)
        devices.append((kind, device))
        arriving += _recent(device, kind, side)
    first = min(one.recorded_at for one in arriving)
    for number in range(8)[half]:  # regular ones, some asleep for hours, some that change from one kind to the other
        place = 0
        device = f"live-v{number}"
        devices += [("vehicle", device), *([("onboard", device)] if number % 4 < 2 else [])]
        for minute in range(0, 60 * 40, rng.choice([1, 1, 2, 5, 15])):
            place += 1
            asleep = number % 4 == 1 and 300 < minute % 900 < 700
            if asleep or rng.random() < 0.01:
                continue
            by_register = number % 3 == 0 or (number % 3 == 1 and minute > 1500)
            when = first + dt.timedelta(minutes=minute, seconds=rng.randrange(3))
            arriving.append(vehicle(
                device, when, kwh=None if by_register else 0.1,
                register=500 + 0.1 * place if by_register else None, speed=rng.choice([0, 0, 0, 40]),
                onboard=round(0.11 * (place % 900), 2) if number % 4 < 2 else None,
            ))  # fmt: skip
    delays = [dt.timedelta()] * 40 + [dt.timedelta(minutes=8)] * 8 + [dt.timedelta(hours=3), dt.timedelta(days=1)]
    arriving = sorted(((one.recorded_at + rng.choice(delays), one) for one in arriving), key=lambda pair: pair[0])
    now = kept_at = first.replace(minute=0, second=0, microsecond=0)
    connection.execute("UPDATE volt_internal.rollup_state SET closing_watermark = %s", (now,))
    ends = arriving[-1][0] + dt.timedelta(days=1, hours=2)  # the days of all readings have ended
    while now < ends:
        now += dt.timedelta(minutes=rng.choice([10, 15, 25]) if arriving else 120)
        if arriving and now < min(arriving[0][0], kept_at + dt.timedelta(hours=2)):
            continue  # nothing has arrived
        kept_at = now
        arrived = [one for at, one in arriving if at <= now]
        del arriving[: len(arrived)]
        store(connection, arrived, 500)
        heard(connection)
        keep_at(connection, now)
    for kind, device in devices:
        same_as_defined(connection, kind, device)


@pytest.mark.parametrize("edition", ["timescale", "apache"])
def test_devices_are_registered_before_anything_is_kept(connection_of, edition):
    """Nothing is marked, and it takes no time."""
    connection = connection_of(edition, "without readings")
    materialise(connection)
    connection.execute("SET statement_timeout = '5 s'")
    connection.execute("INSERT INTO volt.fleet (fleet_id) VALUES ('F')")
    connection.execute("INSERT INTO volt.vehicle (vehicle_id, fleet_id, interval_s) VALUES ('V', 'F', 60)")
    connection.execute("INSERT INTO volt.meter (meter_id, interval_s) VALUES ('M', 60)")
    connection.execute("INSERT INTO volt.vehicle_meter (vehicle_id, meter_id) VALUES ('V', 'M')")
    connection.execute("SET statement_timeout = 0")
    assert connection.execute("SELECT count(*) FROM volt_internal.efficiency_dirty").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM volt_internal.energy_dirty").fetchone() == (0,)


def test_a_reading_right_behind_a_closed_quarter_hour(connection):
    """Stamped 12:00, it tells of the minute before; the quarter hour of that minute has been closed when it arrives."""
    day = at(0).replace(hour=0)
    connection.execute("UPDATE volt_internal.rollup_state SET closing_watermark = %s", (day,))
    noon = day + dt.timedelta(hours=12)
    minutes = [vehicle("behind", noon + dt.timedelta(minutes=n), kwh=0.1) for n in range(-60, 15) if n]
    store(connection, minutes)
    keep_at(connection, noon + dt.timedelta(minutes=20))
    store(connection, [vehicle("behind", noon, kwh=0.1)])
    keep_at(connection, noon + dt.timedelta(minutes=50))
    same_as_defined(connection, "vehicle", "behind")


def test_many_registers_that_come_late(either):
    """So many are computed at once, up to the quarter hour behind the last reading that was missing."""
    connection = either
    day = at(0).replace(hour=0) + dt.timedelta(days=1)
    names = [f"many-{number}" for number in range(201)]

    def readings(minutes):
        return [
            meter(name, day + dt.timedelta(minutes=n - 2.5), register=1000 + n / 10) for n in minutes for name in names
        ]

    connection.execute(
        "UPDATE volt_internal.rollup_state SET closing_watermark = greatest(closing_watermark, %s)", (day,)
    )
    missing = range(75, 125, 5)
    store(connection, readings([n for n in range(5, 180, 5) if n not in missing]), 5000)
    keep_at(connection, day + dt.timedelta(hours=2, minutes=50))
    store(connection, readings(missing), 5000)
    keep_at(connection, day + dt.timedelta(hours=3))
    for name in names[::50]:
        same_as_defined(connection, "meter", name)


def test_a_late_hour_of_a_device_that_registers_its_interval(either):
    """Its energy lies in quarter hours further back than the spacing of its other readings tells."""
    noon = at(0).replace(hour=12) - dt.timedelta(days=1)
    either.execute("INSERT INTO volt.meter (meter_id, interval_s) VALUES ('late-hour', 3600)")
    store(either, [meter("late-hour", noon + n * dt.timedelta(minutes=15), kwh=0.1) for n in range(8)])
    keep(either)
    store(either, [meter("late-hour", noon - dt.timedelta(hours=2, minutes=-9, seconds=-43), kwh=0.2)])
    keep(either)
    same_as_defined(either, "meter", "late-hour")


def test_many_registers_that_come_late_before_a_silence(connection):
    """Of one of them: the energy of the hours in which it was silent stays where it is."""
    day = at(-5 * 24).replace(hour=0)
    names = [f"silent-{number}" for number in range(201)]

    def readings(minutes, of=names):
        return [
            meter(name, day + dt.timedelta(minutes=n - 2.5), register=1000 + n / 10) for n in minutes for name in of
        ]

    store(connection, readings([*range(300, 480, 5), *range(720, 780, 5)]), 5000)
    store(connection, readings(range(485, 720, 5), names[1:]), 5000)
    materialise(connection)
    store(connection, readings([480]), 5000)
    materialise(connection)
    for name in (names[0], names[-1]):
        same_as_defined(connection, "meter", name)


@pytest.mark.parametrize("edition", ["timescale", "apache"])
def test_few_that_come_late(connection_of, edition):
    """Regular devices by sums; a register with a gap, and a device with more to be computed, by the definition."""
    connection = connection_of(edition, "few")
    day = at(-3 * 24).replace(hour=0)
    minutes = [day + dt.timedelta(minutes=n) for n in range(24 * 60)]
    noon = day + dt.timedelta(hours=12, minutes=20)
    silent = (noon, noon + dt.timedelta(hours=3))
    store(connection, [
        vehicle(name, when, kwh=None if place else 0.1, register=1000 + n / 10 if place else None)
        for place, name in enumerate(["few-i", "few-r", "few-gap", "few-more"])
        for n, when in enumerate(minutes)
        if when != noon and (name != "few-gap" or not silent[0] <= when < silent[1])
    ], 5000)  # fmt: skip
    materialise(connection)
    names = ["few-i", "few-r", "few-gap", "few-more"]
    shown = 1000 + minutes.index(noon) / 10
    store(connection, [vehicle("few-i", noon, kwh=0.1), *(vehicle(one, noon, register=shown) for one in names[1:])])
    with connection.transaction(force_rollback=True):
        connection.execute(
            "INSERT INTO volt_internal.energy_dirty (device_type, device_id, from_at, to_at, irregular)"
            " VALUES ('vehicle', 'few-more', %s, %s, true)", (noon - dt.timedelta(hours=5), noon),
        )  # fmt: skip
        hour = noon.replace(minute=0)
        (others,) = connection.execute(
            "SELECT volt_internal.keep_few_vehicles(%s, %s, %s, '-infinity')",
            (names, hour, hour + dt.timedelta(hours=1)),
        ).fetchone()
        assert sorted(others) == ["few-gap", "few-more"]
    materialise(connection)
    for name in names:
        same_as_defined(connection, "vehicle", name)
