"""Returned energy: the same definition as delivered energy, beside it and never mixed in."""

import datetime as dt
import pathlib
import re

import psycopg
import pytest

from support.schema import at, link, meter, store, vehicle

DOCUMENT = pathlib.Path(__file__).parents[3] / "docs" / "analysts.md"


def _dc(device, minutes, returned=None, register=None, **values):
    """A reading of a vehicle a minute with returned energy; ``register`` is a function of the minute."""
    return [
        vehicle(device, at(0, n), **values)._replace(
            kwh_returned_dc=returned, dc_returned_register_kwh=None if register is None else register(n)
        )
        for n in minutes
    ]


def _ac(device, minutes, returned=None, register=None, **values):
    return [
        meter(device, at(0, n), **values)._replace(
            kwh_returned_ac=returned, ac_returned_register_kwh=None if register is None else register(n)
        )
        for n in minutes
    ]


@pytest.fixture
def returned(connection):
    """A function: the returned energy of a device, as (hours from the start, kWh, coverage, estimated, suspect)."""

    def rows(device, from_at, to_at, step="hour", kind="vehicle"):
        found = connection.execute(
            f"SELECT * FROM volt.{kind}_returned_energy(%s, %s, %s, %s)", (device, from_at, to_at, step)
        )
        return [
            ((when - at(0)).total_seconds() / 3600, round(float(kwh), 6), float(coverage), estimated, suspect)
            for when, kwh, coverage, estimated, suspect in found
        ]

    return rows


@pytest.mark.parametrize(("kind", "make"), [("vehicle", _dc), ("meter", _ac)])
def test_intervals_end_at_their_stamp(connection, returned, kind, make):
    device = f"RE-1{kind}"
    store(connection, make(device, range(1, 91), returned=0.1))
    assert returned(device, at(0), at(2), kind=kind) == [(0, 6, 1, False, False), (1, 3, 0.5, False, False)]
    quarters = returned(device, at(0), at(2), "quarter_hour", kind)
    assert quarters == [(n / 4, 1.5, 1, False, False) for n in range(6)]


@pytest.mark.parametrize(("kind", "make"), [("vehicle", _dc), ("meter", _ac)])
def test_a_register_is_a_curve(connection, returned, kind, make):
    """A single 0 is no value; four hours of silence have a known total, which an hour shares and the fifth contains."""
    device = f"RE-2{kind}"
    values = make(device, range(61), register=lambda n: 0 if n == 30 else round(500 + 0.1 * n, 6))
    store(connection, [*values, *make(device, range(300, 361), register=lambda n: round(520 + 0.1 * (n - 300), 6))])
    hours = returned(device, at(0), at(6), kind=kind)
    assert hours[0] == (0, 6, 1, False, False)
    assert hours[1:5] == [(n, 3.5, 0, True, False) for n in (1, 2, 3, 4)]
    assert hours[5] == (5, 6, 1, False, False)


def test_a_gap_within_an_hour_is_known_as_a_whole(connection, returned):
    minutes = [*range(11), *range(50, 61)]
    store(connection, _dc("RE-3", minutes, register=lambda n: round(10 + 0.1 * n, 6)))
    assert returned("RE-3", at(0), at(1)) == [(0, 6, pytest.approx(20 / 60, abs=1e-4), False, False)]
    assert [row[3] for row in returned("RE-3", at(0), at(1), "quarter_hour")] == [True] * 4


def test_a_period_within_an_hour(connection, returned):
    store(connection, _dc("RE-4", range(1, 61), returned=0.1))
    assert returned("RE-4", at(0, 20, 30), at(0, 30)) == [(0, 0.95, 1, False, False)]


def test_a_device_that_returns_nothing(connection, returned):
    store(connection, _dc("RE-5", range(1, 61), kwh=0.1))
    assert returned("RE-5", at(0), at(1)) == []
    assert returned("nobody", at(0), at(1)) == []


def test_no_other_steps_and_no_other_periods(returned):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="there is no step 'week'") as refused:
        returned("RE-1", at(0), at(1), "week")
    assert refused.value.diag.message_hint == "quarter_hour or hour"
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="period"):
        returned("RE-1", at(1), at(0))


def test_decisions_are_on_delivered_energy(connection, returned):
    """A reading with both registers of which the delivered one began again: the returned one goes on."""
    values = _dc("RE-6", range(5), register=lambda n: 50 + n / 10)
    store(connection, [one._replace(dc_register_kwh=100 + n / 10 if n < 3 else n) for n, one in enumerate(values)])
    connection.execute(
        "INSERT INTO volt.register_decision (device_type, device_id, recorded_at, decision)"
        " VALUES ('vehicle', 'RE-6', %s, 'reset')",
        (at(0, 3),),
    )
    assert returned("RE-6", at(0), at(0.25))[0][1] == 0.4
    delivered = connection.execute(
        "SELECT energy_kwh FROM volt.vehicle_energy_quarters('RE-6', %s, %s)", (at(0), at(1))
    )
    assert float(delivered.fetchall()[0][0]) == pytest.approx(0.2 + 3 + 1)


def _charge_return_charge(name, *, registers):
    """An hour of charging, an hour of V2G, an hour of charging; a device without V2G is the same but silent on it."""
    dc = [_dc(name, range(1, 61), kwh=0.092), _dc(name, range(61, 121), kwh=0.0), _dc(name, range(121, 181), kwh=0.092)]
    ac = [_ac(f"{name}-m", range(1, 61), kwh=0.1), _ac(f"{name}-m", range(61, 121), kwh=0.0),
          _ac(f"{name}-m", range(121, 181), kwh=0.1)]  # fmt: skip
    plain = [one for part in (*dc, *ac) for one in part]
    if registers:
        v2g = [one._replace(dc_returned_register_kwh=9 + 0.1 * n) for n, one in enumerate(dc[1])]
        grid = [one._replace(ac_returned_register_kwh=8 + 0.09 * n) for n, one in enumerate(ac[1])]
    else:
        v2g = [one._replace(kwh_returned_dc=0.1) for one in dc[1]]
        grid = [one._replace(kwh_returned_ac=0.09) for one in ac[1]]
    return plain, [*dc[0], *v2g, *dc[2], *ac[0], *grid, *ac[2]]


@pytest.mark.parametrize("registers", [False, True], ids=["intervals", "registers"])
def test_a_v2g_hour_does_not_disturb_what_is_delivered(connection, returned, registers):
    """Every figure of a vehicle that returned energy is that of one that only stood in that hour; the meter's, too."""
    plain, _ = _charge_return_charge("RE-7plain" + "ir"[registers], registers=registers)
    _, v2g = _charge_return_charge("RE-7" + "ir"[registers], registers=registers)
    found = []
    for readings in (plain, v2g):
        name = readings[0].vehicle_id
        link(connection, name, f"{name}-m")
        store(connection, readings)
        parts = []
        for kind, device in (("vehicle", name), ("meter", f"{name}-m")):
            asked = f"SELECT * FROM volt.{kind}_energy_quarters(%s, %s, %s)"
            parts.append(connection.execute(asked, (device, at(0), at(3))).fetchall())
        asked = "SELECT to_jsonb(e) - 'meter_id' FROM volt.vehicle_efficiency(%s, %s, %s, 'hour') e"
        parts.append(connection.execute(asked, (name, at(0), at(3))).fetchall())
        found.append(parts)
    assert found[0] == found[1]
    assert [row[0]["quality"] for row in found[1][2]] == ["ok", "idle", "ok"]
    kwh = [row[1] for row in returned(name, at(0), at(3))]
    assert kwh == pytest.approx([5.9] if registers else [6])


def test_a_v2g_hour_without_any_delivered_field(connection):
    """The vehicle sends one field or the other: what it delivered in the hours around is as it was."""
    link(connection, "RE-8", "RE-8-m")
    store(connection, _dc("RE-8", [*range(1, 61), *range(121, 181)], kwh=0.092))
    store(connection, _dc("RE-8", range(61, 121), returned=0.1))
    store(connection, _ac("RE-8-m", [*range(1, 61), *range(121, 181)], kwh=0.1))
    store(connection, _ac("RE-8-m", range(61, 121), returned=0.09))
    asked = (
        "SELECT dc_kwh::float, efficiency_pct::float, quality FROM volt.vehicle_efficiency('RE-8', %s, %s, 'period')"
    )
    (row,) = connection.execute(asked, (at(0), at(3))).fetchall()
    assert row == (pytest.approx(11.04), 92, "ok")


def test_performance(connection):
    """Energy out of the battery beside the others; null where the vehicle never sent any."""

    def metrics(name):
        ((found,),) = connection.execute("SELECT volt.vehicle_performance(%s, %s, %s)", (name, at(0), at(3))).fetchall()
        return found["energyMetrics"]

    _, v2g = _charge_return_charge("RE-9", registers=False)
    store(connection, v2g)
    store(connection, _dc("RE-10", range(1, 61), kwh=0.1))
    assert (metrics("RE-9")["returned"], metrics("RE-9")["totalDcDelivered"]) == (6, 11.04)
    assert metrics("RE-10")["returned"] is None


def test_performance_of_a_register_that_was_silent(connection):
    """The readings before and after the period say how much went by in it, though none lies in it."""
    for hour, kwh in ((-30, 10.0), (9, 49.0)):
        store(connection, [vehicle("RE-11", at(hour))._replace(dc_returned_register_kwh=kwh)])
    connection.execute(
        "INSERT INTO volt.vehicle_current (vehicle_id, recorded_at, last_seen_at, dc_returned_register_kwh,"
        " dc_returned_register_at) VALUES ('RE-11', %(at)s, %(at)s, 49, %(at)s)",
        {"at": at(9)},
    )
    asked = "SELECT volt.vehicle_performance('RE-11', %s, %s) -> 'energyMetrics' -> 'returned'"
    assert connection.execute(asked, (at(0), at(3))).fetchall() == [(3,)]


def test_analysts_may_ask(connection):
    connection.execute("SET ROLE volt_reader")
    try:
        for kind in ("vehicle", "meter"):
            connection.execute(f"SELECT * FROM volt.{kind}_returned_energy('x', %s, %s)", (at(0), at(1)))
    finally:
        connection.execute("RESET ROLE")


def test_the_documents_example_is_what_it_returns(connection):
    """docs/analysts.md, with the day of this test."""
    day = at(0).replace(hour=0)
    section = DOCUMENT.read_text().split("## Returned energy")[1].split("\n## ")[0]
    section = section.replace("2026-11-02", f"{day:%Y-%m-%d}")
    start = day + dt.timedelta(hours=18)
    store(
        connection,
        [vehicle("EV-0042", start + dt.timedelta(minutes=n))._replace(kwh_returned_dc=0.1) for n in range(1, 91)],
    )
    ((query, shown),) = re.findall(r"```sql\n(.*?)```\n\n```\n(.*?)```", section, re.DOTALL)
    head, _rule, *rows = [[cell.strip() for cell in line.split("|")] for line in shown.splitlines()]
    cursor = connection.execute(query)
    assert [column.name for column in cursor.description] == head
    found = [[f"{when:%Y-%m-%d %H:%M:%S}+00", str(kwh), str(coverage), "ft"[estimated]]
             for when, kwh, coverage, estimated in cursor]  # fmt: skip
    assert found == rows
