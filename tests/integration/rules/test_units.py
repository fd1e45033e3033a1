"""The rule on units: fires with the words of what looks wrong, and resolves once the same value is proved right."""

import datetime as dt

import psycopg
import pytest

from support.rules.rig import MINUTE, T0, Rig
from voltd.database import queries
from voltd.readings import DeviceType
from voltd.rules.cycle import unit_looks
from voltd.unit_proof import proof

RULES = '[rules.unit_suspect]\nmetric = "unit_factor"\napplies_to = ["vehicle", "meter"]\nfire_above = 1.5\n'
RULES += 'severity = "info"\n'
WORDS = (
    "info: kwhConsumedAcTotal says kWh, looks like Wh: 1,000 times the integral of power over 30 minutes;"
    " or power says kW, looks like MW"
)


@pytest.fixture(params=["timescale", "apache"])
def rig(database_of, request, monkeypatch):
    made = Rig(database_of(request.param, schema=True), monkeypatch)
    made.reload(RULES)
    made.check(T0)
    yield made
    made.close()


def _store(rig, device, since, until, every_s=60, **columns):
    """Readings from expressions of s, the seconds since T0; and the current state."""
    kind = "meter" if device.startswith("M") else "vehicle"
    names, values = ", ".join(columns), ", ".join(columns.values())
    rig.execute(
        f"INSERT INTO volt.{kind}_reading ({kind}_id, recorded_at, received_at, {names})"
        f" SELECT %s, at, at, {values} FROM generate_series(%s::timestamptz, %s, make_interval(secs => %s)) AS at,"
        " LATERAL (SELECT extract(epoch FROM at - %s)::float8 AS s) AS x ON CONFLICT DO NOTHING",
        device, since, until, every_s, T0,
    )  # fmt: skip
    rig.execute(
        f"INSERT INTO volt.{kind}_current AS c ({kind}_id, recorded_at, last_seen_at) VALUES (%s, %s, %s)"
        f" ON CONFLICT ({kind}_id) DO UPDATE SET recorded_at = excluded.recorded_at,"
        " last_seen_at = excluded.recorded_at",
        device, until, until,
    )  # fmt: skip


def _meter(rig, since, until, factor=1, device="M1"):
    _store(rig, device, since, until, power_kw="7.4", ac_register_kwh=f"(1290.396 + 7.4 * s / 3600) * {factor}")


def _alerts(rig):
    return rig.execute(
        "SELECT device_type, device_id, severity, resolved_at IS NULL, message FROM volt.alert ORDER BY alert_id"
    )


def test_a_register_in_another_unit(rig):
    """Fires with the words; a look that knows nothing changes nothing; the description is corrected: it resolves."""
    _meter(rig, T0, T0 + 30 * MINUTE, 1000)
    _meter(rig, T0, T0 + 30 * MINUTE, 1, "M2")
    rig.check(T0 + 31 * MINUTE)
    assert _alerts(rig) == [("meter", "M1", "info", True, f"meter M1: unit_suspect {WORDS}")]
    assert rig._cycle.units_in_doubt == [f"meter M1: {WORDS.removeprefix('info: ')}"]
    rig.restart()
    rig.reload(RULES)
    _store(rig, "M1", T0 + 31 * MINUTE, T0 + 100 * MINUTE, power_kw="0", ac_register_kwh="1303000.5")
    rig.check(T0 + 101 * MINUTE)
    assert [one[3] for one in _alerts(rig)] == [True]
    assert rig._cycle.units_in_doubt == [f"meter M1: {WORDS.removeprefix('info: ')}"]
    _meter(rig, T0 + 101 * MINUTE, T0 + 120 * MINUTE)
    rig.check(T0 + 121 * MINUTE)
    assert [(one[3], one[4]) for one in _alerts(rig)] == [
        (False, "meter M1: unit_suspect info is over after 1 h 30 min, peak 1000 times")
    ]
    assert rig._cycle.units_in_doubt == []


def test_a_vehicle_and_its_words(rig):
    """Speed in mph; then, with the speed right, a share as state of charge: the open alert says the other thing."""
    rig.execute("INSERT INTO volt.fleet (fleet_id) VALUES ('north')")
    rig.execute("INSERT INTO volt.vehicle (vehicle_id, fleet_id) VALUES ('V1', 'north')")
    road = {"latitude": "52 + 110 * s / 3600 / 111.195", "longitude": "5", "odometer_km": "110 * s / 3600"}
    _store(rig, "V1", T0, T0 + 20 * MINUTE, 10, speed_kmh="68.35", **road)
    rig.check(T0 + 21 * MINUTE)
    ((*_, message),) = _alerts(rig)
    assert message.startswith("vehicle V1 (fleet north): unit_suspect info: speed says km/h, looks like mph: the dist")
    charge = {"soc_pct": "0.8 - s / 90000"}
    _store(rig, "V1", T0 + 90 * MINUTE, T0 + 120 * MINUTE, 10, speed_kmh="110", **road, **charge)
    rig.check(T0 + 121 * MINUTE)
    ((_, _, _, still_open, message),) = _alerts(rig)
    assert (still_open, message) == (
        True,
        "vehicle V1 (fleet north): unit_suspect info: soc says %, looks like 0..1: never above 0.74 in 55 km",
    )


def test_what_is_looked_at(rig, monkeypatch):
    """A few in each cycle, each once in a quarter of an hour."""
    monkeypatch.setattr(unit_looks, "AT_ONCE", 3)
    for number in range(7):
        _meter(rig, T0, T0 + 30 * MINUTE, 1000, f"M{number}")
    counts = []
    for second in range(0, 8, 2):
        rig.check(T0 + 31 * MINUTE + dt.timedelta(seconds=second))
        counts.append(len(_alerts(rig)))
    assert counts == [3, 6, 7, 7]


def test_no_rule_no_look(rig):
    rig.reload('[rules.o]\nmetric = "speed_kmh"\napplies_to = ["vehicle"]\nfire_above = 120\n')
    _meter(rig, T0, T0 + 30 * MINUTE, 1000)
    rig.check(T0 + 31 * MINUTE)
    assert _alerts(rig) == []


@pytest.mark.parametrize("device_type", DeviceType)
def test_the_queries_have_the_columns_of_the_proof(rig, device_type):
    with psycopg.connect(rig.dsn) as connection:
        found = connection.execute(queries.text(f"{device_type.value}_units"), {"ids": ["X"], "oldest": T0})
        assert [one.name for one in found.description or ()] == [
            f"{device_type.value}_id",
            "at",
            *proof.COLUMNS[device_type],
        ]
