"""docs/analysts.md: the drawing of an afternoon and the ten questions, each with what a small fleet's week gives.

The week is that of Monday, 27 October 2025, in Berlin, which is an hour ahead of UTC; all times here are UTC.

- EV-1 at M-1: the afternoon of the drawing, on Monday. The vehicle counts in a register, read each minute.
- EV-2 at M-2: 92 % each evening, on Friday over the end of the month; on Saturday at M-3. A stranger on Thursday.
- EV-3 at M-3: 81 %. M-3 has a register and is exchanged on Wednesday.
- EV-4 at M-4: 84 % by the minute; both lose 2 of 15 messages, and the clock of M-4 is 20 s ahead.
"""

import datetime as dt

import pytest

from support import documents
from support.schema import link, materialise, meter, store, vehicle

MONDAY = dt.datetime(2025, 10, 27, tzinfo=dt.UTC)
EVENING, HOURS = 18, 2
_quarters = [MONDAY + n * dt.timedelta(minutes=15) for n in range(1, 7 * 96 + 1)]


def _at(day, hour, minute=0, second=0):
    return MONDAY + dt.timedelta(days=day, hours=hour, minutes=minute, seconds=second)


def _within(when, day, hour, hours):
    """Whether an interval that ends then lies in those hours of the day."""
    return _at(day, hour) < when <= _at(day, hour + hours)


def _afternoon():
    """EV-1 takes 11.04 kW of 12 kW from 13:30 to 15:15, unheard from 14:35 to 15:10. Then a stranger charges."""
    minutes = [n for n in range(-60, 241) if not 95 < n < 130]
    charged = [0.184 * min(max(n - 30, 0), 105) for n in minutes]
    yield from (
        vehicle("EV-1", _at(0, 13, n), register=round(700 + kwh, 3)) for n, kwh in zip(minutes, charged, strict=True)
    )
    for n in range(1, 7 * 288 + 1):
        when = MONDAY + n * dt.timedelta(minutes=5)
        charging = _at(0, 13, 30) < when <= _at(0, 15, 15) or _at(0, 15, 30) < when <= _at(0, 16)
        if when != _at(0, 13, 50):
            yield meter("M-1", when, kwh=1.0 if charging else 0.005 / 3)


def _evenings():
    """EV-2: 10 kW DC in the evening and on Saturday morning. M-2 measures the former and, on Thursday, a stranger."""
    for when in _quarters:
        evening = any(_within(when, day, 22 if day == 4 else EVENING, HOURS) for day in range(7) if day != 5)
        if evening or _within(when, 5, 8, 3):
            yield vehicle("EV-2", when, kwh=2.76)
        yield meter("M-2", when, kwh=3.0 if evening or _within(when, 3, 9, 1) else 0.01)


def _exchanged():
    """EV-3: 81 % in the evening. The register of M-3 begins at 500 on Wednesday at noon, where nobody charges."""
    register = 8000.0
    for when in _quarters:
        evening = any(_within(when, day, EVENING, HOURS) for day in range(7))
        if evening:
            yield vehicle("EV-3", when, kwh=1.62)
        register += 3.0 if _within(when, 5, 8, 3) else 2.0 if evening else 0.005
        if when == _at(2, 12):
            register = 500.0
        yield meter("M-3", when, register=round(register, 3))


def _lossy():
    """EV-4 charges on three evenings, and both sides say zero for a while before and behind."""
    for day in (1, 3, 5):
        for n in range(-29, HOURS * 60 + 31):
            charging = 0 < n <= HOURS * 60
            if not charging or n % 15 not in {4, 9}:
                yield vehicle("EV-4", _at(day, EVENING, n), kwh=0.14 if charging else 0.0)
            if not charging or n % 15 not in {6, 12}:
                yield meter("M-4", _at(day, EVENING, n, 20), kwh=0.14 / 0.84 if charging else 0.0)


@pytest.fixture(scope="module")
def week(connection_of):
    """A connection to a database with the week, closed; the answers come from tables that both editions have."""
    connection = connection_of("apache", "questions")
    connection.execute("INSERT INTO volt.fleet (fleet_id, timezone) VALUES ('north', 'Europe/Berlin')")
    for n in range(1, 5):
        connection.execute("INSERT INTO volt.vehicle (vehicle_id, fleet_id) VALUES (%s, 'north')", [f"EV-{n}"])
        link(connection, f"EV-{n}", f"M-{n}")
    link(connection, "EV-2", "M-3", _at(5, 8), _at(5, 11))
    store(connection, [*_afternoon(), *_evenings(), *_exchanged(), *_lossy()], size=1000)
    materialise(connection)
    return connection


@pytest.mark.parametrize("number", range(1, 11))
def test_each_question_has_this_answer(week, number):
    """As an analyst asks."""
    headings = [line for line in documents.ANALYSTS.read_text().splitlines() if line.startswith(f"### {number}. ")]
    (heading,) = headings
    asked = documents.examples(documents.section(heading))
    assert asked
    with week.transaction():
        week.execute("SET LOCAL ROLE volt_reader")
        for query, answer in asked:
            assert documents.shown(week.execute(query)) == answer


def test_the_afternoon_is_as_drawn(week):
    """Each quarter hour's energy and what is made of it; and the figures of the hours and of the whole."""
    text = documents.section("## An afternoon, drawn")
    for query, answer in documents.examples(text):
        assert documents.shown(week.execute(query)) == answer
    drawn = {
        line.split("  ")[0]: line.split()[-12:] for line in text.split("```")[1].splitlines() if line[:1].isalpha()
    }
    rows = week.execute(
        "SELECT to_char(quarter_hour, 'HH24:MI'), round(dc_kwh, 2)::text, round(ac_kwh, 3)::text,"
        " round(100 * ac_coverage)::text, remarks FROM volt.explain_efficiency('EV-1', %s, %s)",
        (_at(0, 13), _at(0, 16)),
    ).fetchall()
    starts, dc, ac, covered, remarks = map(list, zip(*rows, strict=True))
    assert (starts, dc, ac, covered) == (drawn["UTC"], drawn["DC, kWh"], drawn["AC, kWh"], drawn["AC measured, %"])
    assert [_verdict(one) for one in remarks] == drawn["compared"]


def _verdict(remark):
    known = (("as a whole", "whole"), ("80 %", "no"), ("standby", "standby"), ("took nothing", "nobody"))
    return next((word for part, word in known if part in remark), "yes" if remark == "" else remark)
