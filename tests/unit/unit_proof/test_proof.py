"""Values in a wrong unit are found by what else the device says; values in the right one never are."""

import datetime as dt
import itertools
import json
import math
import random

import pytest

from voltd import readings
from voltd.readings import DeviceType
from voltd.simulate.fleet import fleet
from voltd.unit_proof import compare, energy, proof, road

MILE = 1.609344
VEHICLE, METER = DeviceType.VEHICLE, DeviceType.METER


def rows(device_type, every_s=60, minutes=30, **columns):
    """Rows from functions of the seconds, or constants."""
    found = []
    for at in range(0, minutes * 60 + 1, every_s):
        values = [columns.get(column) for column in proof.COLUMNS[device_type]]
        found.append([float(at), *(value(at) if callable(value) else value for value in values)])
    return proof.series(device_type, found)


def said(device_type, given, evidence=proof.LASTING):
    return [(one.field, one.factor, one.words) for one in proof.suspicions(device_type, given, evidence)]


def right(device_type, given, evidence=proof.LASTING):
    return {one.field for one in proof.verdicts(device_type, given, evidence) if not one.words}


def meter(factor=1.0, power=7.4, power_factor=1.0, decimals=3, **more):
    """A wallbox at work: its register in kWh times factor."""
    register = lambda at: round((1290.396 + power * at / 3600) * factor, decimals)  # noqa: E731
    return rows(METER, ac_register_kwh=register, power_kw=power * power_factor, **more)


ENERGY = {
    1000.0: "looks like Wh", 1e6: "looks like mWh", 1e-3: "looks like MWh", 60.0: "looks like kW minutes",
    3600.0: "looks like kJ", 6e4: "looks like W minutes", 3.6e6: "looks like J", 10.0: "looks 10 times too large",
    100.0: "looks 100 times too large", 1e4: "looks 10,000 times too large", 1e5: "looks 100,000 times too large",
    0.1: "looks 10 times too small", 0.01: "looks 100 times too small", 1e-4: "looks 10,000 times too small",
    1e-5: "looks 100,000 times too small", 1e-6: "looks 1,000,000 times too small",
    1 / 60: "looks 60 times too small", 1 / 3600: "looks 3,600 times too small",
}  # fmt: skip


@pytest.mark.parametrize("factor", ENERGY)
def test_a_register_in_another_unit(factor):
    ((field, found, words),) = said(METER, meter(factor, decimals=9))
    assert (field, found) == ("kwhConsumedAcTotal", pytest.approx(factor))
    assert f"kwhConsumedAcTotal says kWh, {ENERGY[factor]}: " in words
    assert " times the integral of power over 30 minutes; or power says kW, looks " in words


def test_the_words():
    ((_, _, words),) = said(METER, meter(1003, decimals=0))
    assert words == (
        "kwhConsumedAcTotal says kWh, looks like Wh: 1,003 times the integral of power over 30 minutes;"
        " or power says kW, looks like MW"
    )
    ((_, _, words),) = said(METER, meter(power_factor=1000))
    assert words == (
        "kwhConsumedAcTotal says kWh, looks like MWh: 0.001 times the integral of power over 30 minutes;"
        " or power says kW, looks like W"
    )


@pytest.mark.parametrize("column", ["dc_register_kwh", "ac_register_kwh", "kwh_delivered_dc"])
@pytest.mark.parametrize("factor", [1.0, 1000.0])
def test_energies_of_a_vehicle(column, factor):
    step = (lambda _at: factor * 11 / 60) if column.startswith("kwh") else (lambda at: factor * 11 * at / 3600)
    given = rows(VEHICLE, charging_power_kw=11.0, **{column: step})
    assert [found for _, found, _ in said(VEHICLE, given)] == ([] if factor == 1 else [factor])
    assert len(right(VEHICLE, given)) == (factor == 1)


def test_energy_that_flows_back():
    register = lambda at: 1000 * 5 * at / 3600  # noqa: E731
    given = rows(VEHICLE, charging_power_kw=-5.0, dc_returned_register_kwh=register, dc_register_kwh=80.0)
    assert [(field, factor) for field, factor, _ in said(VEHICLE, given)] == [("kwhReturnedDcTotal", 1000.0)]


def _drive(at, kmh=110.0):
    """Northwards, with slight curves and changes of speed."""
    km = kmh * at / 3600 + 0.4 * math.sin(at / 90)
    return 52 + km / 111.195, 5 + 0.004 * math.sin(km / 3)


def drive(speed=1.0, odometer=1.0, *, positions=True, every_s=10, minutes=15, kmh=110.0):
    """A drive on a motorway: what is shown is so many times what it should be."""
    slope = lambda at: kmh + 0.4 / 90 * math.cos(at / 90) * 3600  # noqa: E731
    km = lambda at: kmh * at / 3600 + 0.4 * math.sin(at / 90)  # noqa: E731
    shown = {"latitude": lambda at: _drive(at, kmh)[0], "longitude": lambda at: _drive(at, kmh)[1]} if positions else {}
    return rows(
        VEHICLE, every_s, minutes, speed_kmh=lambda at: slope(at) * speed,
        odometer_km=lambda at: round(500 + km(at) * odometer, 3), **shown,
    )  # fmt: skip


def test_speed_and_odometer_in_miles():
    assert said(VEHICLE, drive()) == []
    assert right(VEHICLE, drive()) == {"speed", "odometer"}
    speed, odometer = said(VEHICLE, drive(1 / MILE, 1 / MILE))
    assert speed[2].startswith("speed says km/h, looks like mph: the distance between positions is 1.6")
    assert odometer[2].startswith("odometer says km, looks like miles: it grows by 0.6")
    assert odometer[2].endswith(" times the distance between positions over 15 minutes")


@pytest.mark.parametrize(
    ("speed", "odometer", "field", "looks"),
    [
        (1 / MILE, 1, "speed", "looks like mph"),
        (MILE, 1, "speed", "looks 1.61 times too large"),
        (1 / 3.6, 1, "speed", "looks like m/s"),
        (10, 1, "speed", "looks 10 times too large"),
        (1 / 60, 1, "speed", "looks 60 times too small"),
        (1, 1000, "odometer", "looks like m"),
        (1, 0.1, "odometer", "looks 10 times too small"),
        (1, MILE, "odometer", "looks 1.61 times too large"),
    ],
)
def test_factors_of_the_drive(speed, odometer, field, looks):
    ((name, _, words),) = said(VEHICLE, drive(speed, odometer))
    assert (name, looks in words) == (field, True)
    ((name, _, words),) = said(VEHICLE, drive(speed, odometer, positions=False))
    assert (name, "; or speed says km/h, looks " in words) == ("odometer", True)


def test_charge_as_a_share():
    share = lambda at: round(0.64 - at / 90_000, 3)  # noqa: E731
    given = {**drive(), "soc_pct": [(float(at), share(at)) for at in range(0, 901, 10)]}
    assert [words for _, _, words in said(VEHICLE, given)] == ["soc says %, looks like 0..1: never above 0.64 in 27 km"]
    charged = rows(VEHICLE, minutes=60, charging_power_kw=11.0, soc_pct=lambda at: 0.3 + at / 36_000)
    assert [words for _, _, words in said(VEHICLE, charged)] == [
        "soc says %, looks like 0..1: never above 0.4 while 11 kWh were charged"
    ]


def _noise(at, size):
    return random.Random(at).uniform(-size, size)


TRAPS = {
    "standby": (METER, rows(METER, power_kw=0.004, ac_register_kwh=lambda at: 12 + 0.04 * at / 3600)),
    "the house makes as much as it takes": (
        METER,
        rows(METER, power_kw=lambda at: _noise(at, 0.5) + 0.02, ac_register_kwh=lambda at: 12 + 0.2 * at / 3600),
    ),
    "phases against each other": (
        METER,
        rows(METER, power_kw=0.25, ac_register_kwh=lambda at: 2.5 * at / 3600,
             ac_returned_register_kwh=lambda at: 2.25 * at / 3600),
    ),
    "power of one phase of three": (METER, meter(power_factor=1 / 3)),
    "unsigned power while the sun shines": (METER, rows(METER, power_kw=5.0, ac_register_kwh=1290.4)),
    "coarse steps": (METER, rows(METER, minutes=15, power_kw=0.9,
                                 ac_register_kwh=lambda at: math.floor((0.9 * at / 3600 + 0.09) * 10) / 10)),
    "one step": (METER, rows(METER, power_kw=0.25, ac_register_kwh=lambda at: 2.0 + 10 * (at > 900))),
    "an exchanged meter": (METER, rows(METER, power_kw=7.4,
                                       ac_register_kwh=lambda at: 7.4 * at / 3600 + 3700 * (at > 800))),
    "reset every five minutes": (METER, rows(METER, power_kw=7.4, ac_register_kwh=lambda at: 7400 * (at % 300) / 3600)),
    "readings every half hour": (METER, meter(1000, every_s=1800, minutes=600)),
    "too short": (METER, meter(1000, minutes=10)),
    "power comes and goes": (
        METER,
        rows(METER, every_s=180, power_kw=lambda at: 2.0 * (at // 180 % 2), ac_register_kwh=lambda at: 0.1 * at / 3600),
    ),
    "vehicle to grid": (
        VEHICLE,
        rows(VEHICLE, charging_power_kw=lambda at: 10.0 if at // 300 % 2 else -9.0,
             dc_register_kwh=lambda at: 5 * at / 3600),
    ),
    "efficiency is no factor": (
        VEHICLE, rows(VEHICLE, charging_power_kw=2.0, ac_register_kwh=lambda at: 3.4 * at / 3600),
    ),
    "parked, and the receiver wanders": (
        VEHICLE,
        rows(VEHICLE, every_s=5, minutes=60, speed_kmh=lambda at: abs(_noise(at, 1.5)), odometer_km=812.0,
             latitude=lambda at: 52 + _noise(at, 2e-4), longitude=lambda at: 5 + _noise(at + 1, 2e-4)),
    ),
    "a winding road": (
        VEHICLE,
        rows(VEHICLE, minutes=60, speed_kmh=lambda at: 45 + _noise(at, 10), odometer_km=lambda at: 45 * at / 3600,
             latitude=lambda at: 52 + 28 * at / 3600 / 111.2 + 0.003 * math.sin(at / 20),
             longitude=lambda at: 5 + 0.005 * math.cos(at / 20)),
    ),
    "round and round": (
        VEHICLE,
        rows(VEHICLE, every_s=20, minutes=60, speed_kmh=120.0, odometer_km=lambda at: 120 * at / 3600,
             latitude=lambda at: 52 + 0.004 * math.sin(at / 13), longitude=lambda at: 5 + 0.0065 * math.cos(at / 13)),
    ),
    "positions every five minutes": (VEHICLE, drive(1 / MILE, 1 / MILE, every_s=300, minutes=60)),
    "an empty battery": (VEHICLE, rows(VEHICLE, minutes=60, soc_pct=lambda at: 0.9 - at / 9000, speed_kmh=0.0)),
    "a broken sensor of charge": (VEHICLE, {**drive(), "soc_pct": [(float(at), 1.0) for at in range(0, 900, 10)]}),
    "nothing": (VEHICLE, rows(VEHICLE)),
}  # fmt: skip


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize("evidence", [proof.LASTING, proof.BRIEF], ids=["lasting", "brief"])
def test_traps(trap, evidence):
    device_type, given = TRAPS[trap]
    if evidence is proof.BRIEF and trap in {"too short", "an empty battery"}:
        pytest.skip("enough for people who look themselves")
    assert said(device_type, given, evidence) == []


def test_a_speedometer_shows_more_than_there_is():
    assert said(VEHICLE, drive(1.08)) == []
    assert [field for field, _, _ in said(VEHICLE, drive(1.05 / MILE))] == ["speed"]


def test_a_repeated_position_is_an_old_one():
    given = dict(drive(every_s=5))
    for column in ("latitude", "longitude"):
        given[column] = [(at, given[column][place // 3 * 3][1]) for place, (at, _) in enumerate(given[column])]
    assert said(VEHICLE, given) == []
    assert "odometer" in right(VEHICLE, given)


def test_values_that_come_one_by_one():
    """Register and power in readings of their own, at times of their own."""
    given = dict(meter(1000))
    given["power_kw"] = [(at + 17, value) for at, value in given["power_kw"]]
    assert [factor for _, factor, _ in said(METER, given)] == [1000.0]


def test_messages_that_come_twice():
    given = {column: [one for one in points for _ in "ab"] for column, points in meter(1000).items()}
    assert [factor for _, factor, _ in said(METER, given)] == [1000.0]


def test_the_doctor_needs_less():
    given = meter(1000, every_s=5, minutes=1)
    assert said(METER, given) == []
    ((_, _, words),) = said(METER, given, proof.BRIEF)
    assert "over 60 seconds" in words
    share = rows(VEHICLE, soc_pct=lambda at: 0.64 + at / 1e6, minutes=5)
    ((_, _, words),) = said(VEHICLE, share, proof.BRIEF)
    assert words.endswith("never above 0.6403 in 6 readings, unless the battery is that empty")


def _simulated(seed, interval_s, hours):
    """Values of a fleet's devices, as they publish them."""
    start = dt.datetime(2026, 5, 1, 6, tzinfo=dt.UTC)
    options = fleet.FleetOptions(20, 20, seed, start, interval_s, bad_share=0, duplicate_share=0)
    devices = {}
    for published in fleet.Fleet(options).step(start + dt.timedelta(hours=hours)):
        for one in _elements(json.loads(published.payload)):
            device_type = VEHICLE if "vehicleId" in one or "soc" in one else METER
            at = dt.datetime.fromisoformat(one.get("timestamp") or one["createdAt"]).timestamp()
            name = one.get("vehicleId") or one.get("meterId") or published.topic.split("/")[2]
            devices.setdefault((device_type, name), {})[at] = one
    return devices


def _elements(content):
    for one in content if isinstance(content, list) else [content]:
        yield one.get("payload", one)


@pytest.mark.parametrize(("seed", "interval_s"), [(1, 10), (2, 30), (3, 60), (4, 60), (5, 300)])
def test_a_simulated_fleet_is_right(seed, interval_s):
    """No device is suspected, hour by hour and over all of it; most are proved right some time."""
    proved, devices = set(), _simulated(seed, interval_s, 3 if interval_s == 10 else 5)
    for (device_type, name), found in devices.items():
        wires = [readings.fields(device_type)[column].wire for column in proof.COLUMNS[device_type]]
        every = [[at, *(one.get(wire) for wire in wires)] for at, one in sorted(found.items())]
        for evidence, long in itertools.product((proof.LASTING, proof.BRIEF), (200, 1200, 3600)):
            for begin in range(0, 18_000, 1200):
                part = [row for row in every if begin <= row[0] - every[0][0] <= begin + long]
                given = proof.series(device_type, part)
                assert said(device_type, given, evidence) == []
                proved |= {(name, field) for field in right(device_type, given) if field != "soc"}
    assert len({name for name, _ in proved}) > 10


def test_the_scale_leaves_no_factor_in_two_bands():
    for scale in (energy._SCALE, road._SCALE):
        bands = sorted(scale.band(one) for one in {1.0, *scale.factors})
        assert all(one[1] < other[0] for one, other in itertools.pairwise(bands))


def test_numbers():
    assert [compare.number(one) for one in (1003.4, 12.0, 1.609344, 0.001, 0.000123456)] == [
        "1,003", "12", "1.61", "0.001", "0.000123",
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_stored_raises_nothing(seed):
    """Any values that the readings allow, at any times; half of them constant, or missing."""
    rng = random.Random(seed)
    for device_type in DeviceType:
        fields = readings.fields(device_type)
        of_column = []
        for column in proof.COLUMNS[device_type]:
            low, high = fields[column].low, fields[column].high
            kept = rng.choice((low, high, 0.0, rng.uniform(low, high)))
            of_column.append(
                rng.choice(
                    (lambda k=kept: k, lambda lo=low, hi=high: rng.uniform(lo, hi), lambda: None, lambda k=kept: k)
                )
            )
        ats = itertools.accumulate(rng.choice((0.0, 1e-6, 1.0, 60.0, 4000.0)) for _ in range(200))
        given = proof.series(device_type, ([at, *(value() for value in of_column)] for at in ats))
        for evidence in (proof.LASTING, proof.BRIEF):
            proof.verdicts(device_type, given, evidence)
