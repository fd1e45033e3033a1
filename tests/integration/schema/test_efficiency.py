"""Efficiency by hand: small cases with the numbers that arithmetic gives, live and stored, on both editions."""

import pytest

from support.schema import at, connection_of, link, materialise, meter, store, vehicle

__all__ = ["connection_of"]  # a fixture


@pytest.fixture(params=["timescale-live", "timescale-stored", "apache-live", "apache-stored"])
def stored(connection_of, request):
    """A function that stores readings on each edition in turn and returns the connection.

    Live: nothing is ever materialised there; stored: everything is, so that both halves of the views are seen.
    """
    edition, _, half = request.param.partition("-")
    connection = connection_of(edition, "live" if half == "live" else "common")

    def store_all(readings):
        store(connection, readings)
        if half == "stored":
            materialise(connection)
        return connection

    vars(store_all)["connection"] = connection
    return store_all


def efficiency(connection, vehicle_id):
    return connection.execute(
        "SELECT hour, dc_kwh::float, ac_kwh::float, efficiency_pct::float, quality FROM volt.efficiency_hourly"
        " WHERE vehicle_id = %s ORDER BY hour",
        (vehicle_id,),
    ).fetchall()


def test_interval_energy_by_hand(stored):
    """Sixty minutes of 0.15 kWh DC and 0.16 kWh AC: 9.0 of 9.6 kWh, 93.75 %, whole coverage."""
    link(stored.connection, "hand-1", "hand-m1")
    database = stored(
        [vehicle("hand-1", at(0, n), kwh=0.15) for n in range(60)]
        + [meter("hand-m1", at(0, n), kwh=0.16) for n in range(60)]
    )
    assert efficiency(database, "hand-1") == [(at(0), 9.0, 9.6, 93.75, "ok")]


def test_registers_by_hand(stored):
    """DC 100 -> 109 and AC 200 -> 210 over the hour, counted from the last reading before it: 9 of 10 kWh, 90 %."""
    link(stored.connection, "hand-2", "hand-m2")
    dc = [(at(0, 50), 100), (at(3, 10), 104), (at(3, 40), 109)]
    ac = [(at(0, 55), 200), (at(3, 5), 203), (at(3, 45), 210)]
    database = stored(
        [vehicle("hand-2", when, register=kwh) for when, kwh in dc]
        + [meter("hand-m2", when, register=kwh) for when, kwh in ac]
    )
    # The first hour has one reading of each register: energy unknown, so no row.
    assert efficiency(database, "hand-2") == [(at(3), 9.0, 10.0, 90.0, "partial")]


def test_a_reset_adds_the_new_value_and_drain_adds_nothing(stored):
    """36.6 -> 34.4 is drain (0), 34.4 -> 1.5 is a reset (1.5), then 1.5 -> 2.0: 2.0 kWh in all, also across hours."""
    values = [(0, 36.6), (1, 34.4), (2, 1.5), (3, 2.0)]
    database = stored(
        [vehicle("hand-3", at(hour, 30), register=value) for hour, value in values]
        + [vehicle("hand-3b", at(0, 10 * n), register=value) for n, value in values]
    )
    rows = database.execute(
        "SELECT energy_kwh::float FROM volt.vehicle_energy_hourly WHERE vehicle_id = 'hand-3' ORDER BY hour"
    ).fetchall()
    assert rows == [(None,), (0.0,), (1.5,), (0.5,)]
    row = database.execute(
        "SELECT energy_kwh::float, source FROM volt.vehicle_energy_hourly WHERE vehicle_id = 'hand-3b'"
    ).fetchone()
    assert row == (2.0, "register")


def test_what_is_missing_is_null_and_named(stored):
    """Each quality in its situation; efficiency is NULL where a side is missing or AC is 0."""
    ids = ["no-link", "ac-zero", "no-dc", "over", "under", "dc-zero", "shared-a", "shared-b"]
    for name in ids[1:]:
        link(stored.connection, name, "m-shared" if name.startswith("shared") else f"m-{name}")
    dc = {"no-link": 1, "ac-zero": 1, "over": 1.1, "under": 0.1, "dc-zero": 0, "shared-a": 0.5, "shared-b": 0.4}
    ac = {"m-ac-zero": 0, "m-no-dc": 1, "m-over": 1, "m-under": 1, "m-dc-zero": 1, "m-shared": 1, "m-alone": 5}
    database = stored(
        [vehicle(name, at(5, n), kwh=kwh / 60) for name, kwh in dc.items() for n in range(60)]
        + [meter(name, at(5, n), kwh=kwh / 60) for name, kwh in ac.items() for n in range(60)]
    )
    rows = database.execute(
        "SELECT vehicle_id, efficiency_pct::float, quality FROM volt.efficiency_hourly WHERE vehicle_id = ANY (%s)"
        " OR meter_id = 'm-alone'",
        (ids,),
    ).fetchall()
    assert {(name, None if pct is None else round(pct), quality) for name, pct, quality in rows} == {
        ("no-link", None, "no_ac"),
        ("ac-zero", None, "no_ac"),
        ("no-dc", None, "no_dc"),
        ("over", 110, "suspect"),
        ("under", 10, "suspect"),
        ("dc-zero", 0, "suspect"),
        ("shared-a", 50, "shared_meter"),
        ("shared-b", 40, "shared_meter"),
    }


def test_meters_linked_at_a_time_are_summed(stored):
    """Home and depot, both linked for good: AC is what both measured."""
    link(stored.connection, "both", "m-home")
    link(stored.connection, "both", "m-depot")
    database = stored(
        [vehicle("both", at(9, n), kwh=0.09) for n in range(60)]
        + [meter(name, at(9, n), kwh=0.05) for name in ("m-home", "m-depot") for n in range(60)]
    )
    assert efficiency(database, "both") == [(at(9), 5.4, 6.0, 90.0, "ok")]


def test_two_meters_in_one_hour_are_summed_and_the_same_one_twice_is_not(stored):
    """Links that change within the hour: distinct meters in the order of their links."""
    link(stored.connection, "moved", "m-1", None, at(7, 20))
    link(stored.connection, "moved", "m-0", at(7, 20), None)
    link(stored.connection, "twice", "m-2", None, at(7, 20))
    link(stored.connection, "twice", "m-2", at(7, 30), None)
    database = stored([meter(name, at(7, 5), kwh=2) for name in ("m-0", "m-1", "m-2")])
    rows = database.execute(
        "SELECT vehicle_id, meter_id, ac_kwh::int, ac_readings::int FROM volt.efficiency_hourly"
        " WHERE vehicle_id IN ('moved', 'twice') AND hour = %s ORDER BY 1",
        (at(7),),
    ).fetchall()
    assert rows == [("moved", "m-1, m-0", 4, 2), ("twice", "m-2", 2, 1)]
