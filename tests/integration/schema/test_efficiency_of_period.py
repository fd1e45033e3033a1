"""Efficiency of a vehicle over a period: awkward data, with the figures that arithmetic gives.

Unless said, readings come every minute: 0.092 kWh DC, 0.1 kWh AC, 92 %.
"""

import psycopg
import pytest

from support.energy.kept import differences
from support.schema import at, link, materialise, meter, store, vehicle


@pytest.fixture
def ask(connection):
    """A function: rows of ``volt.vehicle_efficiency`` as dictionaries, times as hours from the start."""

    def rows(vehicle_id, from_h=0.0, to_h=24.0, step="period", zone="UTC"):
        cursor = connection.execute(
            "SELECT * FROM volt.vehicle_efficiency(%s, %s, %s, %s, %s)", (vehicle_id, at(from_h), at(to_h), step, zone)
        )
        names = [one.name for one in cursor.description]
        found = [dict(zip(names, row, strict=True)) for row in cursor]
        return [
            {key: float(one) if one is not None and key.endswith(("kwh", "pct")) else one for key, one in row.items()}
            | {"hour": (row["began_at"] - at(0)).total_seconds() / 3600}
            for row in found
        ]

    return rows


def _dc(device, minutes, kwh=0.092, **more):
    return [vehicle(device, at(0, n), kwh=kwh, **more) for n in minutes]


def _ac(device, minutes, kwh=0.1):
    return [meter(device, at(0, n), kwh=kwh) for n in minutes]


def _dc_register(device, minutes, start=1000.0, step=0.092):
    first = minutes[0]
    return [vehicle(device, at(0, n), register=round(start + step * (n - first), 6)) for n in minutes]


def test_plain(connection, ask):
    link(connection, "P-1", "P-m1")
    store(connection, _dc("P-1", range(1, 61)) + _ac("P-m1", range(1, 61)))
    (row,) = ask("P-1")
    assert row["efficiency_pct"] == row["efficiency_low_pct"] == row["efficiency_high_pct"] == 92.0
    assert (row["dc_kwh"], row["ac_kwh"], row["quality"], row["meter_id"]) == (5.52, 6.0, "ok", "P-m1")


def test_a_register_vehicle_that_was_offline(connection, ask):
    """It charged for eight hours and was silent for four of them: the day is right, hours of the gap are estimated."""
    link(connection, "P-2", "P-m2")
    heard = [n for n in range(481) if not 120 < n < 360]
    store(connection, _dc_register("P-2", heard) + _ac("P-m2", range(1, 481)))
    assert [(row["efficiency_pct"], row["quality"]) for row in ask("P-2")] == [(92.0, "ok")]
    hours = {row["hour"]: (row["efficiency_pct"], row["quality"]) for row in ask("P-2", step="hour")}
    assert [hours[hour] for hour in range(8)] == [(92.0, "ok")] * 2 + [(None, "estimated")] * 4 + [(92.0, "ok")] * 2


def test_register_then_intervals_then_register(connection, ask):
    link(connection, "P-3", "P-m3")
    store(
        connection,
        _dc_register("P-3", range(61))
        + _dc("P-3", range(61, 120))
        + _dc_register("P-3", range(120, 181), start=1000 + 0.092 * 120)
        + _ac("P-m3", range(1, 181)),
    )
    (row,) = ask("P-3")
    assert (row["efficiency_pct"], row["quality"]) == (92.0, "ok")
    assert row["dc_kwh"] == pytest.approx(180 * 0.092)


def test_lost_messages(connection, ask):
    """Six of sixty, in one quarter hour: it is left out, and shown."""
    link(connection, "P-4", "P-m4")
    store(connection, _dc("P-4", [n for n in range(1, 61) if not 20 < n <= 26]) + _ac("P-m4", range(1, 61)))
    (row,) = ask("P-4")
    assert (row["efficiency_pct"], row["quality"]) == (92.0, "ok")
    assert (row["dc_kwh"], row["comparable_ac_kwh"]) == (pytest.approx(54 * 0.092), 4.5)


def test_a_few_lost_messages_are_scaled(connection, ask):
    """Two of fifteen: the side is scaled to the quarter hour, and the bounds say what they may have been."""
    link(connection, "P-5", "P-m5")
    store(connection, _dc("P-5", [n for n in range(1, 61) if n not in (20, 22)]) + _ac("P-m5", range(1, 61)))
    (row,) = ask("P-5")
    assert (row["efficiency_pct"], row["quality"]) == (92.0, "ok")
    assert row["efficiency_low_pct"] == pytest.approx(100 * 58 * 0.092 / 6, abs=0.01)
    assert row["efficiency_high_pct"] == 92.0


def test_a_stranger_charges_after_the_link_ended(connection, ask):
    link(connection, "P-6", "P-m6", at(0), at(0, 30))
    store(connection, _dc("P-6", range(1, 31)) + _dc("P-6", range(31, 61), 0.0) + _ac("P-m6", range(1, 61)))
    (row,) = ask("P-6")
    assert (row["efficiency_pct"], row["ac_kwh"], row["quality"]) == (92.0, 3.0, "ok")


def test_two_vehicles_in_different_halves_of_an_hour(connection, ask):
    for name, since, until in (("P-7a", 0, 30), ("P-7b", 30, 60)):
        link(connection, name, "P-m7", at(0, since), at(0, until))
    link(connection, "P-8a", "P-m8")
    link(connection, "P-8b", "P-m8")
    for pair in ("P-7", "P-8"):
        store(connection, _dc(f"{pair}a", range(1, 31)) + _dc(f"{pair}a", range(31, 61), 0.0))
        store(connection, _dc(f"{pair}b", range(31, 61)) + _dc(f"{pair}b", range(1, 31), 0.0))
        store(connection, _ac(pair.replace("-", "-m"), range(1, 61)))
        for name in ("a", "b"):
            (row,) = ask(pair + name)
            assert (row["efficiency_pct"], row["ac_kwh"], row["quality"]) == (92.0, 3.0, "ok"), pair + name


def test_two_vehicles_at_once(connection, ask):
    """They share the meter by their DC energy, and the figure says so."""
    link(connection, "P-9a", "P-m9")
    link(connection, "P-9b", "P-m9")
    store(connection, _dc("P-9a", range(1, 61)) + _dc("P-9b", range(1, 61), 0.276) + _ac("P-m9", range(1, 61), 0.4))
    (row,) = ask("P-9a")
    assert (row["efficiency_pct"], row["ac_kwh"], row["quality"]) == (92.0, 6.0, "shared_meter")


def test_standby(connection, ask):
    """A charger of 5 W for 20 hours beside 4 hours of charging."""
    link(connection, "P-10", "P-m10")
    idle = 0.005 / 60
    store(connection, _dc("P-10", range(1, 241)) + _dc("P-10", range(241, 1441), 0.0))
    store(connection, _ac("P-m10", range(1, 241)) + _ac("P-m10", range(241, 1441), idle))
    (row,) = ask("P-10")
    assert (row["efficiency_pct"], row["quality"]) == (92.0, "ok")
    assert row["standby_kwh"] == pytest.approx(0.1)
    assert row["unassigned_kwh"] == 0.0


def test_dark_for_four_hours_of_which_it_charged_one(connection, ask):
    """The day is right; each hour of the gap is unknown."""
    link(connection, "P-11", "P-m11")
    charged = 60 * 0.092
    dc = [vehicle("P-11", at(0, n), register=1000.0) for n in range(601)]
    dc += [vehicle("P-11", at(14, n), register=1000.0 + charged) for n in range(60)]
    ac = [meter("P-m11", at(0, n), kwh=0.1 if 600 < n <= 660 else 0.0) for n in range(1, 901)]
    store(connection, [*dc, *ac])
    assert [(row["efficiency_pct"], row["quality"]) for row in ask("P-11")] == [(92.0, "ok")]
    hours = {row["hour"]: (row["efficiency_pct"], row["quality"]) for row in ask("P-11", step="hour")}
    assert [hours[hour] for hour in range(10, 14)] == [(None, "estimated")] * 4


def test_nobody_was_delivered_to(connection, ask):
    link(connection, "P-12", "P-m12")
    store(connection, _dc("P-12", range(1, 61), 0.0) + _ac("P-m12", range(1, 61)))
    (row,) = ask("P-12")
    assert (row["efficiency_pct"], row["unassigned_kwh"], row["quality"]) == (None, 6.0, "unassigned")


def test_five_minute_devices(connection, ask):
    link(connection, "P-13", "P-m13")
    store(connection, _dc("P-13", range(5, 61, 5), 0.3) + _ac("P-m13", range(5, 61, 5), 0.5))
    assert [(row["efficiency_pct"], row["quality"]) for row in ask("P-13", step="hour")] == [(60.0, "ok")]


def test_a_quarter_hour_meter_stamped_at_the_end(connection, ask):
    link(connection, "P-14", "P-m14")
    store(connection, _dc("P-14", range(1, 121)) + _ac("P-m14", range(15, 121, 15), 1.5))
    assert [(row["efficiency_pct"], row["quality"]) for row in ask("P-14", step="hour")] == [(92.0, "ok")] * 2


def test_an_hourly_meter(connection, ask):
    """Its hours are right as a whole, a half of one is not known."""
    link(connection, "P-15", "P-m15")
    store(connection, _dc("P-15", range(1, 181)) + _ac("P-m15", range(60, 181, 60), 6.0))
    assert [(row["efficiency_pct"], row["quality"]) for row in ask("P-15", step="hour")] == [(92.0, "ok")] * 3
    assert [(row["efficiency_pct"], row["quality"]) for row in ask("P-15", 0.0, 0.5)] == [(None, "estimated")]


@pytest.mark.parametrize(
    ("name", "values"),
    [("exchanged", [500.0, 5000.0]), ("zero", [34507.5, 0.0, 34507.7]), ("dip", [5688.5, 5213.9, 5688.7])],
)
def test_a_meter_register_that_jumps(connection, ask, name, values):
    """An hour of charging of which the meter's register makes a jump in its last quarter: the others are compared."""
    link(connection, f"P-{name}", f"P-m-{name}")
    ac = [meter(f"P-m-{name}", at(0, n), register=values[0] - 0.1 * (50 - n)) for n in range(51)]
    ac += [meter(f"P-m-{name}", at(0, 51 + n), register=one) for n, one in enumerate(values[1:])]
    after = range(51 + len(values) - 1, 61)
    ac += [meter(f"P-m-{name}", at(0, n), register=values[-1] + 0.1 * (n - after[0] + 1)) for n in after]
    store(connection, _dc(f"P-{name}", range(1, 61)) + ac)
    (row,) = ask(f"P-{name}")
    assert row["efficiency_pct"] == 92.0
    assert row["ac_kwh"] == pytest.approx(5.9 if name == "exchanged" else 6.0)


def test_driving_is_not_charging(connection, ask):
    """Regeneration on the road, then an hour at the charger."""
    link(connection, "P-16", "P-m16")
    drives = [vehicle("P-16", at(0, n), kwh=0.05, speed=80.0) for n in range(1, 60)] + [vehicle("P-16", at(1), kwh=0.0)]
    store(connection, drives + _dc("P-16", range(61, 121)) + _ac("P-m16", range(61, 121)))
    (row,) = ask("P-16")
    assert (row["efficiency_pct"], row["comparable_ac_kwh"]) == (92.0, 6.0)


def test_two_meters(connection, ask):
    """At home from 0 to 1, at the depot from 2 to 3, where somebody else charged before."""
    link(connection, "P-17", "P-home", at(-1), at(1))
    link(connection, "P-17", "P-depot", at(1), at(5))
    store(connection, _dc("P-17", range(1, 61)) + _dc("P-17", range(61, 121), 0.0) + _dc("P-17", range(121, 181)))
    store(connection, _ac("P-home", range(1, 61)) + _ac("P-depot", range(61, 181)))
    (row,) = ask("P-17")
    assert (row["efficiency_pct"], row["meter_id"], row["unassigned_kwh"]) == (92.0, "P-depot, P-home", 6.0)


def test_days_of_a_zone(connection, ask):
    """Kolkata is 5:30 ahead: its day begins at half past six in the evening, UTC."""
    link(connection, "P-18", "P-m18")
    store(connection, _dc("P-18", range(1, 1441)) + _ac("P-m18", range(1, 1441)))
    days = ask("P-18", step="day", zone="Asia/Kolkata")
    assert len(days) == 2
    assert {row["efficiency_pct"] for row in days} == {92.0}
    assert sum(row["ac_kwh"] for row in days) == pytest.approx(144.0)
    (inner,) = [row["began_at"] for row in days if row["began_at"] != at(0)]
    assert (inner.hour, inner.minute) == (18, 30)


def test_days_of_the_fleet(connection, ask):
    """Without a zone the days are those of the vehicle's fleet."""
    connection.execute("INSERT INTO volt.fleet (fleet_id, timezone) VALUES ('P-fleet', 'Asia/Kolkata')")
    connection.execute("INSERT INTO volt.vehicle (vehicle_id, fleet_id) VALUES ('P-21', 'P-fleet')")
    store(connection, _dc("P-21", range(1, 1441)))
    assert ask("P-21", step="day", zone=None) == ask("P-21", step="day", zone="Asia/Kolkata")
    assert ask("P-21", step="day", zone=None) != ask("P-21", step="day", zone="UTC")


def test_hours_add_up_to_the_period(connection, ask):
    link(connection, "P-19", "P-m19")
    store(connection, _dc("P-19", range(1, 200)) + _ac("P-m19", range(1, 200)))
    hours = ask("P-19", 0.33, 3.1, step="hour")
    (whole,) = ask("P-19", 0.33, 3.1)
    for name in ("dc_kwh", "ac_kwh"):
        assert sum(row[name] for row in hours) == pytest.approx(whole[name], abs=1e-6)


def test_unknown_vehicle(ask):
    assert ask("nobody") == []


@pytest.mark.parametrize(
    ("period", "message"),
    [
        ((at(1), at(0)), "before it begins"),
        ((at(0), at(0)), "before it begins"),
        ((at(-24 * 400), at(0)), "longer than"),
        ((None, at(0)), "needs a beginning"),
    ],
)
def test_periods_that_make_no_sense(connection, period, message):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=message):
        connection.execute("SELECT * FROM volt.vehicle_efficiency('P-1', %s, %s)", period)


def test_no_such_step(connection):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="no step 'week'"):
        connection.execute("SELECT * FROM volt.vehicle_efficiency('P-1', %s, %s, 'week')", (at(0), at(1)))


def test_analysts_may_ask_and_see_why(connection):
    link(connection, "P-20", "P-m20")
    store(connection, _dc("P-20", [n for n in range(1, 61) if not 20 < n <= 26]) + _ac("P-m20", range(1, 46)))
    with connection.transaction():
        connection.execute("SET LOCAL ROLE volt_reader")
        rows = connection.execute("SELECT * FROM volt.explain_efficiency('P-20', %s, %s)", (at(0), at(1))).fetchall()
        connection.execute("SELECT * FROM volt.vehicle_efficiency('P-20', %s, %s)", (at(0), at(1)))
    assert [row[-1] for row in rows] == [
        "", "DC measured for less than 80 %", "", "no AC reading of a linked meter",
    ]  # fmt: skip


def test_an_hourly_meter_with_standby(connection, ask):
    """Its hours stay apart: a stranger's hours are unassigned, standby is not compared, and the day is right."""
    link(connection, "P-30", "P-m30")
    hours = dict.fromkeys(range(1, 25), 0.005) | {11: 6.0, 12: 6.0, 16: 6.0, 17: 6.0}
    store(connection, [meter("P-m30", at(hour), kwh=kwh) for hour, kwh in hours.items()])
    store(connection, _dc("P-30", range(601, 721)) + _dc("P-30", [*range(1, 601), *range(721, 1441)], 0.0))
    (row,) = ask("P-30")
    assert (row["efficiency_pct"], row["comparable_ac_kwh"], row["unassigned_kwh"]) == (92.0, 12.0, 12.0)
    assert (row["standby_kwh"], row["quality"]) == (pytest.approx(0.1), "ok")


def test_an_hourly_meter_that_is_two_seconds_late(connection, ask):
    link(connection, "P-31", "P-m31")
    store(connection, [meter("P-m31", at(hour, 0, 2), kwh=6.0 if hour in (11, 12) else 0.005) for hour in range(25)])
    store(connection, _dc("P-31", range(601, 721)) + _dc("P-31", [*range(1, 601), *range(721, 1441)], 0.0))
    (row,) = ask("P-31")
    assert row["efficiency_pct"] == pytest.approx(92.0, abs=0.1)
    assert row["quality"] == "ok"


def test_a_link_that_cuts_what_is_known_as_a_whole(connection, ask):
    """An hourly meter, half of whose hour belongs to somebody else."""
    link(connection, "P-32", "P-m32", at(10, 30))
    store(connection, [meter("P-m32", at(hour), kwh=12.0 if hour == 11 else 0.0) for hour in range(1, 25)])
    store(connection, _dc("P-32", range(631, 661)) + _dc("P-32", [*range(1, 631), *range(661, 1441)], 0.0))
    assert [(row["efficiency_pct"], row["quality"]) for row in ask("P-32")] == [(None, "estimated")]


def test_a_link_that_begins_within_a_quarter_hour(connection, ask):
    """That quarter hour is left out: its DC and its AC are not of the same time."""
    link(connection, "P-33", "P-m33", at(0, 2))
    store(connection, _dc("P-33", range(1, 61)) + _ac("P-m33", range(1, 61)))
    (row,) = ask("P-33")
    assert (row["efficiency_pct"], row["comparable_ac_kwh"], row["quality"]) == (92.0, 4.5, "partial")


def test_another_vehicle_of_the_meter_drives(connection, ask):
    """Its regeneration is no share of the meter."""
    link(connection, "P-34", "P-m34")
    link(connection, "P-34b", "P-m34")
    store(connection, _dc("P-34", range(1, 61)) + _ac("P-m34", range(1, 61)))
    store(connection, [vehicle("P-34b", at(0, n), kwh=0.05, speed=80.0) for n in range(61)])
    (row,) = ask("P-34")
    assert (row["efficiency_pct"], row["ac_kwh"], row["quality"]) == (92.0, 6.0, "ok")
    assert ask("P-34b")[0]["ac_kwh"] == 0.0


def test_a_gap_at_a_shared_meter_is_not_compared(connection, ask):
    """When the energy of the gap flowed decides how the meter is shared, and nobody knows it."""
    for name in ("P-35a", "P-35b"):
        link(connection, name, "P-m35")
    gap = [vehicle("P-35a", at(0, n), register=1000.0) for n in range(601)]
    gap += [vehicle("P-35a", at(14, n), register=1022.08) for n in range(60)]
    store(connection, gap)
    store(connection, _dc("P-35b", [*range(1, 721), *range(781, 900)], 0.0) + _dc("P-35b", range(721, 781)))
    store(connection, [meter("P-m35", at(0, n), kwh=_of(n, (601, 661, 0.4), (721, 781, 0.1))) for n in range(1, 900)])
    assert [(row["efficiency_pct"], row["quality"]) for row in ask("P-35a")] == [(None, "estimated")]


def _of(n, *runs):
    return next((kwh for first, last, kwh in runs if first <= n < last), 0.0)


def test_an_idle_meter_at_home_and_a_shared_depot(connection, ask):
    """The meter that runs counts, by the vehicle's share, also where the vehicle has a gap."""
    for name in ("P-36", "P-36b"):
        link(connection, name, "P-depot36")
    link(connection, "P-36", "P-home36")
    store(connection, _dc("P-36", range(1, 61)) + _dc("P-36b", range(1, 61), 0.276))
    store(connection, _ac("P-depot36", range(1, 61), 0.4) + _ac("P-home36", range(1, 61), 0.0))
    (row,) = ask("P-36")
    assert (row["efficiency_pct"], row["ac_kwh"], row["quality"]) == (92.0, 6.0, "shared_meter")

    link(connection, "P-37", "P-depot37")
    link(connection, "P-37", "P-home37")
    store(connection, [vehicle("P-37", at(0, n), register=1000.0) for n in range(601)])
    store(connection, [vehicle("P-37", at(14, n), register=1005.52) for n in range(60)])
    store(connection, [meter("P-depot37", at(0, n), kwh=_of(n, (601, 661, 0.1))) for n in range(1, 900)])
    store(connection, [meter("P-home37", at(0, n), kwh=0.0) for n in range(1, 900)])
    (row,) = ask("P-37")
    assert (row["efficiency_pct"], row["meter_id"], row["quality"]) == (92.0, "P-depot37", "ok")


def test_a_stranger_at_one_of_two_meters(connection, ask):
    link(connection, "P-38", "P-depot38")
    link(connection, "P-38", "P-home38")
    store(connection, _dc("P-38", range(1, 61), 0.0))
    store(connection, _ac("P-depot38", range(1, 61)) + _ac("P-home38", range(1, 61), 0.0005))
    (row,) = ask("P-38")
    assert (row["unassigned_kwh"], row["quality"]) == (6.0, "unassigned")


def test_a_vehicle_that_drives_or_charges_elsewhere(connection, ask):
    """Regeneration is neither partial nor missing AC; a foreign charger is."""
    link(connection, "P-39", "P-m39")
    drives = [vehicle("P-39", at(0, n), kwh=0.1, speed=80.0) for n in range(1, 120)]
    store(connection, drives + _dc("P-39", range(135, 195)) + _dc("P-39", range(195, 241), 0.0))
    store(connection, [meter("P-m39", at(0, n), kwh=_of(n, (135, 195, 0.1))) for n in range(1, 241)])
    assert [(row["efficiency_pct"], row["quality"]) for row in ask("P-39")] == [(92.0, "ok")]
    assert [row["quality"] for row in ask("P-39", 0.0, 1.75)] == ["idle"]
    link(connection, "P-40", "P-m40")
    store(connection, _dc("P-40", range(1, 61), 0.8) + _ac("P-m40", range(1, 61), 0.005 / 60))
    assert [row["quality"] for row in ask("P-40")] == ["no_ac"]


def test_a_share_of_an_hour_is_nobodys_energy(connection, ask):
    """An hourly meter: the vehicle charged half an hour and drove away. The other half is no stranger."""
    link(connection, "P-41", "P-m41")
    store(connection, [meter("P-m41", at(hour), kwh=3.0 if hour == 11 else 0.0) for hour in range(1, 14)])
    store(connection, _dc("P-41", [*range(1, 601), *range(631, 640)], 0.0) + _dc("P-41", range(601, 631)))
    store(connection, [vehicle("P-41", at(10, n), kwh=0.0, speed=60.0) for n in range(41, 120)])
    assert [row["unassigned_kwh"] for row in ask("P-41")] == [0.0]


def test_an_hour_of_half_a_zone(connection, ask):
    """Nothing of the period is lost where local hours begin at half past."""
    link(connection, "P-42", "P-m42")
    store(connection, _dc("P-42", range(1, 241)) + _ac("P-m42", range(1, 241)))
    rows = ask("P-42", 0.1, 3.9, step="hour", zone="Asia/Kolkata")
    assert sum(row["ac_kwh"] for row in rows) == pytest.approx(3.8 * 6, abs=1e-6)


def test_what_is_kept_of_all_these(connection, editions):
    """What voltd keeps is what the functions give, for every vehicle of the tests above, each on one edition."""
    materialise(connection)
    ((edition,),) = connection.execute("SHOW timescaledb.license").fetchall()
    vehicles = [row[0] for row in connection.execute(
        "SELECT vehicle_id FROM volt.vehicle_meter UNION SELECT vehicle_id FROM volt.vehicle_reading"
        " ORDER BY vehicle_id")][editions.index(edition) :: len(editions)]  # fmt: skip
    assert vehicles
    assert differences(connection, vehicles, (), at(-48 - at(0).hour)) == []
