"""Charging sessions: what operators bill by, with figures made by hand."""

import dataclasses
import datetime as dt
import itertools

import pytest
from psycopg import rows as row_factories

from support.energy import model
from support.schema import at, link
from support.sessions.model import Meter, Reading, World
from support.sessions.rows import put

_names = (f"session-{number}" for number in itertools.count())
STEP = dt.timedelta(minutes=5)


def _every(start, end, register=100.0, kw=0.0, step=STEP, **values):
    """Readings from ``start`` to ``end``, both included, while the register rises with ``kw``."""
    count = (end - start) // step
    return [
        Reading(start + n * step, register_kwh=round(register + kw * n * step / dt.timedelta(hours=1), 6), **values)
        for n in range(count + 1)
    ]


def _register(*points, step=STEP):
    """Register readings of a meter, each ``step``, straight between (time, kWh)."""
    found = {}
    for (start, low), (end, high) in itertools.pairwise(points):
        for n in range((end - start) // step + 1):
            found[start + n * step] = low + (high - low) * (n * step / (end - start))
    return tuple(model.Reading(when, register_kwh=round(kwh, 6)) for when, kwh in sorted(found.items()))


def _meter(*points, step=STEP):
    return Meter(model.Side(_register(*points, step=step)))


def _put(connection, readings, meters=()):
    vehicle = next(_names)
    put(connection, vehicle, World(tuple(readings), tuple(meters), model.Device(max_power_kw=400)))
    return vehicle


def _ask(connection, vehicle, start, end):
    cursor = connection.cursor(row_factory=row_factories.dict_row)
    return cursor.execute("SELECT * FROM volt.charging_sessions(%s, %s, %s)", (vehicle, start, end)).fetchall()


def _sessions(connection, vehicle):
    return _ask(connection, vehicle, at(-60), at(40))


def _times(sessions):
    return [(one["start_date_time"], one["end_date_time"]) for one in sessions]


def _evening(power=6.0):
    """Stands, charges with ``power`` from 1:00 to 3:00, stands, and drives at 5:00."""
    return [
        *_every(at(-1), at(1), speed_kmh=0),
        *_every(at(1), at(3), kw=power, speed_kmh=0)[1:],
        *_every(at(3), at(5), register=100 + 2 * power, speed_kmh=0)[1:],
        Reading(at(5, 5), speed_kmh=50, register_kwh=100 + 2 * power),
    ]


def test_a_session_with_all_that_is_known_of_it(connection):
    """The meter's clock is 20 s off its grid: energy at the edges is interpolated."""
    readings = [
        *_every(at(0), at(0, 50), speed_kmh=60, odometer_km=500, soc_pct=40),
        Reading(at(0, 55), speed_kmh=0, register_kwh=100, odometer_km=510, soc_pct=39, latitude=52.5, longitude=13.4),
        *_every(at(1), at(3), kw=6, speed_kmh=0, odometer_km=510, soc_pct=45, battery_temp_c=31, latitude=52.6,
                longitude=13.5, power_kw=6.2, word="charging"),
        *_every(at(3, 5), at(4), register=112, speed_kmh=0, odometer_km=510, soc_pct=52, power_kw=0, word="complete"),
        Reading(at(4, 5), speed_kmh=50, register_kwh=112, word="driving"),
    ]  # fmt: skip
    ac = _meter((at(-1, 0, 20), 0), (at(1, 0, 20), 0), (at(3, 0, 20), 13.2), (at(6, 0, 20), 13.2))
    vehicle = _put(connection, readings, [ac])
    connection.execute("INSERT INTO volt.fleet (fleet_id) VALUES (%s)", (f"fleet of {vehicle}",))
    connection.execute(
        "INSERT INTO volt.fleet_membership (vehicle_id, fleet_id, valid) VALUES (%s, %s, tstzrange(%s, %s))",
        (vehicle, f"fleet of {vehicle}", at(-9), at(2)),
    )
    (one,) = _sessions(connection, vehicle)
    assert _times([one]) == [(at(1), at(3, 5))]
    assert (one["status"], one["found_by"], one["estimated"], one["quality"]) == ("COMPLETED", "energy", False, "ok")
    assert (one["meter_id"], one["fleet_id"]) == (f"{vehicle}-M-0", f"fleet of {vehicle}")
    assert float(one["kwh"]) == pytest.approx(13.2, abs=1e-6)
    assert float(one["dc_kwh"]) == pytest.approx(12, abs=1e-6)
    assert float(one["efficiency_pct"]) == pytest.approx(100 * 12 / (13.2 - 6.6 * 20 / 3600), abs=0.01)
    assert (one["dc_source"], one["ac_source"], one["source"]) == ("register", "register", "meter")
    assert (float(one["duration_s"]), float(one["charging_s"])) == (7500, 7500)
    assert (one["soc_start_pct"], one["soc_end_pct"]) == (45, 52)
    assert (one["odometer_start_km"], one["odometer_end_km"]) == (510, 510)
    assert (float(one["power_max_kw"]), one["battery_temp_max_c"]) == (6.2, 31)
    assert (one["latitude"], one["longitude"]) == (52.6, 13.5)


def test_the_edges_cut_what_the_meter_measured(connection):
    """Between two readings of the meter, an hour apart, the session has its share."""
    vehicle = _put(connection, _evening(), [_meter((at(0, 30), 0), (at(3, 30), 18), step=dt.timedelta(hours=1))])
    (one,) = _sessions(connection, vehicle)
    assert _times([one]) == [(at(1), at(3))]
    assert float(one["kwh"]) == pytest.approx(12, abs=1e-6)


def test_a_session_is_whole_whatever_is_asked_for(connection):
    """Whatever part of it a period has; who asks for the time beside it does not get it."""
    vehicle = _put(connection, _evening(), [_meter((at(0), 0), (at(1), 0), (at(3), 13), (at(6), 13))])
    (whole,) = _sessions(connection, vehicle)
    for start, end in ((at(1, 30), at(2)), (at(-5), at(1, 1)), (at(2, 59), at(9))):
        assert _ask(connection, vehicle, start, end) == [whole]
    assert _ask(connection, vehicle, at(-5), at(1)) == []
    assert _ask(connection, vehicle, at(3), at(9)) == []


@pytest.mark.parametrize("begins", ["2026-03-29 00:30Z", "2026-10-24 23:30Z", "2026-10-31 22:30Z"])
def test_clock_changes_and_month_ends(connection, begins):
    """Three hours are three hours."""
    start = dt.datetime.fromisoformat(begins)
    end = start + dt.timedelta(hours=3)
    later = end + dt.timedelta(hours=1)
    readings = [*_every(start, end, kw=4), *_every(end, later, register=112)[1:]]
    vehicle = _put(connection, readings, [_meter((start, 0), (end, 13), (later, 13))])
    (one,) = _ask(connection, vehicle, start, end)
    assert (_times([one]), float(one["duration_s"])) == ([(start, end)], 10800)
    assert (float(one["kwh"]), float(one["dc_kwh"])) == pytest.approx((13, 12))


@pytest.mark.parametrize(
    ("minutes", "word", "sessions"),
    [
        (30, None, 1),
        (35, None, 2),
        (300, "connected", 1),
        (300, "SuspendedEVSE", 1),
        (300, "IDLE", 2),
        (25, "available", 2),
    ],
)
def test_pauses(connection, minutes, word, sessions):
    """Half an hour is a pause; longer ones are if the vehicle is plugged in, and no pause is while it is not."""
    again = at(2, minutes)
    readings = [
        *_every(at(1), at(2), kw=6),
        Reading(at(2, 5), word=word, register_kwh=106),
        *_every(at(2, 10), again, register=106),
        *_every(again, again + dt.timedelta(hours=1), register=106, kw=6)[1:],
        *_every(again + dt.timedelta(hours=1), again + dt.timedelta(hours=2), register=112)[1:],
        Reading(again + dt.timedelta(hours=3), speed_kmh=30),
    ]
    found = _sessions(connection, _put(connection, readings))
    assert len(found) == sessions
    assert found[0]["start_date_time"] == at(1)
    assert found[-1]["end_date_time"] == again + dt.timedelta(hours=1)
    assert sum(float(one["charging_s"]) for one in found) == 7200


def test_driving_ends_a_session(connection):
    """Within any pause, by its speed or by its odometer."""
    charge = [
        *_every(at(1), at(2), kw=6, odometer_km=100),
        *_every(at(2, 15), at(3), register=106, kw=6, odometer_km=103),
    ]
    moved = [
        *_every(at(1), at(2), kw=6),
        Reading(at(2, 5), speed_kmh=30),
        *_every(at(2, 15), at(3), register=106, kw=6),
    ]
    for readings in (charge, moved):
        found = _times(_sessions(connection, _put(connection, readings)))
        assert [start for start, _ in found] == [at(1), at(2, 15)]
        assert found[0][1] == at(2)


def test_brakes_are_no_charger(connection):
    """A register that also counts what brakes give back, and stops at lights."""
    drive = [
        Reading(at(1, minute), speed_kmh=0 if minute % 5 == 0 else 40, register_kwh=round(100 + 0.02 * minute, 6))
        for minute in range(60)
    ]
    assert _sessions(connection, _put(connection, drive)) == []


def test_offline_in_the_middle(connection):
    """The register is higher afterwards: it charged meanwhile."""
    readings = [
        *_every(at(1), at(2), kw=6),
        *_every(at(4), at(5), register=118, kw=6),
        *_every(at(5), at(7), register=124)[1:],
    ]
    vehicle = _put(connection, readings, [_meter((at(0), 0), (at(1), 0), (at(5), 26), (at(7), 26))])
    (one,) = _sessions(connection, vehicle)
    assert _times([one]) == [(at(1), at(5))]
    assert (float(one["kwh"]), float(one["dc_kwh"]), float(one["charging_s"])) == pytest.approx((26, 24, 14400))


def test_offline_throughout(connection):
    """Its meter says when it was; the battery got all of the rise. Without a meter it is the whole silence."""
    readings = [*_every(at(0), at(1), speed_kmh=0), *_every(at(9), at(11), register=118, speed_kmh=0)]
    ac = _meter((at(0), 0), (at(4), 0), (at(7), 20), (at(11), 20))
    (one,) = _sessions(connection, _put(connection, readings, [ac]))
    assert (_times([one]), one["found_by"], one["estimated"]) == ([(at(4), at(7))], "meter", False)
    assert (float(one["kwh"]), float(one["dc_kwh"]), float(one["efficiency_pct"])) == pytest.approx((20, 18, 90))
    (one,) = _sessions(connection, _put(connection, readings))
    assert (_times([one]), one["found_by"], one["estimated"]) == ([(at(1), at(9))], "energy", True)
    assert (one["kwh"], one["quality"], float(one["dc_kwh"])) == (None, "no_ac", 18)


def test_a_word_alone(connection):
    """It counts unless it is known that nothing flows: by the register, by the power, or by the meter."""
    said = [Reading(at(1, minute), word="charging") for minute in range(0, 180, 5)]
    (one,) = _sessions(connection, _put(connection, said))
    assert (_times([one]), one["found_by"], one["kwh"]) == ([(at(1), at(3, 55))], "status", None)
    standing_still = [*_every(at(0), at(6), register=100), *said]
    merged = {}
    for reading in standing_still:
        known = merged.get(reading.at)
        merged[reading.at] = Reading(
            reading.at, word=reading.word, register_kwh=known.register_kwh if known else reading.register_kwh
        )
    assert _sessions(connection, _put(connection, merged.values())) == []
    no_power = [Reading(one.at, word=one.word, power_kw=0) for one in said]
    assert _sessions(connection, _put(connection, no_power)) == []
    standby = _meter((at(0), 0), (at(6), 0.1))
    assert _sessions(connection, _put(connection, said, [standby])) == []
    ran = _meter((at(0), 0), (at(2), 0), (at(3), 7), (at(6), 7))
    (one,) = _sessions(connection, _put(connection, said, [ran]))
    assert (_times([one]), float(one["kwh"])) == ([(at(2), at(3))], 7)


def test_power_alone(connection):
    """A car that says neither word nor energy."""
    readings = [Reading(at(1, minute), power_kw=3.6 if 20 <= minute < 100 else 0) for minute in range(0, 180, 5)]
    (one,) = _sessions(connection, _put(connection, readings))
    assert (_times([one]), one["found_by"], float(one["power_max_kw"])) == ([(at(1, 20), at(2, 40))], "power", 3.6)


def test_two_vehicles_at_one_charger(connection):
    """They share by their DC energy."""
    ac = _meter((at(0), 0), (at(1), 0), (at(3), 30), (at(5), 30))
    first = _put(connection, _evening(8), [ac])
    second = _put(connection, _evening(4))
    link(connection, second, f"{first}-M-0")
    for vehicle, kwh in ((first, 20), (second, 10)):
        (one,) = _sessions(connection, vehicle)
        assert float(one["kwh"]) == pytest.approx(kwh, abs=1e-6)
        assert (one["quality"], one["meter_id"]) == ("shared_meter", f"{first}-M-0")


def test_without_a_meter_the_vehicles_own_charger_counts(connection):
    """It is the AC side where no meter is linked."""
    readings = [dataclasses.replace(one, onboard_kwh=round((one.register_kwh - 100) / 0.8, 6)) for one in _evening()]
    vehicle = _put(connection, readings)
    connection.execute(
        "INSERT INTO volt.vehicle_current (vehicle_id, recorded_at, ac_register_kwh, ac_register_at)"
        " VALUES (%s, %s, 15, %s)",
        (vehicle, at(5, 5), at(5, 5)),
    )
    (one,) = _sessions(connection, vehicle)
    assert (one["source"], one["meter_id"], one["ac_source"], one["quality"]) == ("onboard", None, "register", "ok")
    assert (float(one["kwh"]), float(one["efficiency_pct"])) == pytest.approx((15, 80))


def test_energy_that_flows_back(connection):
    """It is not charging, and a vehicle that feeds back is plugged in."""
    feeding = [Reading(at(2, minute), register_kwh=106, returned_kwh=0.5, power_kw=-6) for minute in range(5, 125, 5)]
    readings = [*_every(at(1), at(2), kw=6), *feeding, *_every(at(4, 5), at(5, 5), register=106, kw=6)]
    (one,) = _sessions(connection, _put(connection, readings))
    assert (_times([one])[0][0], float(one["dc_kwh"]), float(one["charging_s"])) == (at(1), 12, 7200)


def test_a_session_that_goes_on(connection):
    """It has no end while it may go on; being unplugged ends it at once, and so does time."""
    now = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)
    minute = dt.timedelta(minutes=1)
    charging = [Reading(now - n * minute, word="charging", power_kw=7) for n in range(60)]
    (one,) = _ask(connection, _put(connection, charging), now - dt.timedelta(hours=2), now)
    assert (one["start_date_time"], one["end_date_time"], one["status"]) == (now - 59 * minute, None, "ACTIVE")
    assert one["last_charging_at"] == now
    unplugged = [
        *(Reading(one.at - minute, word="charging", power_kw=7) for one in charging),
        Reading(now, word="available"),
    ]
    (one,) = _ask(connection, _put(connection, unplugged), now - dt.timedelta(hours=2), now)
    assert (one["end_date_time"], one["status"]) == (now, "COMPLETED")
    waiting = [
        Reading(now - n * minute, word="charging" if n > 200 else "complete", power_kw=7 if n > 200 else 0)
        for n in range(300)
    ]
    (one,) = _ask(connection, _put(connection, waiting), now - dt.timedelta(hours=2), now)
    assert (one["last_charging_at"], one["status"]) == (now - 200 * minute, "ACTIVE")
    silent = [
        Reading(one.at - dt.timedelta(hours=20), word="IDLE" if one.at == now else "charging") for one in charging
    ]
    (one,) = _ask(connection, _put(connection, silent), now - dt.timedelta(hours=22), now)
    assert one["status"] == "COMPLETED"


def test_a_meter_that_is_exchanged(connection):
    """The old meter's link ends where the new one's begins, within the session."""
    first = Meter(model.Side(_register((at(0), 0), (at(1), 0), (at(2), 6.5))), until=at(2))
    second = Meter(model.Side(_register((at(2), 900), (at(3), 906.5), (at(5), 906.5))), since=at(2))
    (one,) = _sessions(connection, _put(connection, _evening(), [first, second]))
    assert float(one["kwh"]) == pytest.approx(13, abs=1e-6)
    assert one["meter_id"].count("-M-") == 2


def test_a_wrong_period(connection):
    with pytest.raises(Exception, match="before it begins"):
        _ask(connection, "nobody", at(2), at(1))
    assert _ask(connection, "nobody", at(1), at(2)) == []
