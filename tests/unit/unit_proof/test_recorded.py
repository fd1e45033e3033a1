"""Speed and positions of real trips: no unit is in doubt, and one that is made wrong is found."""

import collections
import csv
import datetime as dt
import gzip
import itertools
import pathlib

import pytest

from voltd.readings import DeviceType
from voltd.unit_proof import proof

RECORDED = pathlib.Path(__file__).parents[4] / "shared/data/twizy_trips.csv.gz"
WIRE = {"soc_pct": "soc", "speed_kmh": "speed", "latitude": "latitude", "longitude": "longitude"}
QUARTER_S = 900

pytestmark = pytest.mark.skipif(not RECORDED.is_file(), reason="the recorded trips are not beside this clone")


@pytest.fixture(scope="module")
def quarters():
    """Values by column of each vehicle and quarter hour."""
    trips = collections.defaultdict(list)
    with gzip.open(RECORDED, "rt") as lines:
        for row in csv.DictReader(lines):
            at = dt.datetime.fromisoformat(row["timestamp"]).timestamp()
            values = (row.get(WIRE.get(column, "")) for column in proof.COLUMNS[DeviceType.VEHICLE])
            trips[row["vehicleId"]].append([at, *(float(value) if value else None for value in values)])
    return [
        proof.series(DeviceType.VEHICLE, rows)
        for trip in trips.values()
        for _, rows in itertools.groupby(sorted(trip), lambda row: row[0] // QUARTER_S)
    ]


@pytest.mark.parametrize("evidence", [proof.LASTING, proof.BRIEF], ids=["lasting", "brief"])
@pytest.mark.parametrize(
    ("factor", "looks"),
    [(1, ""), (1.1, ""), (0.9, ""), (1 / 1.609344, "looks like mph"), (10, "looks 10 times too large")],
)
def test_speed_of_real_trips(quarters, evidence, factor, looks):
    found = set()
    for given in quarters:
        shown = {**given, "speed_kmh": [(at, factor * value) for at, value in given["speed_kmh"]]}
        found |= {(one.field, one.looks_like) for one in proof.verdicts(DeviceType.VEHICLE, shown, evidence)}
    assert found == {("soc", ""), ("speed", looks)}
