"""The device families that a simulated fleet speaks, and who of it speaks which.

``fleet`` asks once a device; ``voltd.commands.simulate`` prints the settings that take the fleet. Pure.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from voltd import errors
from voltd.models import DeviceType
from voltd.simulate.families import meters, smart_meters, sparkplug, vehicles
from voltd.simulate.families.speaker import Family

OWN = "voltd"  # its own format, of either type
_ALL = (
    Family(
        name="ovms",
        device_type=DeviceType.VEHICLE,
        topic="ovms/voltd/{id}",
        values=vehicles.ovms,
        alive=("metric/s/v3/connected", vehicles.ovms_alive),
        retained=True,
        changes=True,
        sessions=True,
    ),
    Family(
        name="tesla",
        device_type=DeviceType.VEHICLE,
        topic="telemetry/{id}",
        values=vehicles.tesla,
        alive=("connectivity", vehicles.tesla_alive),
        alive_retained=False,
        changes=True,
        sessions=True,
    ),
    Family(
        name="teslamate",
        device_type=DeviceType.VEHICLE,
        topic="teslamate/cars/{id}",
        values=vehicles.teslamate,
        alive=("state", vehicles.teslamate_alive),
        retained=True,
        changes=True,
        sessions=True,
    ),
    Family(
        name="tasmota",
        device_type=DeviceType.METER,
        topic="tele/{id}",
        values=meters.tasmota,
        alive=("LWT", meters.tasmota_alive),
        dated=True,
        settings=(f'zone = "{meters.ZONE.key}"',),
    ),
    Family(
        name="shelly",
        device_type=DeviceType.METER,
        topic="shellies/{id}",
        values=meters.shelly,
        alive=("online", meters.shelly_alive),
    ),
    Family(
        name="zigbee2mqtt",
        device_type=DeviceType.METER,
        topic="zigbee2mqtt/{id}",
        values=meters.zigbee2mqtt,
        alive=("availability", meters.zigbee2mqtt_alive),
        dated=True,
    ),
    Family(
        name="openevse",
        device_type=DeviceType.METER,
        topic="openevse/{id}",
        values=meters.openevse,
        alive=("/openevse/announce/{id}", meters.openevse_alive),
    ),
    Family(
        name="evcc",
        device_type=DeviceType.METER,
        topic="evcc/{id}",
        values=meters.evcc,
        alive=("status", meters.evcc_alive),
        retained=True,
        settings=('id = "{site}"',),
        level="site",
    ),
    Family(
        name="ocpp",
        device_type=DeviceType.METER,
        topic="ocpp/cp/{id}",
        values=meters.ocpp,
        alive=("", meters.ocpp_alive),
        alive_retained=False,
        dated=True,
    ),
    Family(
        name="dsmr_reader",
        device_type=DeviceType.METER,
        topic="dsmr/{id}",
        values=smart_meters.dsmr_reader,
        dated=True,
        retained=True,
        settings=('id = "{id}"',),
    ),
    Family(
        name="dsmr2mqtt",
        device_type=DeviceType.METER,
        topic="dsmr2mqtt/{id}",
        values=smart_meters.dsmr2mqtt,
        dated=True,
        settings=('id = "{id}"',),
    ),
    Family(
        name="p1_dongle",
        device_type=DeviceType.METER,
        topic="P1-Dongle/{id}",
        values=smart_meters.p1_dongle,
        alive=("LWT", smart_meters.p1_dongle_alive),
        settings=('id = "{id}"',),
    ),
    Family(
        name="sparkplug",
        device_type=DeviceType.METER,
        topic=sparkplug.GROUP,
        dated=True,
        numbered=True,
        settings=('id = "{device}"',),
        speaker=sparkplug.EdgeNode,
        commands=f"{sparkplug.GROUP}/NCMD/+",
    ),
)
FAMILIES = {family.name: family for family in _ALL}


def check(names: Iterable[str]) -> None:
    """Returns if each of the names is known, and none is there twice.

    Raises:
        UsageError: one is not.
    """
    seen = set[str]()
    for name in names:
        known = [*FAMILIES, OWN]
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise errors.UsageError(
                f"--as {name}: no device family of this name" + (f"; did you mean {near[0]}?" if near else ""),
                hint=f"known: {', '.join(known)}",
            )
        if name in seen:
            raise errors.UsageError(f"--as {name} is there twice", hint="name each device family once")
        seen.add(name)


def spoken(names: Sequence[str], device_type: DeviceType, index: int) -> Family | None:
    """What the ``index``-th device of a type speaks: they are shared out evenly; None: voltd's own format."""
    own_type = [name for name in names if name == OWN or FAMILIES[name].device_type is device_type]
    if not own_type:
        return None
    # What a vehicle is doing at the start goes by index % 3; each family gets drivers, chargers and parked ones.
    return FAMILIES.get(own_type[(index // 3 + index % 3) % len(own_type)])


def settings(names: Iterable[str]) -> str:
    """The lines of voltd.toml that take a fleet of these families; empty for voltd's own format."""
    return "\n\n".join(FAMILIES[name].toml for name in names if name in FAMILIES)


def commands(names: Iterable[str]) -> list[str]:
    """Filters of the topics on which devices of these families are asked for something."""
    return [FAMILIES[name].commands for name in names if name in FAMILIES and FAMILIES[name].commands]


def undated(names: Iterable[str]) -> list[str]:
    """The families whose readings are dated by their arrival, all or some."""
    return [name for name in names if name in FAMILIES and not FAMILIES[name].dated]
