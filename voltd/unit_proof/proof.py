"""What the values of one device say about each other's units. Pure.

Which one of two is wrong cannot be known, so the words name both. ``docs/devices.md`` says what evidence it takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from voltd import readings
from voltd.readings import DeviceType
from voltd.unit_proof import charge, compare, energy, road, sums

LASTING = compare.Evidence(900.0, 8, 5.0, moved=True)
BRIEF = compare.Evidence(15.0, 4, 0.3, moved=False)  # for people who look at what they publish
Series = Mapping[str, Sequence[sums.Point]]

_OTHERS = {
    DeviceType.VEHICLE: ("soc_pct", "speed_kmh", "latitude", "longitude", "odometer_km", "charging_power_kw"),
    DeviceType.METER: ("power_kw",),
}
COLUMNS = {
    device_type: tuple(
        column
        for column, field in readings.fields(device_type).items()
        if field.unit == "kWh" or column in _OTHERS[device_type]
    )
    for device_type in DeviceType
}


def series(device_type: DeviceType, rows: Iterable[Sequence[float | None]]) -> Series:
    r"""Values by column, out of the rows of one device.

    Args:
        device_type: of the device.
        rows: (seconds since 1970, \*values of ``COLUMNS``), oldest first; None: no such value.
    """
    columns: list[list[sums.Point]] = [[] for _ in COLUMNS[device_type]]
    for at, *values in rows:
        for points, value in zip(columns, values, strict=True):
            if value is not None and at is not None:
                points.append((at, value))
    return dict(zip(COLUMNS[device_type], columns, strict=True))


def of_readings(device_type: DeviceType, given: Iterable[readings.Reading]) -> Series:
    """Values by column, out of the readings of one device in any order."""
    columns = COLUMNS[device_type]
    ordered = sorted(given, key=lambda one: one.recorded_at)
    return series(
        device_type,
        ([one.recorded_at.timestamp(), *(getattr(one, column) for column in columns)] for one in ordered),
    )


def verdicts(device_type: DeviceType, given: Series, evidence: compare.Evidence = LASTING) -> list[compare.Verdict]:
    """What is certain of the units of one device's values, right or wrong; nothing of those that cannot be compared.

    Args:
        device_type: of the device.
        given: its values by column, oldest first.
        evidence: how much is enough.
    """
    found = [*energy.verdicts(device_type, given, evidence)]
    if device_type is DeviceType.VEHICLE:
        found += [*road.verdicts(given, evidence), *charge.verdicts(given, evidence)]
    return found


def suspicions(device_type: DeviceType, given: Series, evidence: compare.Evidence = LASTING) -> list[compare.Verdict]:
    """As ``verdicts``, of values whose unit is wrong."""
    return [one for one in verdicts(device_type, given, evidence) if one.words]
