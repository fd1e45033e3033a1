"""Efficiency by local days: those of the fleet's time zone, also where a clock changes and where hours are half.

In every quarter hour of ten days around the vehicle takes 0.92 kWh and its meter 1 kWh: a day of 25 hours has 100 kWh.
"""

import datetime as dt
import zoneinfo

import pytest

from support.schema import link, meter, store, vehicle

_QUARTER = dt.timedelta(minutes=15)


def _fill(connection, name, around, *, registers=False):
    """Readings of ten days around a date, and the link."""
    link(connection, name, f"{name}-m")
    start = dt.datetime.combine(around - dt.timedelta(days=5), dt.time(), dt.UTC)
    stamps = [start + n * _QUARTER for n in range(10 * 96)]
    if registers:
        store(connection, [vehicle(name, when, register=round(50 + 0.92 * n, 6)) for n, when in enumerate(stamps)])
        store(connection, [meter(f"{name}-m", when, register=70.0 + n) for n, when in enumerate(stamps)])
    else:
        store(connection, [vehicle(name, when, kwh=0.92) for when in stamps])
        store(connection, [meter(f"{name}-m", when, kwh=1.0) for when in stamps])


def _place(connection, name, zone):
    """In a fleet of this time zone."""
    connection.execute(
        "INSERT INTO volt.fleet (fleet_id, timezone) VALUES (%s, %s) ON CONFLICT DO NOTHING", (f"f-{name}", zone)
    )
    connection.execute("INSERT INTO volt.vehicle (vehicle_id, fleet_id) VALUES (%s, %s)", (name, f"f-{name}"))


def _rows(connection, name, start, end, *more):
    marks = ", ".join(["%s"] * (3 + len(more)))
    found = connection.execute(
        "SELECT began_at, ended_at, dc_kwh::float, ac_kwh::float, efficiency_pct::float, quality"
        f" FROM volt.vehicle_efficiency({marks})",
        (name, start, end, *more),
    )
    return [(*row[:2], *(round(one, 6) for one in row[2:5]), row[5]) for row in found]


def _days(zone, first, *hours):
    """The rows of whole local days from a date on that have so many hours."""
    local = zoneinfo.ZoneInfo(zone)
    starts = [dt.datetime.combine(first + dt.timedelta(days=n), dt.time(), local) for n in range(len(hours) + 1)]
    return [
        (start.astimezone(dt.UTC), end.astimezone(dt.UTC), round(3.68 * length, 6), 4.0 * length, 92.0, "ok")
        for start, end, length in zip(starts, starts[1:], hours, strict=False)
    ]


@pytest.mark.parametrize("registers", [False, True], ids=["intervals", "registers"])
@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", dt.date(2026, 10, 24), (24, 25, 24)),
        ("Europe/Berlin", dt.date(2026, 3, 28), (24, 23, 24)),
        ("Asia/Kolkata", dt.date(2026, 10, 24), (24, 24, 24)),
        ("Asia/Kathmandu", dt.date(2026, 3, 28), (24, 24, 24)),
        ("Australia/Lord_Howe", dt.date(2026, 10, 3), (24, 23.5, 24)),
        ("Africa/Cairo", dt.date(2026, 4, 23), (24, 23, 24)),  # that day begins at one o'clock
        ("America/New_York", dt.date(2026, 10, 31), (24, 25, 24)),
    ],
)
def test_days_are_those_of_the_fleets_time_zone(connection, zone, day, hours, registers):
    name = f"LD-{zone}-{day}-{registers}"
    _fill(connection, name, day, registers=registers)
    _place(connection, name, zone)
    expected = _days(zone, day, *hours)
    assert _rows(connection, name, expected[0][0], expected[-1][1], "day") == expected


def test_the_lengths_are_what_the_calendar_says():
    """The expectation itself, by hand: midnight in Berlin is 22:00 in summer and 23:00 in winter, in Kolkata 18:30."""

    def hours(zone, day):
        ((start, end, *_),) = _days(zone, day, 24)
        return (f"{start:%d %H:%M}", (end - start).total_seconds() / 3600)

    assert hours("Europe/Berlin", dt.date(2026, 10, 25)) == ("24 22:00", 25)
    assert hours("Europe/Berlin", dt.date(2026, 3, 29)) == ("28 23:00", 23)
    assert hours("Asia/Kolkata", dt.date(2026, 3, 29)) == ("28 18:30", 24)
    assert hours("Africa/Cairo", dt.date(2026, 4, 24)) == ("23 22:00", 23)


def test_a_period_that_begins_and_ends_within_days(connection):
    """The first and the last day as far as they lie in it."""
    _fill(connection, "LD-part", dt.date(2026, 10, 25))
    _place(connection, "LD-part", "Europe/Berlin")
    start, end = dt.datetime(2026, 10, 24, 12, tzinfo=dt.UTC), dt.datetime(2026, 10, 26, 1, tzinfo=dt.UTC)
    rows = _rows(connection, "LD-part", start, end, "day")
    assert [(row[0], row[1], row[3]) for row in rows] == [
        (start, dt.datetime(2026, 10, 24, 22, tzinfo=dt.UTC), 40),
        (dt.datetime(2026, 10, 24, 22, tzinfo=dt.UTC), dt.datetime(2026, 10, 25, 23, tzinfo=dt.UTC), 100),
        (dt.datetime(2026, 10, 25, 23, tzinfo=dt.UTC), end, 8),
    ]


def test_hours_where_a_clock_changes(connection):
    """Two o'clock comes twice in October and not at all in March: 25 and 23 hours. Those of Kolkata begin at :30."""
    for name, zone, day, count in (
        ("LD-h1", "Europe/Berlin", dt.date(2026, 10, 25), 25),
        ("LD-h2", "Europe/Berlin", dt.date(2026, 3, 29), 23),
        ("LD-h3", "Asia/Kolkata", dt.date(2026, 3, 29), 24),
    ):
        _fill(connection, name, day)
        _place(connection, name, zone)
        ((start, end, *_),) = _days(zone, day, 24)
        rows = _rows(connection, name, start, end, "hour")
        hour = dt.timedelta(hours=1)
        assert [row[:2] for row in rows] == [(start + n * hour, start + (n + 1) * hour) for n in range(count)]
        assert {row[2:] for row in rows} == {(3.68, 4, 92, "ok")}


def test_the_zone_that_is_asked_for_comes_first(connection):
    day = dt.date(2026, 10, 24)
    _fill(connection, "LD-zone", day)
    _place(connection, "LD-zone", "Asia/Kolkata")
    expected = _days("Europe/Berlin", day, 24, 25, 24)
    assert _rows(connection, "LD-zone", expected[0][0], expected[-1][1], "day", "Europe/Berlin") == expected


@pytest.mark.parametrize("place", ["no fleet", "a fleet without a zone"])
def test_without_a_zone_of_the_fleet_the_setting_counts(connection, place):
    """UTC by default."""
    day, name = dt.date(2026, 10, 24), f"LD-{place}"
    _fill(connection, name, day)
    if place != "no fleet":
        _place(connection, name, None)
    expected = _days("UTC", day, 24, 24, 24)
    assert _rows(connection, name, expected[0][0], expected[-1][1], "day") == expected
    ((before,),) = connection.execute("SELECT value FROM volt_internal.setting WHERE name = 'timezone'").fetchall()
    try:
        connection.execute("UPDATE volt_internal.setting SET value = 'Europe/Berlin' WHERE name = 'timezone'")
        expected = _days("Europe/Berlin", day, 24, 25, 24)
        assert _rows(connection, name, expected[0][0], expected[-1][1], "day") == expected
    finally:
        connection.execute("UPDATE volt_internal.setting SET value = %s WHERE name = 'timezone'", (before,))


def test_the_connections_time_zone_changes_nothing(connection):
    day = dt.date(2026, 3, 28)
    _fill(connection, "LD-conn", day)
    _place(connection, "LD-conn", "Europe/Berlin")
    expected = _days("Europe/Berlin", day, 24, 23, 24)
    connection.execute("SET TIME ZONE 'America/New_York'")
    try:
        assert _rows(connection, "LD-conn", expected[0][0], expected[-1][1], "day") == expected
    finally:
        connection.execute("SET TIME ZONE 'UTC'")
