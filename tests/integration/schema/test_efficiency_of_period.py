"""Efficiency of a vehicle over a period: awkward data, with the figures that arithmetic gives.

Unless said, readings come every minute: 0.092 kWh DC, 0.1 kWh AC, 92 %.
"""

import psycopg
import pytest

from support.schema import at, connection_of, link, meter, store, vehicle

__all__ = ["connection_of"]  # a fixture


@pytest.fixture(params=["timescale", "apache"])
def connection(connection_of, request):
    return connection_of(request.param)


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
