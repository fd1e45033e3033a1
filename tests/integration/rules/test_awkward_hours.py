"""Hours of awkward data as the rules on hours see them, from readings to episodes."""

import pytest

from support import alerts
from support.rules import history
from support.rules.rig import HOUR, MINUTE, T0, rig

__all__ = ["rig"]  # a fixture
RULES = """
[rules.low]
metric = "efficiency_pct"
applies_to = ["vehicle"]
fire_below = 85.0
clear_above = 86.99
late_after_s = 7200.0
[rules.stranger]
metric = "unassigned_kwh"
applies_to = ["vehicle"]
fire_above = 1.0
late_after_s = 7200.0
"""


@pytest.fixture
def store(rig):
    """A function: readings of V1 or M1 from minute to minute, counted from T0."""
    rig.execute("INSERT INTO volt.vehicle (vehicle_id) VALUES ('V1')")

    def readings(kind, column, expression, minutes, every=1):
        rig.execute(
            f"INSERT INTO volt.{kind}_reading ({kind}_id, recorded_at, {column}, received_at)"
            f" SELECT %s, %s::timestamptz + make_interval(mins => n), {expression}, %s"
            " FROM generate_series(%s::int, %s::int, %s::int) n",
            "V1" if kind == "vehicle" else "M1", T0, T0, minutes[0], minutes[1], every,
        )  # fmt: skip

    return readings


def _link(rig, until=None):
    rig.execute(
        "INSERT INTO volt.vehicle_meter (vehicle_id, meter_id, valid) VALUES ('V1', 'M1', tstzrange(NULL, %s))", until
    )


def test_devices_that_report_every_five_minutes(rig, store):
    """Twelve readings an hour, and a true 60 %."""
    _link(rig)
    store("vehicle", "kwh_delivered_dc", "0.3", (5, 60), 5)
    store("meter", "kwh_consumed_ac", "0.5", (5, 60), 5)
    rig.keep()
    rig.check(T0 + 70 * MINUTE)
    assert rig.execute("SELECT efficiency_pct::float, quality FROM volt.efficiency_hourly") == [(60.0, "ok")]
    assert rig.episodes("low") == [("V1", False, False)]


def test_a_few_messages_are_lost(rig, store):
    """Six of sixty in one quarter hour: 82.8 % of all, 92 % of what can be compared."""
    _link(rig)
    store("vehicle", "kwh_delivered_dc", "0.092", (1, 20))
    store("vehicle", "kwh_delivered_dc", "0.092", (27, 60))
    store("meter", "kwh_consumed_ac", "0.1", (1, 60))
    rig.keep()
    rig.check(T0 + 70 * MINUTE)
    assert rig.execute("SELECT efficiency_pct::float FROM volt.efficiency_hourly") == [(92.0,)]
    assert alerts.episodes(rig.dsn) == []


def test_a_stranger_after_the_link_has_ended(rig, store):
    _link(rig, T0 + 30 * MINUTE)
    store("vehicle", "kwh_delivered_dc", "CASE WHEN n <= 30 THEN 0.092 ELSE 0 END", (1, 60))
    store("meter", "kwh_consumed_ac", "0.1", (1, 60))
    rig.keep()
    rig.check(T0 + 70 * MINUTE)
    assert alerts.episodes(rig.dsn) == []


@pytest.mark.parametrize(("reports_until", "over"), [(120, True), (90, False), (60, False)])
def test_the_hour_after_a_stranger(rig, store, tmp_path, reports_until, over):
    """Without energy it has no row: the meter must have reported to its end. voltd rules test says the same."""
    _link(rig)
    store("meter", "kwh_consumed_ac", "CASE WHEN n <= 60 THEN 0.1 ELSE 0 END", (1, reports_until))
    rig.keep()
    rig.check(T0 + 70 * MINUTE)
    assert rig.episodes("stranger") == [("V1", False, False)]
    rig.check(T0 + 130 * MINUTE)
    assert rig.episodes("stranger") == [("V1", False, over)]
    past = history.History(rig.dsn, tmp_path)
    begins = (T0 - history.T0) / MINUTE
    found = past.episodes(begins=begins, ends=begins + 190, file=past.write("hours.toml", RULES))
    assert found == [("stranger", "V1", "warning", begins + 60, begins + 120 if over else None)]


def test_an_hour_that_arrives_late(rig, store):
    """Within a minute of when it is kept, though a later hour has been evaluated."""
    _link(rig)
    rig.keep()
    for minutes in (70, 130, 190, 220):
        rig.check(T0 + minutes * MINUTE)
    store("vehicle", "kwh_delivered_dc", "0.07", (61, 120))
    store("meter", "kwh_consumed_ac", "0.1", (61, 120))
    rig.keep()
    rig.check(T0 + 221 * MINUTE)
    assert rig.episodes("low") == [("V1", False, False)]


def test_an_hour_that_waits_to_be_computed_is_not_done(rig):
    """Its readings have arrived; no later look would see them."""
    _link(rig)
    rig.keep()
    rig.execute("INSERT INTO volt_internal.vehicle_rollup_dirty VALUES ('V1', %s)", T0)
    for minutes in range(70, 500, 60):
        rig.check(T0 + minutes * MINUTE)
    until = "SELECT efficiency_until FROM volt_internal.alert_progress"
    assert rig.execute(until) == [(T0,)]
    rig.keep()
    rig.check(T0 + 500 * MINUTE)
    assert rig.execute(until) == [(T0 + 5 * HOUR,)]


def test_a_register_that_is_dark_for_hours(rig, store):
    """It charged for one of four hours; each of them is an estimate and raises no alert."""
    _link(rig)
    store("vehicle", "dc_register_kwh", "100", (-60, 0))
    store("vehicle", "dc_register_kwh", "105.52", (240, 300))
    store("meter", "kwh_consumed_ac", "CASE WHEN n <= 60 THEN 0.1 ELSE 0 END", (1, 300))
    rig.keep()
    for hour in range(1, 6):
        rig.check(T0 + hour * HOUR + 10 * MINUTE)
    found = rig.execute("SELECT quality FROM volt.efficiency_hourly ORDER BY hour LIMIT 4")
    assert found == [("estimated",)] * 4
    assert alerts.episodes(rig.dsn) == []
