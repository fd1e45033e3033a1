"""Where a vehicle goes: a chain of great-circle legs between waypoints around its depot, each with a speed limit.

Called by ``vehicle`` when a trip begins and for each position on it. Pure: a seeded generator is the only randomness.
"""

from __future__ import annotations

import bisect
import math
import random
from typing import NamedTuple

EARTH_RADIUS_KM = 6371.0088  # mean radius, IUGG
URBAN_LIMITS_KMH = (30.0, 50.0, 50.0, 60.0)
MOTORWAY_LIMITS_KMH = (90.0, 100.0, 110.0, 120.0)


class Leg(NamedTuple):
    """One great-circle leg: two ends as unit vectors, the angle between them in radians, limit in km/h."""

    start: tuple[float, float, float]
    end: tuple[float, float, float]
    angle: float
    limit_kmh: float


class DrivenRoute:
    """Waypoints joined by great circles. ``length_km`` is its length over ground."""

    __slots__ = ("_ends_km", "_legs", "_limits", "_points", "length_km")

    def __init__(self, points: list[tuple[float, float]], limits_kmh: list[float]) -> None:
        """``points`` are (latitude, longitude) in degrees, one more than ``limits_kmh``."""
        self._points = points
        self._limits = limits_kmh
        self._legs: list[Leg] = []
        self._ends_km: list[float] = []
        travelled = 0.0
        vectors = [_unit_vector(*point) for point in points]
        for start, end, limit in zip(vectors, vectors[1:], limits_kmh, strict=False):
            dot = sum(a * b for a, b in zip(start, end, strict=True))
            angle = math.acos(max(-1.0, min(1.0, dot)))
            travelled += angle * EARTH_RADIUS_KM
            self._legs.append(Leg(start, end, angle, limit))
            self._ends_km.append(travelled)
        self.length_km = travelled

    def limit_kmh(self, km: float) -> float:
        """Speed limit ``km`` after the start."""
        return self._legs[min(bisect.bisect_left(self._ends_km, km), len(self._legs) - 1)].limit_kmh

    def position(self, km: float) -> tuple[float, float]:
        """(latitude, longitude) in degrees, ``km`` after the start; beyond the end it is the end."""
        index = min(bisect.bisect_left(self._ends_km, km), len(self._legs) - 1)
        leg = self._legs[index]
        begins = self._ends_km[index - 1] if index else 0.0
        travelled = min(max((km - begins) / EARTH_RADIUS_KM, 0.0), leg.angle)
        sine = math.sin(leg.angle)
        if sine < 1e-12:  # noqa: PLR2004 - two waypoints in the same place
            return self._points[index]
        ahead, behind = math.sin(travelled) / sine, math.sin(leg.angle - travelled) / sine
        x = behind * leg.start[0] + ahead * leg.end[0]
        y = behind * leg.start[1] + ahead * leg.end[1]
        z = behind * leg.start[2] + ahead * leg.end[2]
        return math.degrees(math.atan2(z, math.hypot(x, y))), math.degrees(math.atan2(y, x))

    def reversed(self) -> DrivenRoute:
        """The route in the other direction."""
        return DrivenRoute(self._points[::-1], self._limits[::-1])


def plan(rng: random.Random, home: tuple[float, float], reach_km: float) -> DrivenRoute:
    """A route of about ``reach_km`` away from ``home``: through town, over a motorway if it is far, into town."""
    bearing = rng.uniform(0.0, 2 * math.pi)
    points, limits = [home], list[float]()

    def go(length_km: float, limit_kmh: float, turn: float) -> None:
        points.append(destination(points[-1], bearing + rng.uniform(-turn, turn), length_km))
        limits.append(limit_kmh)

    town_km = min(reach_km, rng.uniform(3.0, 6.0))
    blocks = rng.randint(2, 4)
    for _ in range(blocks):
        go(town_km / 2 / blocks, rng.choice(URBAN_LIMITS_KMH), 0.9)
    if reach_km > town_km:
        stretches = 1 + int((reach_km - town_km) // 20)
        for _ in range(stretches):
            go((reach_km - town_km) / stretches, rng.choice(MOTORWAY_LIMITS_KMH), 0.25)
    for _ in range(blocks):
        go(town_km / 2 / blocks, rng.choice(URBAN_LIMITS_KMH), 0.9)
    return DrivenRoute(points, limits)


def destination(origin: tuple[float, float], bearing: float, distance_km: float) -> tuple[float, float]:
    """The point ``distance_km`` from ``origin`` (degrees) when leaving at ``bearing`` (radians from north)."""
    angle = distance_km / EARTH_RADIUS_KM
    lat, lon = math.radians(origin[0]), math.radians(origin[1])
    sin_lat = math.sin(lat) * math.cos(angle) + math.cos(lat) * math.sin(angle) * math.cos(bearing)
    east = math.sin(bearing) * math.sin(angle) * math.cos(lat)
    lon += math.atan2(east, math.cos(angle) - math.sin(lat) * sin_lat)
    return math.degrees(math.asin(sin_lat)), (math.degrees(lon) + 540.0) % 360.0 - 180.0


def _unit_vector(latitude: float, longitude: float) -> tuple[float, float, float]:
    lat, lon = math.radians(latitude), math.radians(longitude)
    return math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)
