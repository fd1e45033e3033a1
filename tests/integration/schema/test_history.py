"""Newest state and history of one device: the period, both orders, pages while readings arrive, and what is read."""

import datetime as dt
import json
import pathlib
import random
import re
from collections.abc import Callable

import psycopg
import pytest

from support.schema import compress, connection_of, meter, store, vehicle
from voltd import models

__all__ = ["connection_of"]  # a fixture
DOCUMENT = pathlib.Path(__file__).parents[3] / "docs" / "analysts.md"
DAY = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0) - dt.timedelta(days=12)
MAKE: dict[str, Callable[..., models.Reading]] = {"vehicle": vehicle, "meter": meter}


@pytest.fixture(params=["timescale", "apache"])
def database(connection_of, request):
    """A migrated database of each edition in turn; analysts ask."""
    return connection_of(request.param)


@pytest.fixture(params=["vehicle", "meter"])
def device(request):
    return request.param


def history(connection, device, name, **parameters):
    """The times of one page, as an analyst gets them."""
    named = "".join(f", {parameter} => %({parameter})s" for parameter in parameters)
    with connection.transaction():
        connection.execute("SET LOCAL ROLE volt_reader")
        rows = connection.execute(
            f"SELECT recorded_at FROM volt.{device}_history(%(name)s{named})", {"name": name, **parameters}
        ).fetchall()
    return [when for (when,) in rows]


def hours(*numbers):
    return [DAY + dt.timedelta(hours=number) for number in numbers]


def test_the_period_is_half_open_and_both_orders_agree(database, device):
    """From from_at on, before to_at, over several chunks; without limits everything, of nobody nothing."""
    store(database, [MAKE[device]("period", when) for when in hours(*range(0, 96, 6))])
    first, last = hours(12, 60)
    expected = hours(*range(12, 60, 6))
    period = {"from_at": first, "to_at": last}
    assert history(database, device, "period", newest_first=False, **period) == expected
    assert history(database, device, "period", **period) == expected[::-1]
    assert history(database, device, "period", page_size=2, **period) == hours(54, 48)
    assert history(database, device, "period", from_at=last) == hours(*range(90, 54, -6))
    assert history(database, device, "period", to_at=first, newest_first=False) == hours(0, 6)
    assert history(database, device, "period", from_at=None, to_at=None, after=None) == hours(*range(90, -6, -6))
    assert history(database, device, "period", from_at=first, to_at=first) == []
    assert history(database, device, "nobody") == []


def test_a_cursor_out_of_the_period_does_not_widen_it(database, device):
    store(database, [MAKE[device]("cursor", when) for when in hours(1, 2, 3)])
    early, first, last, late = hours(-99, 2, 3, 99)
    period = {"from_at": first, "to_at": last}
    assert history(database, device, "cursor", after=late, **period) == [first]
    assert history(database, device, "cursor", after=early, **period) == []
    assert history(database, device, "cursor", after=early, newest_first=False, **period) == [first]
    assert history(database, device, "cursor", after=late, newest_first=False, **period) == []
    near = [first, first + dt.timedelta(microseconds=1)]
    store(database, [MAKE[device]("cursor", when) for when in near])
    assert history(database, device, "cursor", after=first, newest_first=False, **period) == near[1:]


@pytest.mark.parametrize("newest_first", [True, False])
def test_pages_stay_stable_while_readings_arrive(database, device, newest_first):
    """Late and new readings between pages, compressed chunks beneath: no page repeats one, no stored one is missing."""
    rng = random.Random(f"{device} {newest_first}")
    name = f"walk {newest_first}"
    first, last = DAY, DAY + dt.timedelta(days=4)

    def some(count):
        return {first + dt.timedelta(seconds=rng.randrange(-7200, 4 * 86400 + 7200, 60)) for _ in range(count)}

    stored = some(400)
    store(database, [MAKE[device](name, when) for when in stored], size=500)
    compress(database, f"{device}_reading", "10 days")
    seen, after = [], None
    while page := history(
        database, device, name, from_at=first, to_at=last, newest_first=newest_first, after=after, page_size=37
    ):
        seen += page
        after = page[-1]
        store(database, [MAKE[device](name, when) for when in some(20) | {after}])
    assert seen == sorted(set(seen), reverse=newest_first)
    assert {when for when in stored if first <= when < last} <= set(seen)
    assert all(first <= when < last for when in seen)


@pytest.mark.parametrize(
    ("parameters", "message", "hint"),
    [
        ({"from_at": hours(2)[0], "to_at": hours(1)[0]}, r"from_at .* is after to_at", "exchange the two"),
        ({"page_size": 0}, "page_size is 0", "1 to 10000"),
        ({"page_size": 10001}, "page_size is 10001", "1 to 10000"),
        ({"page_size": None}, "page_size is NULL", "1 to 10000"),
        ({"newest_first": None}, "newest_first is NULL", "newest_first => true"),
    ],
)
def test_parameters_without_a_sense_are_errors_that_say_what_to_do(database, device, parameters, message, hint):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=f"^{device}_history: {message}") as raised:
        history(database, device, "v", **parameters)
    assert hint in raised.value.diag.message_hint


def test_the_newest_state_of_one_device(database, device):
    for name in ("latest", "other"):
        database.execute(f"INSERT INTO volt.{device}_current ({device}_id, recorded_at) VALUES (%s, %s)", (name, DAY))
    with database.transaction():
        database.execute("SET LOCAL ROLE volt_reader")
        query = f"SELECT {device}_id, recorded_at FROM volt.{device}_latest(%s)"
        assert database.execute(query, ("latest",)).fetchall() == [("latest", DAY)]
        assert database.execute(query, ("nobody",)).fetchall() == []


def _nodes(plan):
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _scans(connection, device, **parameters):
    """Runs a page; its number of rows, and of each chunk in its plans the day and the index."""
    days = dict(
        connection.execute(
            "SELECT chunk_name, range_start FROM timescaledb_information.chunks WHERE hypertable_name = %s",
            (f"{device}_reading",),
        ).fetchall()
    )
    found = {}

    def note(diagnostic):
        _, brace, plan = diagnostic.message_primary.partition("{")
        for node in _nodes(json.loads(brace + plan)["Plan"]) if brace else ():
            if node.get("Relation Name") in days:
                indexes = [one.get("Index Name") for one in _nodes(node)]
                found[(days[node["Relation Name"]] - DAY).days] = next(filter(None, indexes), None)

    connection.add_notice_handler(note)
    try:
        with connection.transaction():
            connection.execute("LOAD 'auto_explain'")
            for name, value in (("log_min_duration", "0"), ("log_nested_statements", "on"), ("log_analyze", "on"),
                                ("log_format", "json"), ("log_level", "notice")):  # fmt: skip
                connection.execute(f"SET LOCAL auto_explain.{name} = '{value}'")
            rows = connection.execute(
                f"SELECT * FROM volt.{device}_history('plan 1'"
                + "".join(f", {name} => %({name})s" for name in parameters)
                + ")",
                parameters,
            ).fetchall()
    finally:
        connection.remove_notice_handler(note)
    return len(rows), found


@pytest.mark.parametrize("edition", ["timescale", "apache"])
def test_only_the_chunks_of_the_period_are_read_by_the_primary_key(connection_of, edition, device):
    """EXPLAIN of what a page runs: chunks out of the period are not in the plan, and a full page ends the walk."""
    connection = connection_of(edition, f"plans of {device}")
    connection.execute(
        f"INSERT INTO volt.{device}_reading ({device}_id, recorded_at, received_at)"
        " SELECT 'plan ' || n, t, t FROM generate_series(%s::timestamptz, %s, '1 minute') t, generate_series(1, 5) n",
        (DAY, DAY + dt.timedelta(days=10, minutes=-1)),
    )
    compress(connection, f"{device}_reading", "8 days")
    compressed = connection.execute(
        "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = %s AND is_compressed",
        (f"{device}_reading",),
    ).fetchone()
    assert (compressed[0] > 0) == (edition == "timescale")
    from_at, to_at = (DAY + dt.timedelta(days=days) for days in (6, 8))

    rows, chunks = _scans(connection, device, from_at=from_at, to_at=to_at, page_size=10000)
    assert (rows, chunks.keys()) == (2 * 1440, {6, 7})
    assert all(index.endswith(f"{device}_reading_pkey") for index in chunks.values())
    for newest_first, first, second in ((True, 9, 8), (False, 0, 1)):
        rows, chunks = _scans(connection, device, newest_first=newest_first, page_size=1000)
        assert (rows, chunks.keys()) == (1000, {first})
        rows, chunks = _scans(connection, device, newest_first=newest_first, page_size=2000)
        assert (rows, chunks.keys()) == (2000, {first, second})
    rows, chunks = _scans(connection, device, after=from_at, page_size=100)
    assert (rows, chunks.keys()) == (100, {5})


def test_the_documents_example_is_what_it_returns(database):
    """docs/analysts.md, with the days of this test: each query of the section gives the table below it."""
    day = f"{DAY:%Y-%m-%d}"
    section = DOCUMENT.read_text().split("## Newest state and history")[1].split("\n## ")[0].replace("2026-11-02", day)
    start = DAY + dt.timedelta(hours=8)
    store(
        database,
        [vehicle("EV-0042", start + dt.timedelta(minutes=n), soc=80 - n / 2, speed=n) for n in range(60)],
    )
    examples = re.findall(r"```sql\n(.*?)```\n\n```\n(.*?)```", section, re.DOTALL)
    assert len(examples) == 2
    for query, shown in examples:
        head, _rule, *rows = [[cell.strip() for cell in line.split("|")] for line in shown.splitlines()]
        cursor = database.execute(query)
        assert [column.name for column in cursor.description] == head
        assert [
            [when.strftime("%Y-%m-%d %H:%M:%S+00"), f"{soc:g}", f"{speed:g}"] for when, soc, speed in cursor
        ] == rows
