"""``voltd rules test`` and ``check``: rules over history in a real database, with a reader's rights."""

import csv
import datetime as dt
import gzip
import json
import pathlib
import re

import psycopg
import pytest

from support.rules import history
from support.rules.history import RULES, at

RECORDED = pathlib.Path(__file__).parents[4] / "shared/data/twizy_trips.csv.gz"


@pytest.fixture
def past(migrated_database, tmp_path):
    return history.History(migrated_database, tmp_path)


def _every_minute(count, **values):
    return [(minute, dict(values)) for minute in range(count)]


def test_values_beyond_their_limits_become_episodes(past):
    """Hysteresis, severity, what is open at the end, and nothing of vehicles within the limits."""
    speeds = {10: 121.0, 11: 118.0, 12: 114.0, 118: 125.0}
    past.vehicle("V1", *[(minute, {"speed_kmh": speeds.get(minute, 80.0), "soc_pct": 50.0}) for minute in range(120)])
    past.vehicle("V2", *[(minute, {"soc_pct": 20.5 - minute % 60 / 3}) for minute in range(120)])
    past.vehicle("V3", *_every_minute(120, speed_kmh=119.0, soc_pct=16.0))
    assert past.episodes() == [
        ("overspeed", "V1", "warning", 10, 12),
        ("overspeed", "V1", "warning", 118, 119),
        ("soc_low", "V2", "critical", 17, 60),
        ("soc_low", "V2", "critical", 77, None),
    ]


WORDS = """
[charging]
charging_words = ["on"]
charging_stale_s = 3600.0
"""


def test_charging_is_what_the_words_of_each_file_say(past):
    """Too old a word, or a drive since, excuses no low charge; the rules in force go by their own file's words."""
    past.vehicle("V1", (-30, {"charging_status": "on"}), (0, {"soc_pct": 10.0}))
    past.vehicle("V2", (-90, {"charging_status": "on"}), (0, {"soc_pct": 10.0}))
    past.vehicle("V3", (-30, {"charging_status": "on"}), (-9, {"speed_kmh": 50.0}), (0, {"soc_pct": 10.0}))
    past.vehicle("V4", (-30, {"charging_status": "Charging"}), (0, {"soc_pct": 10.0}))
    past.vehicle("V5", (0, {"soc_pct": 10.0, "charging_status": "on"}), (5, {"speed_kmh": 6.0}), (9, {"soc_pct": 9.0}))
    file = past.write("words.toml", WORDS + RULES)
    found = [one[:2] for one in past.episodes(file=file) if one[0] == "soc_low"]
    assert found == [("soc_low", "V2"), ("soc_low", "V3"), ("soc_low", "V4"), ("soc_low", "V5")]
    (summary,) = [one for one in past.lines(file=file) if one["kind"] == "summary" and one["rule"] == "soc_low"]
    assert summary["in_force_devices"] == 4  # V4 alone charges by its words


def test_charging_is_as_last_known_also_before_the_period(past):
    past.vehicle("V1", (-90, {"charging_status": "charging"}), *[(m, {"soc_pct": 10.0}) for m in range(0, 60, 4)])
    past.vehicle("V2", (-9, {"charging_status": "charging"}), (-8, {"charging_status": "idle"}), (0, {"soc_pct": 10.0}))
    past.vehicle("V2", (4, {"soc_pct": 10.0}), (5, {"charging_status": "charging"}), (6, {"soc_pct": 10.0}))
    past.vehicle("V3", (-9, {"charging_status": "charging"}), (0, {"soc_pct": 9.0}), (1, {"charging_status": "idle"}))
    past.vehicle("V3", (2, {"soc_pct": 9.0}), (3, {"soc_pct": 30.0}))
    found = [one for one in past.episodes(ends=60) if one[0] == "soc_low"]
    assert found == [("soc_low", "V2", "warning", 0, 5), ("soc_low", "V3", "warning", 2, 3)]


def test_gaps_between_arrivals_are_inactivity_of_vehicles_and_meters(past):
    """Of both kinds, up to the end of the period; a device that was never heard in it is none."""
    past.vehicle("V1", *[(minute, {"soc_pct": 50.0}) for minute in (0, 4, 8, 20, 24)])
    past.vehicle("V2", (-500, {"soc_pct": 50.0}))
    past.meter("M1", *range(0, 60, 5), 70)
    past.vehicle("V4", *[(minute, {"soc_pct": 50.0, "received": 40}) for minute in range(20, 41)])
    assert past.episodes(ends=75) == [
        ("stale", "V1", "warning", 13, 20),
        ("stale", "V1", "warning", 29, None),
        ("stale", "V4", "warning", 45, None),
        ("stale", "M1", "warning", 60, 70),
    ]


def test_a_clock_that_is_off_is_sampled_once_a_minute(past):
    """Three minutes in a row, not three readings of one backlog, and not a backlog that takes minutes (V4)."""
    past.vehicle("V1", *[(minute, {"soc_pct": 50.0, "received": minute + 2}) for minute in range(10)])
    past.vehicle("V1", *[(minute, {"soc_pct": 50.0}) for minute in range(12, 15)])
    past.vehicle("V2", *[(minute / 10, {"soc_pct": 50.0, "received": 5}) for minute in range(40)], (5, {"soc_pct": 50}))
    past.vehicle("V4", *[(minute - 90, {"soc_pct": 50.0, "received": minute / 5}) for minute in range(60)])
    found = [one for one in past.episodes(ends=15) if one[0] == "clock_skew"]
    assert found == [("clock_skew", "V1", "info", 2, 12)]


def test_trusted_hours_of_low_efficiency(past):
    """At the end of the hour; hours that cannot be trusted say nothing."""
    past.execute("INSERT INTO volt.vehicle (vehicle_id, status) VALUES ('V1', 'active'), ('V2', 'active')")
    past.execute("INSERT INTO volt.meter (meter_id) VALUES ('M1'), ('M2')")
    past.execute(
        "INSERT INTO volt.vehicle_meter (vehicle_id, meter_id, valid)"
        " VALUES ('V1', 'M1', '[2020-01-01,)'), ('V2', 'M2', '[2020-01-01,)')"
    )
    for number, share in ((1, 0.8), (2, 0.05)):
        past.execute(
            "INSERT INTO volt.vehicle_reading (vehicle_id, recorded_at, received_at, kwh_delivered_dc)"
            " SELECT %s, t, t, CASE WHEN t < %s THEN %s ELSE 0.95 END FROM generate_series(%s, %s, INTERVAL '1 min') t",
            f"V{number}", at(120), share, at(0), at(179),
        )  # fmt: skip
        past.execute(
            "INSERT INTO volt.meter_reading (meter_id, recorded_at, received_at, kwh_consumed_ac)"
            " SELECT %s, t, t, 1 FROM generate_series(%s, %s, INTERVAL '1 min') t",
            f"M{number}", at(0), at(179),
        )  # fmt: skip
    past.keep()
    found = [one for one in past.episodes(ends=190) if one[0] == "efficiency_low"]
    assert found == [("efficiency_low", "V1", "warning", 60, 180)]


def test_late_readings_are_marked_and_nobody_is_notified(past):
    past.vehicle("V1", *[(minute, {"speed_kmh": 130.0 if minute < 5 else 90.0, "received": 60}) for minute in range(9)])
    (one,) = [line for line in past.lines() if line["kind"] == "episode" and line["rule"] == "overspeed"]
    assert (one["past"], one["messages"]) == (True, 0)
    (summary,) = [line for line in past.lines() if line["kind"] == "summary" and line["rule"] == "overspeed"]
    assert (summary["episodes"], summary["past"], summary["messages_a_day"]) == (1, 1, 0)


def test_only_a_fleet_or_some_vehicles(past):
    past.execute("INSERT INTO volt.fleet (fleet_id, name) VALUES ('north', 'N'), ('south', 'S')")
    past.execute("INSERT INTO volt.vehicle (vehicle_id, fleet_id, status) VALUES ('V1', 'north', 'active'),"
                 " ('V2', 'south', 'active'), ('V3', 'north', 'retired')")  # fmt: skip
    for device in ("V1", "V2", "V3", "V4"):
        past.vehicle(device, (0, {"speed_kmh": 130.0}), (1, {"speed_kmh": 90.0}))
    past.meter("M1", 0)

    def devices(*words):
        return {one[1] for one in past.episodes(*words)}

    assert devices() == {"V1", "V2", "V4", "M1"}
    assert devices("--fleet", "north") == {"V1"}
    assert devices("--vehicle", "V4", "--vehicle", "V2") == {"V2", "V4"}
    assert devices("--vehicle", "V2", "--fleet", "north") == set()


def test_the_rules_in_force_stand_beside_it_where_they_differ(past):
    past.vehicle("V1", *[(minute, {"speed_kmh": 118.0 if minute % 10 == 5 else 90.0}) for minute in range(60)])
    lower = past.write("lower.toml", RULES.replace("fire_above = 120.0", "fire_above = 117.0"))
    text = past.voltd("test", lower, "--from", at(0).isoformat(), "--to", at(60).isoformat(), "--limit", "2")
    lines = [line.split() for line in text.splitlines()]
    assert "the first 2 of 6; --limit shows more" in text
    assert ["overspeed", "6", "1", "288", "0", "0", "0"] in lines
    assert ["soc_low", "0", "0", "0", "0", "0", "0"] in lines
    assert ["ingest_lag", "-", "-", "-", "-", "-", "-"] in lines
    assert ["all", "rules", "6", "1", "288", "0", "0", "0"] in lines
    assert "NOTIFICATIONS A DAY" in text
    assert "ingest_lag: not tested" in text
    same = past.voltd("test", past.file, "--from", at(0).isoformat(), "--to", at(60).isoformat())
    assert "no episodes" in same
    assert "IN FORCE" not in same
    (row,) = [one for one in past.lines(file=lower) if one["kind"] == "summary" and one["rule"] == "overspeed"]
    assert (row["episodes"], row["in_force_episodes"]) == (6, 0)
    (total,) = [one for one in past.lines(file=lower, ends=60) if one["kind"] == "total"]
    assert (total["episodes"], total["notifications_a_day"], total["in_force_notifications_a_day"]) == (6, 288, 0)


def test_what_cannot_be_tried_is_refused(past):
    broken = past.write("broken.toml", RULES.replace("fire_below = 15.0", "fire_below = 25.0", 1))
    assert "clear_above" in past.voltd("check", broken, code=78)
    assert "clear_above" in past.voltd("test", broken, "--from", "1h", code=78)
    assert "is not after" in past.voltd("test", past.file, "--from", "1h", "--to", "2h", code=2)
    assert "no rules file" in past.voltd("check", "nowhere.toml", code=78)


def test_check_says_each_rule_in_a_line(past):
    _head, *lines = past.voltd("check", past.file).splitlines()
    soc_low, clock_skew = (re.split(r" {2,}", lines[number]) for number in (0, 4))
    assert soc_low == [
        "soc_low", "vehicle", "state of charge below 15 %", "over 20 %, or charging", "warning, critical below 5 %",
    ]  # fmt: skip
    assert clock_skew == [
        "clock_skew",
        "vehicle, meter",
        "clock off by over 30 s, 3 times in a row",
        "below 5 s",
        "info",
    ]
    assert past.voltd("check").splitlines()[1:] == lines


@pytest.mark.skipif(not RECORDED.is_file(), reason="the recorded trips are not beside this clone")
def test_recorded_trips_with_a_limit_of_their_own(past):
    """Overspeed of real trips: as many as a look at the recording finds, beginning and ending where it says."""
    expected, speeding, last = [], {}, {}
    with gzip.open(RECORDED, "rt") as lines:
        rows = [row for row in csv.DictReader(lines) if row["timestamp"] < "2021-05"]  # a month of them
    for row in rows:
        vehicle, at, speed = row["vehicleId"], row["timestamp"], row["speed"] and float(row["speed"])
        if speed == "":
            continue
        if vehicle not in speeding and speed > 70 and at > last.get(vehicle, ""):
            speeding[vehicle] = at
        elif vehicle in speeding and speed < 60:
            expected.append((vehicle, speeding.pop(vehicle), at))
        last[vehicle] = max(at, last.get(vehicle, ""))
    expected += [(vehicle, at, None) for vehicle, at in speeding.items()]
    assert len(expected) >= 10
    with psycopg.connect(past.dsn) as connection:
        connection.execute("SET timescaledb.max_open_chunks_per_insert = 200")
        with connection.cursor().copy(
            "COPY volt.vehicle_reading (vehicle_id, recorded_at, received_at, speed_kmh, soc_pct) FROM STDIN"
        ) as copy:
            for one in {(row["vehicleId"], row["timestamp"]): row for row in reversed(rows)}.values():
                copy.write_row(
                    (one["vehicleId"], one["timestamp"], one["timestamp"], one["speed"] or None, one["soc"] or None)
                )
    file = past.write(
        "slow.toml",
        '[rules.fast]\nmetric = "speed_kmh"\napplies_to = ["vehicle"]\nfire_above = 70.0\nclear_below = 60.0\n',
    )
    text = past.voltd("test", file, "--from", "2021-03-01T00:00Z", "--to", "2021-05-01T00:00Z", "--json")
    found = [json.loads(line) for line in text.splitlines()]
    listed = [
        (one["device_id"], dt.datetime.fromisoformat(one["opened_at"]),
         one["resolved_at"] and dt.datetime.fromisoformat(one["resolved_at"]))
        for one in found if one["kind"] == "episode" and one["rule"] == "fast"
    ]  # fmt: skip
    as_times = [
        (vehicle, dt.datetime.fromisoformat(at), end and dt.datetime.fromisoformat(end))
        for vehicle, at, end in expected
    ]
    assert sorted(listed, key=str) == sorted(as_times, key=str)
