"""One simulated vehicle: drives out and back, parks, charges at home; battery, temperature, position, odometer.

``fleet`` advances it by one interval at a time and reads its attributes; its meter uses ``dc_kwh`` of the
same interval, so that both sides of a charge agree. Pure: time and the seeded generator are arguments.
"""

from __future__ import annotations

import enum
import math
import random
from typing import NamedTuple

from voltd.simulate.fleet import path

SUBSTEP_S = 15.0  # a traffic light is shorter than a reporting interval
ACCELERATION_KMH_S = 4.5
BRAKING_KMH_S = 6.5
WARMING_TIME_S = 5400.0  # the battery follows its surroundings and its load in about an hour and a half
FAST_CHARGER_KW = 50.0
TAPER_FROM_PCT = 80.0
SLOWEST_TAPER = 0.12
RESERVE_PCT = 15.0  # a trip is planned to come home with at least this much
WORST_KWH_PER_KM = 0.3
SHORTEST_TRIP_KM = 3.0


class Model(NamedTuple):
    """A vehicle on the market: usable battery in kWh, its rectifier's limit in kW (DC side)."""

    name: str
    battery_kwh: float
    charge_kw: float


MODELS = (
    Model("Voltis City", 42.0, 11.0),
    Model("Voltis Cargo", 68.0, 22.0),
    Model("Norrland E1", 58.0, 11.0),
    Model("Norrland E3", 77.0, 22.0),
    Model("Ampera Van", 75.0, 22.0),
)


class Activity(enum.StrEnum):
    """What a vehicle is doing."""

    DRIVING = "driving"
    AWAY = "away"  # parked at its destination
    CHARGING = "charging"
    HOME = "home"  # parked at its charger


class Vehicle:
    """State of one vehicle at the end of the interval it was last advanced by.

    Units are in the names; ``dc_kwh`` is the energy delivered to the battery within that interval, ``charging_kw`` its
    mean power, ``plugged_in`` is true for an interval that began a charging session.
    """

    __slots__ = (
        "_comes_back", "_hold_s", "_km", "_rest_s", "_route", "_target_kmh", "_target_pct", "activity",
        "battery_temp_c", "charger_kw", "charging_kw", "dc_kwh", "home", "latitude", "longitude", "model",
        "odometer_km", "plugged_in", "soc_pct", "speed_kmh",
    )  # fmt: skip

    def __init__(
        self,
        model: Model,
        home: tuple[float, float],
        activity: Activity,
        rng: random.Random,
        charger_kw: float,
    ) -> None:
        """Starts in the middle of ``activity``; ``home`` is (latitude, longitude), ``charger_kw`` the DC side."""
        self.model = model
        self.home = home
        # Alternating current passes through the vehicle's own rectifier, a fast charger's direct current does not.
        self.charger_kw = charger_kw if charger_kw >= FAST_CHARGER_KW else min(charger_kw, model.charge_kw)
        self.latitude, self.longitude = home
        self.odometer_km = rng.uniform(500.0, 90_000.0)
        self.battery_temp_c = rng.uniform(12.0, 20.0)
        self.speed_kmh = self.dc_kwh = self.charging_kw = 0.0
        self.plugged_in = False
        self.activity = activity
        self._route = path.DrivenRoute([home, home], [30.0])
        self._km = self._target_kmh = self._hold_s = self._rest_s = 0.0
        self._comes_back = False
        self._target_pct = 100.0
        if activity is Activity.CHARGING:
            self.soc_pct = rng.uniform(10.0, 55.0)
            self._target_pct = rng.choice((80.0, 90.0, 100.0))
        elif activity is Activity.DRIVING:
            self.soc_pct = rng.uniform(45.0, 95.0)
            self._depart(rng)
            self._km = rng.uniform(0.1, 0.8) * self._route.length_km
            self.latitude, self.longitude = self._route.position(self._km)
        else:
            self.soc_pct = rng.uniform(35.0, 95.0)
            self._rest_s = rng.uniform(0.0, 7200.0)

    @property
    def charging_status(self) -> str:
        """The vehicle's charging status: CHARGING, CONNECTED or DISCONNECTED."""
        if self.activity is Activity.CHARGING:
            return "CHARGING"
        return "CONNECTED" if self.activity is Activity.HOME else "DISCONNECTED"

    def advance(self, now_s: float, dt_s: float, rng: random.Random) -> None:
        """Advances by ``dt_s`` seconds that end at ``now_s`` (seconds since the epoch)."""
        self.dc_kwh = 0.0
        self.plugged_in = False
        load_kw = 0.0
        activity = self.activity
        if activity is Activity.DRIVING:
            load_kw = self._drive(dt_s, rng)
        elif activity is Activity.CHARGING:
            load_kw = self._charge(dt_s, rng)
        else:
            self._rest_s -= dt_s
            if self._rest_s <= 0.0:
                self._leave(rng)
        # Warms with its load relative to its size, towards surroundings that follow the hour of the day.
        around_c = 13.0 + 6.0 * math.sin((now_s - 32_400.0) * (2 * math.pi / 86_400.0))
        goal_c = around_c + 32.0 * min(load_kw / self.model.battery_kwh, 1.0) + (6.0 if load_kw else 0.0)
        self.charging_kw = self.dc_kwh * 3600.0 / dt_s
        self.battery_temp_c += (goal_c - self.battery_temp_c) * (1.0 - math.exp(-dt_s / WARMING_TIME_S))

    def _drive(self, dt_s: float, rng: random.Random) -> float:
        """Follows the route; returns the mean power drawn in kW."""
        used_kwh, left_s = 0.0, dt_s
        while left_s > 0.0:
            h = min(left_s, SUBSTEP_S)
            left_s -= h
            self._hold_s -= h
            if self._hold_s <= 0.0:
                self._choose_speed(rng)
            before = self.speed_kmh
            change = self._target_kmh - before
            rate = ACCELERATION_KMH_S if change > 0.0 else BRAKING_KMH_S
            changing_s = min(h, abs(change) / rate)
            after = max(0.0, before + math.copysign(rate * changing_s, change))
            km = ((before + after) / 2 * changing_s + after * (h - changing_s)) / 3600.0
            mean_kmh = km / h * 3600.0
            used_kwh += km * (0.105 + 1.0e-5 * mean_kmh * mean_kmh) + 0.4 * h / 3600.0
            self.speed_kmh = after
            self._km += km
            self.odometer_km += km
            if self._km >= self._route.length_km:
                self._arrive(rng)
                break
        self.latitude, self.longitude = self._route.position(self._km)
        self.soc_pct = max(0.0, self.soc_pct - used_kwh / self.model.battery_kwh * 100.0)
        return used_kwh / dt_s * 3600.0

    def _choose_speed(self, rng: random.Random) -> None:
        limit = self._route.limit_kmh(self._km)
        if limit > max(path.URBAN_LIMITS_KMH):
            self._target_kmh = limit * rng.uniform(0.85, 1.05)
            self._hold_s = rng.uniform(20.0, 120.0)
        elif rng.random() < 0.2:  # noqa: PLR2004 - a red light
            self._target_kmh = 0.0
            self._hold_s = rng.uniform(10.0, 40.0)
        else:
            self._target_kmh = limit * rng.uniform(0.6, 1.02)
            self._hold_s = rng.uniform(8.0, 30.0)

    def _charge(self, dt_s: float, rng: random.Random) -> float:
        """Constant power up to 80 %, then less and less; returns the mean power in kW on the DC side."""
        over_pct = max(0.0, self.soc_pct - TAPER_FROM_PCT)
        share = max(SLOWEST_TAPER, 1.0 - over_pct / (100.0 - TAPER_FROM_PCT))
        kwh = self.charger_kw * share * rng.uniform(0.97, 1.0) * dt_s / 3600.0
        missing_kwh = (self._target_pct - self.soc_pct) / 100.0 * self.model.battery_kwh
        if kwh >= missing_kwh:
            kwh = missing_kwh
            self.soc_pct = self._target_pct
            self.activity = Activity.HOME
            self._rest_s = rng.uniform(600.0, 10_800.0)
        else:
            self.soc_pct += kwh / self.model.battery_kwh * 100.0
        self.dc_kwh = kwh
        return kwh / dt_s * 3600.0

    def _leave(self, rng: random.Random) -> None:
        if self.activity is Activity.HOME:
            self._depart(rng)
        else:
            self._route, self._km = self._route.reversed(), 0.0
            self._hold_s = 0.0
            self._comes_back = True
            self.activity = Activity.DRIVING

    def _depart(self, rng: random.Random) -> None:
        range_km = (self.soc_pct - RESERVE_PCT) / 100.0 * self.model.battery_kwh / WORST_KWH_PER_KM
        reach_km = min(range_km / 2, rng.choice((rng.uniform(4.0, 15.0), rng.uniform(10.0, 60.0))))
        if reach_km < SHORTEST_TRIP_KM:
            self._plug_in(rng)
            return
        self._route, self._km = path.plan(rng, self.home, reach_km), 0.0
        self._hold_s = 0.0
        self._comes_back = False
        self.activity = Activity.DRIVING

    def _arrive(self, rng: random.Random) -> None:
        self._km = self._route.length_km
        self.speed_kmh = 0.0
        if not self._comes_back:
            self.activity = Activity.AWAY
            self._rest_s = rng.uniform(600.0, 5400.0)
        elif self.soc_pct < 75.0 or rng.random() < 0.4:  # noqa: PLR2004 - habits of drivers
            self._plug_in(rng)
        else:
            self.activity = Activity.HOME
            self._rest_s = rng.uniform(600.0, 7200.0)

    def _plug_in(self, rng: random.Random) -> None:
        self.activity = Activity.CHARGING
        self.plugged_in = True
        self._target_pct = max(rng.choice((80.0, 90.0, 100.0)), min(100.0, self.soc_pct + 10.0))
