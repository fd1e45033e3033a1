"""Decisions on registers: what voltd took a reading for, what somebody decided, and the figures that follow."""

import datetime as dt
import pathlib
import re

import psycopg
import pytest

from support.schema import at, link, meter, store, vehicle

DOCUMENT = pathlib.Path(__file__).parents[3] / "docs" / "analysts.md"


@pytest.fixture
def decide(connection):
    """A function: writes a decision on a meter's reading."""

    def write(device, when, decision, start_kwh=None, kind="meter"):
        connection.execute(
            "INSERT INTO volt.register_decision (device_type, device_id, recorded_at, decision, start_kwh)"
            " VALUES (%s, %s, %s, %s, %s)",
            (kind, device, when, decision, start_kwh),
        )

    return write


@pytest.fixture
def total(connection):
    """A function: the energy of a meter in the first two hours."""

    def kwh(device):
        asked = "SELECT sum(energy_kwh) FROM volt.meter_energy_quarters(%s, %s, %s)"
        ((found,),) = connection.execute(asked, (device, at(0), at(2))).fetchall()
        return round(float(found), 6)

    return kwh


@pytest.fixture
def events(connection):
    """A function: what a meter's register did, with what is counted and what was decided."""

    def rows(device):
        asked = "SELECT event, credited_kwh, decision FROM volt.meter_register_events(%s, %s, %s)"
        return [(what, float(kwh), decided) for what, kwh, decided in connection.execute(asked, (device, at(0), at(2)))]

    return rows


def _registers(device, *values, start_min=0):
    return [meter(device, at(0, start_min + n), register=kwh) for n, kwh in enumerate(values)]


def test_an_exchange(connection, decide, total, events):
    """500 -> 5000: a new meter that was put in at 4999.9; the decision goes, and the figures are as they were."""
    store(connection, _registers("rd-1", 499.9, 500, 5000, 5000.1, 5000.2))
    assert (total("rd-1"), events("rd-1")) == (0.3, [("impossible_step", 0, None)])
    decide("rd-1", at(0, 2), "exchange", 4999.9)
    assert (total("rd-1"), events("rd-1")) == (0.4, [("impossible_step", 0.1, "exchange")])
    connection.execute("DELETE FROM volt.register_decision WHERE device_id = 'rd-1'")
    assert (total("rd-1"), events("rd-1")) == (0.3, [("impossible_step", 0, None)])


def test_a_reset_that_was_none(connection, decide, total, events):
    """Two zeros in succession look like a new start; ignored, they leave the rise of 0.1 kWh around them."""
    store(connection, _registers("rd-2", 100, 100.1, 0, 0, 100.2, 100.3))
    assert total("rd-2") == 0.2
    decide("rd-2", at(0, 2), "ignore")
    decide("rd-2", at(0, 3), "ignore")
    assert total("rd-2") == 0.3
    assert [row[2] for row in events("rd-2")] == ["ignore", "ignore"]


def test_a_lower_start_that_was_a_reset(connection, decide, total, events):
    store(connection, _registers("rd-3", 500, 500.1, 30, 30.1))
    assert (total("rd-3"), events("rd-3")) == (0.2, [("lower_start", 0, None)])
    decide("rd-3", at(0, 2), "reset")
    assert (total("rd-3"), events("rd-3")) == (30.2, [("lower_start", 30, "reset")])


def test_a_plain_rise_that_was_decided_on_is_listed(connection, decide, total, events):
    store(connection, _registers("rd-4", 100, 100.3, 100.4))
    decide("rd-4", at(0, 1), "exchange", 100.2)
    assert (total("rd-4"), events("rd-4")) == (0.2, [("rise", 0.1, "exchange")])


def test_readings_that_come_after_the_decision(connection, decide, total):
    """What is decided first and what arrives first changes nothing."""
    values = _registers("rd-5", 499.9, 500, 5000, 5000.1, 0, 5000.2)
    store(connection, [values[2]])
    decide("rd-5", at(0, 2), "exchange", 4999.8)
    store(connection, [values[4]])
    decide("rd-5", at(0, 4), "ignore")
    store(connection, values[::-1], size=1)
    store(connection, _registers("rd-6", 499.9, 500, 5000, 5000.1, 0, 5000.2))
    decide("rd-6", at(0, 4), "ignore")
    decide("rd-6", at(0, 2), "exchange", 4999.8)
    assert total("rd-5") == total("rd-6") == 0.5


def test_decided_readings_around_the_period(connection, decide):
    """Days before and behind it, where only the nearest readings of the register are looked at."""
    store(connection, [meter("rd-7", at(-80, n), register=kwh) for n, kwh in enumerate((10, 10.1, 7000, 7001))])
    store(connection, [meter("rd-7", at(80, n), register=kwh) for n, kwh in enumerate((0, 1, 26.1, 26.1))])
    for hour, minute in ((-80, 2), (-80, 3), (80, 0), (80, 1)):
        decide("rd-7", at(hour, minute), "ignore")
    connection.execute(
        "INSERT INTO volt.meter_current (meter_id, recorded_at, last_seen_at, ac_register_kwh, ac_register_at)"
        " VALUES ('rd-7', %(at)s, %(at)s, 26.1, %(at)s)",
        {"at": at(80, 3)},
    )
    asked = "SELECT DISTINCT high_kwh FROM volt.meter_energy_quarters('rd-7', %s, %s)"
    assert connection.execute(asked, (at(0), at(1))).fetchall() == [(16,)]


def test_efficiency_follows(connection, decide):
    """A vehicle's register that is exchanged amid a charge: suspect until somebody says with what the new one began."""
    link(connection, "RD-8", "rd-8")
    store(connection, [vehicle("RD-8", at(0, n), register=(100 if n < 30 else 700) + 0.092 * n) for n in range(61)])
    store(connection, [meter("rd-8", at(0, n), kwh=0.1) for n in range(1, 61)])

    def row():
        asked = "SELECT dc_kwh::float, efficiency_pct::float, quality FROM volt.vehicle_efficiency('RD-8', %s, %s)"
        (found,) = connection.execute(asked, (at(0), at(1))).fetchall()
        return found

    assert row() == (pytest.approx(59 * 0.092), 92, "suspect")
    decide("RD-8", at(0, 30), "exchange", 700 + 0.092 * 29, kind="vehicle")
    assert row() == (pytest.approx(60 * 0.092), 92, "ok")


@pytest.mark.parametrize(
    ("minute", "decision", "start_kwh", "said", "hint"),
    [
        (7, "ignore", None, "is not stored", "meter_register_events"),
        (1, "ignore", None, "has no register of delivered energy", "meter_register_events"),
        (0, "exchange", None, "cannot be an exchange without start_kwh", "decide reset"),
        (0, "exchange", 100.5, "shows 100 kWh, less than the start_kwh of 100.5", "at most what this reading shows"),
        (0, "reset", 100, "needs no start_kwh where the decision is reset", "decide exchange"),
    ],
)
def test_what_is_refused(connection, decide, minute, decision, start_kwh, said, hint):  # noqa: PLR0917
    store(connection, [*_registers("rd-9", 100), meter("rd-9", at(0, 1), kwh=0.1)])
    with pytest.raises(psycopg.errors.CheckViolation, match=re.escape(said)) as refused:
        decide("rd-9", at(0, minute), decision, start_kwh)
    assert refused.value.diag.message_primary.startswith("the reading of meter rd-9 at ")
    assert hint in refused.value.diag.message_hint


def test_unknown_words_are_refused(connection, decide):
    store(connection, _registers("rd-10", 100))
    for kind, decision in (("meter", "forget"), ("boat", "ignore")):
        with pytest.raises(psycopg.errors.CheckViolation):
            decide("rd-10", at(0), decision, kind=kind)


def test_who_decided_and_who_changed_it(connection, decide):
    """By default the database user, at the time of the last change; a program may name a person."""
    store(connection, _registers("rd-11", 100, 3))
    decide("rd-11", at(0, 1), "reset")
    asked = (
        "SELECT decided_by = session_user, decided_by, decided_at FROM volt.register_decision WHERE device_id = 'rd-11'"
    )
    ((by_default, _by, first),) = connection.execute(asked).fetchall()
    change = "UPDATE volt.register_decision SET decision = 'ignore', decided_by = {} WHERE device_id = 'rd-11'"
    connection.execute(change.format("'anna'"))
    ((_, by, second),) = connection.execute(asked).fetchall()
    connection.execute(change.format("decided_by"))
    ((by_default_again, _, third),) = connection.execute(asked).fetchall()
    assert (by_default, by, by_default_again) == (True, "anna", True)
    assert first < second < third


def test_each_change_is_passed_on(connection, decide):
    """To one place: the device and the reading that a decision was on, and the one that it is on now."""
    store(connection, _registers("rd-12", 100, 3, 4))
    ((before,),) = connection.execute(
        "SELECT pg_get_functiondef('volt_internal.register_decided(text, text, timestamptz)'::regprocedure)"
    ).fetchall()
    notices = []
    connection.add_notice_handler(lambda one: notices.append(one.message_primary))
    try:
        connection.execute(
            "CREATE OR REPLACE FUNCTION volt_internal.register_decided("
            " of_type text, of_device text, from_at timestamptz) RETURNS void LANGUAGE plpgsql"
            " AS $$ BEGIN RAISE NOTICE '% % %', of_type, of_device, extract(minute FROM from_at); END $$"
        )
        decide("rd-12", at(0, 1), "ignore")
        connection.execute("UPDATE volt.register_decision SET recorded_at = %s WHERE device_id = 'rd-12'", (at(0, 2),))
        connection.execute("DELETE FROM volt.register_decision WHERE device_id = 'rd-12'")
    finally:
        connection.execute(before)
    assert notices == [f"meter rd-12 {minute}" for minute in (1, 1, 2, 2)]


def test_the_registrar_decides(connection, decide):
    """A member of volt_registrar may; an analyst and the daemon may not."""
    store(connection, _registers("rd-13", 100, 3))
    for role in ("volt_reader", "volt_writer"):
        connection.execute(f"SET ROLE {role}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            decide("rd-13", at(0, 1), "reset")
        connection.execute("RESET ROLE")
    with connection.transaction():
        connection.execute("SET LOCAL ROLE volt_registrar")
        decide("rd-13", at(0, 1), "reset")
        connection.execute("UPDATE volt.register_decision SET remark = 'seen' WHERE device_id = 'rd-13'")
        connection.execute("DELETE FROM volt.register_decision WHERE device_id = 'rd-13'")


def test_the_documents_example_is_what_it_returns(connection):
    """docs/analysts.md, with the days of this test: each statement of the section gives the table below it."""
    day = at(0).replace(hour=0)
    section = DOCUMENT.read_text().split("## When a register jumps")[1].split("\n## ")[0]
    section = section.replace("2026-11-02", f"{day:%Y-%m-%d}")
    start = day + dt.timedelta(hours=8)
    values = [*(500 + 0.1 * n for n in range(31)), *(5000 + 0.1 * n for n in range(30))]
    store(connection, [meter("M-0042", start + dt.timedelta(minutes=n), register=kwh) for n, kwh in enumerate(values)])
    statements = re.findall(r"```sql\n(.*?)```\n(?:\n```\n(.*?)```)?", section, re.DOTALL)
    assert len(statements) == 4
    for statement, shown in statements:
        cursor = connection.execute(statement)
        if shown:
            head, _rule, *rows = [[cell.strip() for cell in line.split("|")] for line in shown.splitlines()]
            assert [column.name for column in cursor.description] == head
            assert [[_as_psql(one) for one in row] for row in cursor] == rows
    assert sum(bool(shown) for _statement, shown in statements) == 3


def _as_psql(value):
    if isinstance(value, bool):
        return "ft"[value]
    if isinstance(value, dt.datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S+00")
    return "" if value is None else str(value)
