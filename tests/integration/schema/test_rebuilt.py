"""sql/README.md: what of the kept energy and efficiency can be made again, by the statements that are written there."""

import datetime as dt
import pathlib
import re

import pytest

from support.schema import heard, link, materialise, meter, store, vehicle

README = pathlib.Path(__file__).parents[3] / "sql" / "README.md"
DAY = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0) - dt.timedelta(days=4)
KEPT = ("vehicle_quarter", "meter_quarter", "onboard_quarter", "device_interval", "efficiency_hour", "efficiency_day")
LOST = {
    0: ["DELETE FROM volt_internal.meter_quarter WHERE meter_id = 'M-0042'"],
    1: [f"DELETE FROM volt_internal.{table} WHERE vehicle_id = 'EV-0042'" for table in KEPT[-2:]],
    2: [f"DELETE FROM volt_internal.{table}" for table in KEPT],
}


def _statements():
    text = README.read_text().split("## Energy and efficiency again")[1].split("\n## ")[0]
    text = text.replace("2026-11-02", f"{DAY:%Y-%m-%d}").replace("2026-11-03", f"{DAY + dt.timedelta(days=1):%Y-%m-%d}")
    return re.findall(r"```sql\n(.*?)```", text, re.DOTALL)


def _kept(connection):
    """All that is kept; numbers by their value, whatever zeros they end in."""
    return {
        table: sorted(connection.execute(f"SELECT * FROM volt_internal.{table}").fetchall(), key=str) for table in KEPT
    }


@pytest.fixture(scope="module", params=["timescale", "apache"])
def charged(connection_of, request):
    """A connection to a database of which a charge of three hours is kept."""
    connection = connection_of(request.param, "rebuilt")
    link(connection, "EV-0042", "M-0042")
    stamps = [DAY + dt.timedelta(hours=8, minutes=5 * n) for n in range(1, 37)]
    store(connection, [vehicle("EV-0042", when, kwh=0.92) for when in stamps])
    store(connection, [vehicle("EV-0043", when, kwh=0.92, onboard=50.0 + n) for n, when in enumerate(stamps)])
    heard(connection)
    store(connection, [meter("M-0042", when, register=100.0 + n) for n, when in enumerate(stamps)])
    materialise(connection)
    return connection


@pytest.mark.parametrize("number", LOST)
def test_it_is_there_again(charged, number):
    """One device on one day, one vehicle, all devices: after the statement all is as before it was lost."""
    before = _kept(charged)
    assert all(before.values())
    for lost in LOST[number]:
        charged.execute(lost)
    assert _kept(charged) != before
    charged.execute(_statements()[number])
    materialise(charged)
    assert _kept(charged) == before
