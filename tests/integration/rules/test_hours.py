"""Rules on figures of hours: what fires, what resolves, and what is computed for whom; live and over history."""

import datetime as dt
from typing import Any

import pytest

from support import alerts
from support.rules import history
from support.rules.rig import HOUR, MINUTE, T0, rig
from voltd.rules.cycle import hourly_figures

__all__ = ["rig"]  # a fixture
RULES = """
[rules.low]
metric = "efficiency_pct"
applies_to = ["vehicle"]
fire_below = 80.0
clear_above = 84.0
late_after_s = 7200.0
[rules.high]
metric = "efficiency_pct"
applies_to = ["vehicle"]
fire_above = 100.0
[rules.stranger]
metric = "unassigned_kwh"
applies_to = ["vehicle"]
fire_above = 1.0
[rules.apart]
metric = "correlation_pct"
applies_to = ["vehicle"]
fire_below = 80.0
fleets = ["north"]
[rules.clocks]
metric = "pair_offset_s"
applies_to = ["vehicle"]
fire_above = 30.0
fleets = ["north"]
"""


@pytest.fixture
def given(rig):
    """A function: the hours of V1 from T0 on, as volt.efficiency_hourly would show them."""
    rig.keep()

    def hours(*figures, vehicle="V1", dc_kwh=0.0):
        for number, (quality, pct, low, high, unassigned) in enumerate(figures):
            rig.execute(
                "INSERT INTO volt_internal.efficiency_hour (vehicle_id, meter_id, hour, quality, efficiency_pct,"
                " efficiency_low_pct, efficiency_high_pct, unassigned_kwh, dc_kwh, ac_kwh, standby_kwh)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 0)",
                vehicle, f"M{vehicle}", T0 + number * HOUR, quality, pct, low, high, unassigned, dc_kwh, dc_kwh,
            )  # fmt: skip
        return len(figures)

    return hours


LOW = ("ok", 70, 65, 75, 0)
GOOD = ("ok", 92, 90, 93, 0)
CASES: dict[str, tuple[list[Any], list[Any]]] = {
    "certainly low": ([LOW, GOOD], [("low", 1, 2, 70)]),
    "perhaps not low": ([("ok", 70, 65, 85, 0), GOOD], []),
    "resolved by the figure": ([LOW, ("ok", 90, 70, 95, 0)], [("low", 1, 2, 70)]),
    "an hour in doubt resolves nothing": ([LOW, ("ok", 70, 65, 90, 0), GOOD], [("low", 1, 3, 70)]),
    "nor does one between the limits": ([LOW, ("ok", 82, 81, 83, 0), GOOD], [("low", 1, 3, 70)]),
    "certainly over 100 %": ([("suspect", 110, 105, 120, 0), GOOD], [("high", 1, 2, 110)]),
    "perhaps not over 100 %": ([("suspect", 110, 95, 120, 0), GOOD], []),
    "impossible resolves nothing": ([LOW, ("suspect", 110, 95, 120, 0), GOOD], [("low", 1, 3, 70)]),
    "a stranger": ([("no_dc", None, None, None, 6), ("idle", None, None, None, 0)], [("stranger", 1, 2, 6)]),
    **{
        f"{one} says nothing": ([LOW, (one, 50, 50, 50, 0), (one, 95, 95, 95, 0), GOOD], [("low", 1, 4, 70)])
        for one in ("partial", "shared_meter", "suspect", "estimated")
    },
    "an estimate is no stranger": ([("estimated", None, None, None, 6)], []),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_fires_and_resolves(rig, given, case):
    """Hour by hour as they end; voltd rules test says the same."""
    figures, expected = CASES[case]
    for number in range(given(*figures)):
        rig.check(T0 + (number + 1) * HOUR + 10 * MINUTE)
    found = [(one["rule"], _hour(one["opened_at"]), _hour(one["resolved_at"]), one["peak_value"])
             for one in alerts.episodes(rig.dsn)]  # fmt: skip
    assert found == expected


@pytest.mark.parametrize("case", CASES)
def test_the_same_over_history(rig, given, case, tmp_path):
    figures, expected = CASES[case]
    given(*figures)
    past = history.History(rig.dsn, tmp_path)
    ends = (T0 - history.T0 + 6 * HOUR) / MINUTE
    found = past.lines(begins=(T0 - history.T0) / MINUTE, ends=ends, file=past.write("hours.toml", RULES))
    assert [
        (one["rule"], _hour(one["opened_at"]), _hour(one["resolved_at"]), one["peak_value"])
        for one in found
        if one["kind"] == "episode"
    ] == expected


def _hour(at):
    at = dt.datetime.fromisoformat(at) if isinstance(at, str) else at
    return None if at is None else round((at - T0) / HOUR)


def _pairs(rig, vehicle, fleet, off_s):
    """An hour in which each reading of the meter comes this much later than one of the vehicle."""
    rig.execute("INSERT INTO volt.fleet (fleet_id) VALUES (%s) ON CONFLICT DO NOTHING", fleet)
    rig.execute("INSERT INTO volt.vehicle (vehicle_id, fleet_id) VALUES (%s, %s)", vehicle, fleet)
    rig.execute("INSERT INTO volt.vehicle_meter (vehicle_id, meter_id) VALUES (%s, %s)", vehicle, f"M{vehicle}")
    for kind, device, column, off in (
        ("vehicle", vehicle, "kwh_delivered_dc", 0),
        ("meter", f"M{vehicle}", "kwh_consumed_ac", off_s),
    ):
        rig.execute(
            f"INSERT INTO volt.{kind}_reading ({kind}_id, recorded_at, {column}, received_at)"
            " SELECT %s, t + make_interval(secs => %s), 0.1, t"
            " FROM generate_series(%s, %s::timestamptz + '59 min', '1 min'::interval) t",
            device, off, T0, T0,
        )  # fmt: skip


def test_readings_that_meet_none(rig, given, monkeypatch):
    """Of the vehicles that took energy and that the rule covers, and of no other; a few in each cycle."""
    for number, (fleet, off_s) in enumerate([("north", 20), ("south", 20), ("north", 2), ("north", 20)], start=1):
        _pairs(rig, f"P{number}", fleet, off_s)
        given(GOOD, vehicle=f"P{number}", dc_kwh=6.0 if number < 4 else 0.0)
    monkeypatch.setattr(hourly_figures, "_PAIRED_AT_ONCE", 1)
    rig.check(T0 + 70 * MINUTE)
    rig.check(T0 + 71 * MINUTE)
    assert rig.episodes("apart") == [("P1", False, False)]
    (until,) = rig.execute("SELECT efficiency_until FROM volt_internal.alert_progress")[0]
    assert until <= T0 + HOUR


def test_pairs_over_history(rig, given, tmp_path):
    for number, (fleet, off_s) in enumerate([("north", 20), ("south", 20), ("north", 2)], start=1):
        _pairs(rig, f"P{number}", fleet, off_s)
        given(GOOD, vehicle=f"P{number}", dc_kwh=6.0)
    past = history.History(rig.dsn, tmp_path)
    begins = (T0 - history.T0) / MINUTE
    found = past.episodes(begins=begins, ends=begins + 300, file=past.write("hours.toml", RULES))
    assert found == [("apart", "P1", "warning", begins + 60, None)]


def test_clocks_of_vehicle_and_meter(rig, given):
    """From when charging begins and ends, over the day before the end of the hour."""
    for vehicle, off_s in (("C1", -90), ("C2", 7)):
        rig.execute("INSERT INTO volt.fleet (fleet_id) VALUES ('north') ON CONFLICT DO NOTHING")
        rig.execute("INSERT INTO volt.vehicle (vehicle_id, fleet_id) VALUES (%s, 'north')", vehicle)
        rig.execute("INSERT INTO volt.vehicle_meter (vehicle_id, meter_id) VALUES (%s, %s)", vehicle, f"M{vehicle}")
        for kind, device, column, off in (
            ("vehicle", vehicle, "kwh_delivered_dc", 0),
            ("meter", f"M{vehicle}", "kwh_consumed_ac", off_s),
        ):
            rig.execute(
                f"INSERT INTO volt.{kind}_reading ({kind}_id, recorded_at, {column}, received_at)"
                " SELECT %s, %s::timestamptz + make_interval(mins => n, secs => %s),"
                " CASE WHEN n BETWEEN -300 AND -200 OR n BETWEEN 10 AND 40 THEN 0.1 ELSE 0 END, %s"
                " FROM generate_series(-400, 58) n",
                device, T0, off, T0,
            )  # fmt: skip
        given(GOOD, vehicle=vehicle, dc_kwh=3.0)
    rig.check(T0 + 70 * MINUTE)
    assert rig.episodes("clocks") == [("C1", False, False)]
    (text,) = rig.execute("SELECT message FROM volt.alert WHERE rule = 'clocks'")[0]
    assert text.endswith("clocks of vehicle and meter apart by 90 s (limit 30 s)")


def test_an_hour_that_is_not_kept_yet(rig, given, monkeypatch):
    """It is evaluated once it is kept, and is not late by then, whatever late_after_s says."""
    rig.reload(RULES.replace("7200.0", "900.0"))
    given(LOW)
    kept = [T0]
    monkeypatch.setattr(hourly_figures, "_kept", lambda _connection, _since, until: min(kept[0], until))
    rig.check(T0 + 75 * MINUTE)
    assert rig.episodes("low") == []
    kept[0] = T0 + HOUR
    rig.check(T0 + 99 * MINUTE)
    assert rig.episodes("low") == [("V1", False, False)]
