"""Kept energy and efficiency by hand: small cases with the numbers that arithmetic gives, on both editions.

Readings come every minute from the first to the last of each hour: a reading is of the minute that ends with it.
"""

import pytest

from support.schema import HOUR, at, link, materialise, meter, store, vehicle

MINUTES = range(1, 61)


def on(hour, minute=0):
    """A time of the day, in UTC, on which the tests' time begins; so no midnight lies between readings."""
    return at(hour - HOUR.hour, minute)


@pytest.fixture
def efficiency(connection):
    """A function: hours of a vehicle with energy and efficiency, once all of its readings are stored and kept."""

    def rows(vehicle_id, readings):
        store(connection, readings)
        materialise(connection)
        return connection.execute(
            "SELECT hour, round(dc_kwh, 6)::float, round(ac_kwh, 6)::float, efficiency_pct::float, quality"
            " FROM volt.efficiency_hourly WHERE vehicle_id = %s ORDER BY hour",
            (vehicle_id,),
        ).fetchall()

    return rows


def test_a_full_hour_ends_the_hour_before(connection, efficiency):
    """Sixty minutes of 0.15 kWh DC and 0.16 kWh AC: 9.0 of 9.6 kWh, 93.75 %, and nothing in the next hour."""
    link(connection, "hand-1", "hand-m1")
    dc = [vehicle("hand-1", at(0, n), kwh=0.15) for n in MINUTES]
    ac = [meter("hand-m1", at(0, n), kwh=0.16) for n in MINUTES]
    assert efficiency("hand-1", dc + ac) == [(at(0), 9.0, 9.6, 93.75, "ok")]


def test_registers_across_hours(connection, efficiency):
    """DC 100 -> 104 in a gap of 140 minutes, then 5 kWh in 30; AC 200 -> 203 in one of 130, then 7 kWh in 40.

    Of the last hour 10 minutes lie in the gap of DC and 5 in that of AC: 4 * 10/140 + 5 = 5.285714 and
    3 * 5/130 + 7 = 7.115385 kWh. Only its second quarter is measured on both sides and not cut: 5 * 15/30 = 2.5 of
    7 * 15/40 = 2.625 kWh, 95.24 %, less than 80 % of what was delivered. Hours of the gap alone have an even share.
    All hours as one period have the whole of it: 9 and 10 kWh. There the gap's quarter hours are compared as one,
    from 0:45 to 3:15: 4 + 5 * 5/30 kWh DC in 145 of 150 minutes and 3 + 7 * 10/40 kWh AC in 140, each scaled to 150:
    5 and 5.089286. With the quarter hour that follows: 7.5 of 7.714286 kWh, 97.22 %.
    """
    link(connection, "hand-2", "hand-m2")
    dc = [(on(0, 50), 100), (on(3, 10), 104), (on(3, 40), 109)]
    ac = [(on(0, 55), 200), (on(3, 5), 203), (on(3, 45), 210)]
    rows = efficiency(
        "hand-2",
        [vehicle("hand-2", when, register=kwh) for when, kwh in dc]
        + [meter("hand-m2", when, register=kwh) for when, kwh in ac],
    )
    assert rows == [
        (on(0), 0.285714, 0.115385, None, "estimated"),
        (on(1), 1.714286, 1.384615, None, "estimated"),
        (on(2), 1.714286, 1.384615, None, "estimated"),
        (on(3), 5.285714, 7.115385, 95.24, "partial"),
    ]
    period = connection.execute(
        "SELECT dc_kwh::float, ac_kwh::float, comparable_dc_kwh::float, comparable_ac_kwh::float, efficiency_pct::float"
        " FROM volt.vehicle_efficiency('hand-2', %s, %s, 'period')",
        (on(0), on(4)),
    ).fetchone()
    assert period == pytest.approx((9, 10, 7.5, 7.714286, 97.22), abs=1e-6)


def test_a_reset_adds_the_new_value_and_drain_adds_nothing(connection, efficiency):
    """36.6 -> 34.4 is a lower level that is held (0), 34.4 -> 1.5 a reset (1.5), then 1.5 -> 2.0: 2.0 kWh in all.

    Across hours the energy lies evenly between two readings: 1.5 kWh from 1:30 to 2:30, 0.5 from 2:30 to 3:30.
    """
    values = [(0, 36.6), (1, 34.4), (2, 1.5), (3, 2.0)]
    efficiency(
        "hand-3",
        [vehicle("hand-3", on(hour, 30), register=value) for hour, value in values]
        + [vehicle("hand-3b", on(0, 10 * n), register=value) for n, value in values],
    )
    rows = connection.execute(
        "SELECT energy_kwh::float, suspect FROM volt.vehicle_energy_hourly WHERE vehicle_id = 'hand-3' ORDER BY hour"
    ).fetchall()
    assert rows == [(0.0, False), (0.75, False), (1.0, False), (0.25, False)]
    row = connection.execute(
        "SELECT sum(energy_kwh)::float, min(source) FROM volt.vehicle_quarter_hourly WHERE vehicle_id = 'hand-3b'"
    ).fetchone()
    assert row == (2.0, "register")


def test_what_is_missing_is_null_and_named(connection, efficiency):
    """Each quality in its situation; efficiency is NULL where a side is missing or 0.

    Two vehicles at one meter share its 1 kWh by what they took, 0.5 and 0.4: each has 90 %. A meter without a vehicle
    makes no row.
    """
    ids = ["no-link", "ac-zero", "no-dc", "over", "under", "dc-zero", "shared-a", "shared-b"]
    for name in ids[1:]:
        link(connection, name, "m-shared" if name.startswith("shared") else f"m-{name}")
    dc = {"no-link": 1, "ac-zero": 1, "over": 1.1, "under": 0.1, "dc-zero": 0, "shared-a": 0.5, "shared-b": 0.4}
    ac = {"m-ac-zero": 0, "m-no-dc": 1, "m-over": 1, "m-under": 1, "m-dc-zero": 1, "m-shared": 1, "m-alone": 5}
    efficiency(
        "over",
        [vehicle(name, at(5, n), kwh=kwh / 60) for name, kwh in dc.items() for n in MINUTES]
        + [meter(name, at(5, n), kwh=kwh / 60) for name, kwh in ac.items() for n in MINUTES],
    )
    rows = connection.execute(
        "SELECT vehicle_id, efficiency_pct::float, quality FROM volt.efficiency_hourly WHERE vehicle_id = ANY (%s)"
        " OR meter_id = 'm-alone'",
        (ids,),
    ).fetchall()
    assert set(rows) == {
        ("no-link", None, "no_ac"),
        ("ac-zero", None, "no_ac"),
        ("no-dc", None, "no_dc"),
        ("over", 110, "suspect"),
        ("under", 10, "suspect"),
        ("dc-zero", None, "unassigned"),
        ("shared-a", 90, "shared_meter"),
        ("shared-b", 90, "shared_meter"),
    }


def test_of_two_meters_that_run_the_nearest_counts(connection, efficiency):
    """Home and depot, both linked for good, 3 and 6 kWh: a vehicle that took 5.4 kWh stood at the depot."""
    link(connection, "both", "m-home")
    link(connection, "both", "m-depot")
    dc = [vehicle("both", at(9, n), kwh=0.09) for n in MINUTES]
    ac = [meter(name, at(9, n), kwh=kwh) for name, kwh in (("m-home", 0.05), ("m-depot", 0.1)) for n in MINUTES]
    assert efficiency("both", dc + ac) == [(at(9), 5.4, 6.0, 90.0, "ok")]


def test_links_that_change_within_a_quarter_hour(connection, efficiency):
    """From one meter to another at 7:20, and one meter without a link from 7:20 to 7:25; all have 1.5 kWh a quarter.

    Of the quarter hour in which the links change only the meter that is nearest to the 1.35 kWh counts: 10 minutes of
    m-0, 1.0 kWh, and not 5 of m-1; so 5.5 kWh. The same meter before and after is one: 5 and 5 minutes, 1.0 kWh, too.
    That quarter hour is not compared: 4.05 of 4.5 kWh are, which is less than 80 % of what was delivered.
    """
    link(connection, "moved", "m-1", None, at(7, 20))
    link(connection, "moved", "m-0", at(7, 20), None)
    link(connection, "twice", "m-2", None, at(7, 20))
    link(connection, "twice", "m-2", at(7, 25), None)
    ac = [meter(name, at(7, n), kwh=0.1) for name in ("m-0", "m-1", "m-2") for n in MINUTES]
    dc = [vehicle(name, at(7, n), kwh=0.09) for name in ("moved", "twice") for n in MINUTES]
    assert efficiency("moved", dc + ac) == [(at(7), 5.4, 5.5, 90.0, "partial")]
    assert efficiency("twice", []) == [(at(7), 5.4, 5.5, 90.0, "partial")]
    rows = connection.execute(
        "SELECT vehicle_id, meter_id, comparable_dc_kwh::float, comparable_ac_kwh::float FROM volt.efficiency_hourly"
        " WHERE vehicle_id IN ('moved', 'twice') ORDER BY 1"
    ).fetchall()
    assert rows == [("moved", "m-0, m-1", 4.05, 4.5), ("twice", "m-2", 4.05, 4.5)]
