"""Sides of scenarios in a database: what the registry says of the device, and its readings as rows."""

import datetime as dt
from typing import Any

import psycopg

from support.energy import model
from support.schema import meter, vehicle
from voltd import models


def register(connection: psycopg.Connection[Any], device: str, kind: str, side: model.Side) -> None:
    """Puts the device into the registry; ``kind`` is vehicle, meter, or onboard, a vehicle's charger."""
    of = side.device
    table, column = ("vehicle", "onboard_register_kind") if kind == "onboard" else (kind, "register_kind")
    connection.execute(
        f"INSERT INTO volt.{table} ({table}_id, interval_s, max_power_kw, {column}) VALUES (%s, %s, %s, %s)",
        (device, of.interval_s, of.max_power_kw, of.kind.replace("register", "total")),
    )


def readings(device: str, kind: str, side: model.Side, moved: dt.timedelta = dt.timedelta()) -> list[models.Reading]:
    """Its readings, later by ``moved``; two of one time are one row. An on-board charger has no interval energy."""
    rows: dict[dt.datetime, tuple[float | None, float | None]] = {}
    for one in side.readings:
        kwh, register_kwh = rows.get(one.at, (None, None))
        rows[one.at] = (
            one.interval_kwh if kwh is None else kwh,
            one.register_kwh if register_kwh is None else register_kwh,
        )
    if kind == "onboard":
        return [vehicle(device, at + moved, onboard=kwh) for at, (_, kwh) in rows.items() if kwh is not None]
    make = meter if kind == "meter" else vehicle
    return [make(device, at + moved, kwh=kwh, register=register_kwh) for at, (kwh, register_kwh) in rows.items()]
