"""The registry of a simulated fleet, and how it is written to the database.

``fleet`` makes a ``Registry``; ``voltd demo`` and tests write it with ``write_registry``. Readings of unregistered
devices are stored, too, but efficiency needs to know which meter feeds which vehicle.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, NamedTuple

import psycopg

from voltd.database import queries


class FleetRow(NamedTuple):
    """A row of ``volt.fleet``."""

    fleet_id: str
    name: str
    manager: str


class VehicleRow(NamedTuple):
    """A row of ``volt.vehicle``."""

    vehicle_id: str
    fleet_id: str
    vin: str
    model: str
    status: str


class MeterRow(NamedTuple):
    """A row of ``volt.meter``."""

    meter_id: str
    location: str


class LinkRow(NamedTuple):
    """A row of ``volt.vehicle_meter``, valid from ``since`` (aware) on."""

    vehicle_id: str
    meter_id: str
    location: str
    since: dt.datetime


class Registry(NamedTuple):
    """All rows, in the order that foreign keys require."""

    fleets: list[FleetRow]
    vehicles: list[VehicleRow]
    meters: list[MeterRow]
    links: list[LinkRow]


def write_registry(connection: psycopg.Connection[Any], registry: Registry) -> None:
    """Inserts the missing rows in one transaction; writing them again changes nothing.

    Needs INSERT on the four registry tables. Blocks; on return it is committed (or part of the caller's transaction).

    Raises:
        psycopg.Error: nothing was written.
    """
    with connection.transaction():
        for name, rows in (
            ("register_fleets", registry.fleets),
            ("register_vehicles", registry.vehicles),
            ("register_meters", registry.meters),
            ("register_links", registry.links),
        ):
            if rows:
                columns = map(list, zip(*rows, strict=True))
                connection.execute(queries.text(name), dict(zip(rows[0]._fields, columns, strict=True)))
