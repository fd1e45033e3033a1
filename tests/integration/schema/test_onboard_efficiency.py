"""Efficiency with the AC register of the vehicle's own charger: figures that arithmetic gives.

Unless said, readings come every minute: 0.092 kWh DC, 0.1 kWh AC, 92 %.
"""

import datetime as dt

import psycopg
import pytest

from support import documents
from support.schema import at, heard, link, materialise, meter, store, vehicle
from voltd.rules.cycle import hourly_figures


@pytest.fixture
def ask(connection):
    """A function: rows of ``volt.vehicle_efficiency`` as dictionaries; periods as hours from the start."""

    def rows(vehicle_id, from_h=0.0, to_h=24.0, step="period"):
        heard(connection)
        cursor = connection.execute(
            "SELECT * FROM volt.vehicle_efficiency(%s, %s, %s, %s, 'UTC')", (vehicle_id, at(from_h), at(to_h), step)
        )
        names = [one.name for one in cursor.description]
        found = [dict(zip(names, row, strict=True)) for row in cursor]
        return [
            {key: float(one) if one is not None and key.endswith(("kwh", "pct")) else one for key, one in row.items()}
            for row in found
        ]

    return rows


def _car(device, minutes, dc=0.092, ac=0.1, start=(500.0, 900.0), kwh=False):  # noqa: PLR0917
    """DC and AC of its charger as registers, or the DC as energy of each minute."""
    return [
        vehicle(
            device, at(0, n), kwh=dc if kwh else None,
            register=None if kwh else round(start[0] + dc * place, 6), onboard=round(start[1] + ac * place, 6),
        )
        for place, n in enumerate(minutes)
    ]  # fmt: skip


def _figures(row):
    return row["efficiency_pct"], row["source"], row["quality"]


@pytest.mark.parametrize("kwh", [False, True])
def test_a_car_alone(connection, ask, kwh):
    """Two registers, or DC as interval energy; no meter, no link."""
    store(connection, _car(f"O-1{kwh}", range(61), kwh=kwh))
    (row,) = ask(f"O-1{kwh}", 0, 1)
    assert _figures(row) == (92.0, "onboard", "ok")
    assert (row["dc_kwh"], row["ac_kwh"], row["meter_id"]) == (5.52, 6.0, None)
    assert row["efficiency_low_pct"] == row["efficiency_high_pct"] == 92.0


def test_a_tesla_at_a_wall_box(connection, ask):
    """Both since plug-in, sent apart on change: 15.36 of 16.1795 kWh in an hour and a half are 94.9 %.

    Before it, both fall from the last charge to 0. The DC register comes down by hundredths once the car is full.
    """
    readings = [vehicle("O-2", at(0), register=36.62, onboard=37.526)]
    readings += [
        vehicle("O-2", at(1, n / 2), register=round(15.36 * n / 180, 4),
                onboard=None if n % 2 else round(16.1795 * n / 180, 4))
        for n in range(181)
    ]  # fmt: skip
    readings += [vehicle("O-2", at(8 + n), register=15.36 - n / 100, onboard=16.1795) for n in range(5)]
    store(connection, readings)
    (row,) = ask("O-2")
    assert row["efficiency_pct"] == pytest.approx(100 * 15.36 / 16.1795, abs=0.01)
    assert (row["source"], row["quality"], row["unassigned_kwh"]) == ("onboard", "ok", 0)
    assert (row["dc_kwh"], row["ac_kwh"]) == (15.36, 16.1795)


@pytest.mark.parametrize(("name", "ac"), [("still", 0.0), ("falls behind", 0.2), ("too fast", 2.0)])
def test_fast_charging_is_not_compared(connection, ask, name, ac):
    """An hour at home, then half an hour at 100 kW: whatever the AC register does there, it is not of this energy."""
    car = _car(f"O-3 {name}", range(61))
    last = car[-1]
    fast = _car(f"O-3 {name}", range(61, 91), 100 / 60, ac, (last.dc_register_kwh, last.ac_register_kwh))
    store(connection, car + fast)
    (home,) = ask(f"O-3 {name}", 0, 1)
    assert _figures(home) == (92.0, "onboard", "ok")
    (road,) = ask(f"O-3 {name}", 1, 2)
    assert _figures(road) == (None, "onboard", "no_ac")
    (day,) = ask(f"O-3 {name}")
    assert day["efficiency_pct"] == pytest.approx(92.0, abs=0.01)
    assert day["quality"] == "partial"
    said = connection.execute(
        "SELECT DISTINCT remarks FROM volt.explain_efficiency(%s, %s, %s)", (f"O-3 {name}", at(1), at(1, 15))
    ).fetchall()
    assert said == [("more DC than passes the on-board charger: fast charging",)]


def test_a_linked_meter_wins_even_where_it_is_silent(connection, ask):
    link(connection, "O-4", "O-m4")
    store(connection, _car("O-4", range(121)) + [meter("O-m4", at(0, n), kwh=0.12) for n in range(1, 61)])
    hours = ask("O-4", 0, 2, "hour")
    assert [_figures(one) for one in hours] == [(76.67, "meter", "ok"), (None, None, "no_ac")]


def test_a_meter_for_half_of_the_day(connection, ask):
    """The hours have the one or the other, the day both; where the link begins the meter's part counts."""
    link(connection, "O-5", "O-m5", at(1, 5), at(3))
    store(connection, _car("O-5", range(241)) + [meter("O-m5", at(0, n), kwh=0.115) for n in range(1, 241)])
    hours = ask("O-5", 0, 4, "hour")
    assert [_figures(one) for one in hours] == [
        (92.0, "onboard", "ok"), (80.0, "meter", "partial"), (80.0, "meter", "ok"), (92.0, "onboard", "ok"),
    ]  # fmt: skip
    (day,) = ask("O-5")
    assert (day["source"], day["meter_id"], day["quality"]) == ("mixed", "O-m5", "ok")
    assert day["ac_kwh"] == pytest.approx(12.0 + 115 * 0.115)


def test_heating_at_the_cable_is_standby(connection, ask):
    """2 kW into the car and nothing into the battery: no stranger can be at its own charger."""
    store(connection, _car("O-6", range(61), 0.0, 2 / 60))
    (row,) = ask("O-6", 0, 1)
    assert (row["standby_kwh"], row["unassigned_kwh"], row["quality"]) == (pytest.approx(2.0), 0, "idle")


def test_dc_that_is_not_known(connection, ask):
    store(connection, [vehicle("O-7", at(0, n), onboard=10 + n / 10) for n in range(61)])
    (row,) = ask("O-7", 0, 1)
    assert (row["ac_kwh"], row["standby_kwh"], row["unassigned_kwh"], row["quality"]) == (6.0, 0, 0, "no_dc")


def test_dark_for_four_hours(connection, ask):
    """The period that has the gap whole is right, its hours are estimated."""
    store(connection, _car("O-8", [*range(61), *range(301, 361)], start=(100, 100)))
    (day,) = ask("O-8")
    assert _figures(day) == (92.0, "onboard", "ok")
    assert [one["quality"] for one in ask("O-8", 1, 5, "hour")] == ["estimated"] * 4


def test_a_session_register(connection, ask):
    """It begins anew at each plug-in, not near zero; the DC register counts for ever."""
    connection.execute("INSERT INTO volt.vehicle (vehicle_id, onboard_register_kind) VALUES ('O-9', 'session')")
    ac = [0.1 * n for n in range(61)] + [3.9 + 0.1 * n for n in range(60)]
    store(connection, [
        vehicle("O-9", at(0, n), register=70 + 0.092 * n + 3.6 * (n > 60), onboard=round(one, 6))
        for n, one in enumerate(ac)
    ])  # fmt: skip
    (row,) = ask("O-9", 0, 2)
    assert (row["ac_kwh"], row["source"]) == (pytest.approx(6 + 3.9 + 5.9), "onboard")
    events = connection.execute(
        "SELECT event, credited_kwh::float FROM volt.onboard_register_events('O-9', %s, %s)", (at(0), at(2))
    ).fetchall()
    assert events == [("session", 3.9)]


def test_a_decision(connection, ask):
    """An exchanged charger: suspect until somebody says what the new one showed at first."""
    ac = [5000 + 0.1 * n for n in range(31)] + [20 + 0.1 * n for n in range(30)]
    store(connection, [vehicle("O-10", at(0, n), kwh=0.092, onboard=round(one, 6)) for n, one in enumerate(ac)])
    assert ask("O-10", 0, 1)[0]["ac_kwh"] == pytest.approx(5.9)
    decide = (
        "INSERT INTO volt.register_decision (device_type, device_id, recorded_at, decision, start_kwh)"
        " VALUES ('onboard', 'O-10', %s, 'exchange', %s)"
    )
    connection.execute(decide, (at(0, 31), 19.9))
    (row,) = ask("O-10", 0, 1)
    assert (row["efficiency_pct"], row["ac_kwh"], row["quality"]) == (92.0, pytest.approx(6.0), "ok")
    store(connection, [vehicle("O-10", at(2), register=9000.0)])
    with pytest.raises(psycopg.errors.CheckViolation, match="has no AC register") as refused:
        connection.execute(decide, (at(2), 1.0))
    assert "onboard_register_events" in refused.value.diag.message_hint


def test_a_document_and_the_reasons(connection, ask):
    """volt.vehicle_performance says which AC it is; so does volt.explain_efficiency, which an analyst may ask."""
    store(connection, _car("O-11", [*range(61), *range(70, 121)]))
    ask("O-11")
    ((found,),) = connection.execute("SELECT volt.vehicle_performance('O-11', %s, %s)", (at(0), at(3))).fetchall()
    assert (found["source"], found["quality"]) == ("onboard", "ok")
    assert [one["source"] for one in found["hourlyBreakdown"]] == ["onboard", "onboard", None]
    with connection.transaction():
        connection.execute("SET LOCAL ROLE volt_reader")
        rows = connection.execute(
            "SELECT source, remarks FROM volt.explain_efficiency('O-11', %s, %s)", (at(0), at(1))
        ).fetchall()
        connection.execute("SELECT * FROM volt.onboard_energy_quarters('O-11', %s, %s)", (at(0), at(1)))
    assert rows == [("onboard", "")] * 4


def test_the_documents_example_is_what_it_returns(connection):
    """docs/analysts.md, on a day of this test."""
    day = at(0).replace(hour=0)
    start = day + dt.timedelta(hours=8)
    rises = [(0.092, 0.1)] * 60 + [(50 / 60, 0.0)] * 60 + [(0.092, 0.1)] * 60
    dc, ac, readings = 300.0, 40.0, [vehicle("EV-7", start, register=300.0, onboard=40.0)]
    for n, (dc_kwh, ac_kwh) in enumerate(rises):
        dc, ac = dc + dc_kwh, ac + ac_kwh
        readings.append(
            vehicle("EV-7", start + dt.timedelta(minutes=n + 1), register=round(dc, 6), onboard=round(ac, 6))
        )
    store(connection, readings)
    store(connection, [meter("M-7", start + dt.timedelta(minutes=n), kwh=0.115) for n in range(121, 181)])
    link(connection, "EV-7", "M-7", start + dt.timedelta(hours=2))
    heard(connection)
    ((query, answer),) = documents.examples(documents.section("### The vehicle's own charger"))
    assert documents.shown(connection.execute(query.replace("2026-11-02", f"{day:%Y-%m-%d}"))) == answer


def test_no_pair_of_readings_is_looked_for(connection):
    """Rules on pairs of readings are about meters: an hour of the on-board charger is none of theirs."""
    store(connection, _car("O-12", range(61)))
    store(connection, [meter("O-m12", at(0, n), kwh=0.1) for n in range(61)] + _car("O-13", range(61)))
    link(connection, "O-13", "O-m12")
    heard(connection)
    materialise(connection)
    hours = connection.execute(
        "SELECT efficiency_pct::float, source FROM volt.efficiency_hourly WHERE vehicle_id = 'O-12'"
    ).fetchall()
    assert hours == [(92.0, "onboard")]
    found = hourly_figures.charged(connection, at(0), at(2), ["O-12", "O-13"])
    assert {one for one, _ in found} == {"O-13"}
