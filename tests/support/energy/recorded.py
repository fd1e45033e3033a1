"""Recorded trips as registers: real clocks, real holes, and energy that now and then flows back."""

import csv
import datetime as dt
import gzip
import pathlib

from support.energy.model import Device, Reading, Side

_BATTERY_KWH = 6.1  # of the recorded car


def recorded(path: pathlib.Path) -> dict[str, Side]:
    """By vehicle: what it took out of its battery so far, as a register, from a gzipped CSV with `soc` in percent."""
    trips: dict[str, dict[dt.datetime, Reading]] = {}
    with gzip.open(path, "rt", newline="") as lines:
        for row in csv.DictReader(lines):
            if row["soc"]:
                at = dt.datetime.fromisoformat(row["timestamp"])
                taken = round((100 - float(row["soc"])) / 100 * _BATTERY_KWH, 6)
                trips.setdefault(row["vehicleId"], {}).setdefault(at, Reading(at, None, taken))
    return {vehicle: Side(tuple(trip.values()), Device(max_power_kw=20)) for vehicle, trip in trips.items()}
