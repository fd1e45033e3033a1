"""Excursions in a batch: of each vehicle the live and the late readings beyond a bound, retained ones left out."""

import datetime as dt
import random

import pytest

from voltd import models
from voltd.pipeline.write.excursions import ColumnRange, Excursions

NOW = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
NOTHING = dict.fromkeys(models.VehicleReading._fields)


def _ago(seconds):
    return NOW - dt.timedelta(seconds=seconds)


def _batch(*readings):
    """(vehicle, recorded so many seconds ago, received so many seconds ago, values), each a message."""
    batch = models.Batch([])
    for index, (vehicle, recorded, received, values) in enumerate(readings):
        retained = values.pop("retained", False)
        batch.messages.append(models.Message("t", b"", 1, _ago(received), retained=retained))
        times = {"vehicle_id": vehicle, "recorded_at": _ago(recorded), "received_at": _ago(received)}
        batch.vehicles.append(models.VehicleReading(**NOTHING | times | values))
        batch.vehicle_sources.append((index, None))
        batch.retained = batch.retained or retained
    return batch


@pytest.fixture
def excursions():
    found = Excursions()
    bounds = [
        ColumnRange("soc_pct", 15.0, float("inf")),
        ColumnRange("speed_kmh", float("-inf"), 120.0),
    ]
    found.look_for(bounds, 900.0)
    return found


def _found(excursions, *readings):
    """(vehicle, since, until, first arrival, late), times as seconds ago."""
    return [
        (one.vehicle_id, *((NOW - at).total_seconds() for at in one[1:4]), one.late)
        for one in excursions.find(_batch(*readings), NOW)
    ]


def test_readings_at_the_bounds_are_none(excursions):
    assert _found(excursions, ("V1", 1, 1, {"soc_pct": 15.0, "speed_kmh": 120.0}), ("V2", 1, 1, {})) == []


def test_one_a_vehicle_whatever_is_beyond(excursions):
    """Earliest and latest by device time; the first arrival of all of them, not that of the earliest."""
    readings = [
        ("V1", 1, 0.9, {"speed_kmh": 150.0, "soc_pct": 3.0}),
        ("V1", 31, 0.4, {"speed_kmh": 140.0}),
        ("V1", 40, 0.3, {"speed_kmh": 90.0}),
        ("V2", 5, 4, {"soc_pct": 3.0}),
    ]
    expected = [("V1", 31, 1, 0.9, False), ("V2", 5, 5, 4, False)]
    for _ in range(9):
        assert sorted(_found(excursions, *random.sample(readings, 4))) == expected


def test_late_ones_are_recorded_apart(excursions):
    """A live excursion is found whatever comes with it. Late is what is old when it is written: deferred ones, too."""
    readings = [("V1", ago, received, {"soc_pct": 3.0}) for ago, received in ((901, 900), (7200, 1), (2, 1), (900, 1))]
    assert _found(excursions, *readings) == [("V1", 900, 2, 1, False), ("V1", 7200, 901, 900, True)]


def test_retained_ones_are_none(excursions):
    readings = [("V1", 2, 1, {"soc_pct": 3.0, "retained": True}), ("V1", 1, 0.5, {"soc_pct": 4.0})]
    assert _found(excursions, *readings) == [("V1", 1, 1, 0.5, False)]


def test_live_ones_of_vehicles_that_are_looked_at_anyway_are_left_out(excursions):
    """Their late ones are not: who looks at them looks at what is new."""
    excursions.leave_out(frozenset(["V1"]))
    readings = [(name, ago, 1, {"soc_pct": 3.0}) for name in ("V1", "V2") for ago in (2, 7200)]
    assert [(one[0], one[4]) for one in _found(excursions, *readings)] == [("V2", False), ("V1", True), ("V2", True)]


def test_an_open_alert_leaves_out_only_what_it_watches(excursions):
    """Another value of the vehicle is not looked at until it is recorded."""
    excursions.leave_out(frozenset({"V1"}), "soc_pct")
    assert _found(excursions, ("V1", 1, 1, {"soc_pct": 3.0})) == []
    assert _found(excursions, ("V1", 1, 1, {"soc_pct": 3.0, "speed_kmh": 150.0})) == [("V1", 1, 1, 1, False)]


def test_late_is_what_is_late_by_the_corrected_time(excursions):
    """A clock that is an hour behind: its readings of now are live, those of an hour before that are late."""
    excursions.correct({"V1": 3600.0})
    assert _found(excursions, ("V1", 3601, 1, {"speed_kmh": 150.0})) == [("V1", 3601, 3601, 1, False)]
    assert _found(excursions, ("V1", 7200, 1, {"speed_kmh": 150.0})) == [("V1", 7200, 7200, 1, True)]
    assert _found(excursions, ("V2", 3601, 1, {"speed_kmh": 150.0})) == [("V2", 3601, 3601, 1, True)]


def test_late_readings_around_a_past_episode_are_recorded_whatever_they_say(excursions):
    excursions.look_around({"V1": (_ago(7200), _ago(3600))})
    assert _found(excursions, ("V1", 5000, 1, {"speed_kmh": 50.0})) == [("V1", 5000, 5000, 1, True)]
    assert _found(excursions, ("V1", 8000, 1, {"speed_kmh": 50.0}), ("V1", 60, 1, {"speed_kmh": 50.0})) == []
    assert _found(excursions, ("V2", 5000, 1, {"speed_kmh": 50.0})) == []
