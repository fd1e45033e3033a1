"""A world in a database, as the daemon stores it."""

from typing import Any, cast

from support.energy import sides
from support.schema import Connection, link, store
from support.sessions.model import World
from voltd import models


def put(connection: Connection, vehicle: str, world: World) -> None:
    """The vehicle, its meters (VEHICLE-M-0, ...), their links and all readings, in the order of the world."""
    connection.execute(
        "INSERT INTO volt.vehicle (vehicle_id, interval_s, max_power_kw) VALUES (%s, %s, %s)",
        (vehicle, world.device.interval_s, world.device.max_power_kw),
    )
    for number, meter in enumerate(world.meters):
        name = f"{vehicle}-M-{number}"
        sides.register(connection, name, "meter", meter.side)
        link(connection, vehicle, name, meter.since, meter.until)
        store(connection, sides.readings(name, "meter", meter.side), size=1000)
    store(connection, readings(vehicle, world), size=1000)


def readings(vehicle: str, world: World) -> list[models.Reading]:
    """The vehicle's rows."""
    rows: list[Any] = []
    for one in world.readings:
        values = {
            "vehicle_id": vehicle, "recorded_at": one.at, "received_at": one.at, "charging_status": one.word,
            "charging_power_kw": one.power_kw, "speed_kmh": one.speed_kmh, "odometer_km": one.odometer_km,
            "kwh_delivered_dc": one.interval_kwh, "dc_register_kwh": one.register_kwh,
            "kwh_returned_dc": one.returned_kwh, "soc_pct": one.soc_pct, "battery_temp_c": one.battery_temp_c,
            "latitude": one.latitude, "longitude": one.longitude, "ac_register_kwh": one.onboard_kwh,
        }  # fmt: skip
        rows.append(models.VehicleReading(**cast("Any", dict.fromkeys(models.VehicleReading._fields) | values)))
    return rows
