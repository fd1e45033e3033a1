"""The registry of devices as the rules see it: fleet, model and status. Part of ``inputs``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import psycopg

from voltd.database import queries
from voltd.rules import observation, scope


def devices(
    connection: psycopg.Connection[Any], keys: Iterable[observation.DeviceKey]
) -> dict[observation.DeviceKey, scope.Device]:
    """The devices that are registered."""
    ids: dict[str, list[str]] = {"vehicle": [], "meter": [], "system": []}
    for device_type, device_id in keys:
        ids[device_type].append(device_id)
    if not (ids["vehicle"] or ids["meter"]):
        return {}
    wanted = {"vehicles": ids["vehicle"], "meters": ids["meter"]}
    return {row[:2]: scope.Device(*row) for row in connection.execute(queries.text("registry_of_devices"), wanted)}


def with_notes(
    registry: Mapping[observation.DeviceKey, scope.Device], notes: Mapping[observation.DeviceKey, str]
) -> dict[observation.DeviceKey, scope.Device]:
    """The devices of which there is something to say."""
    return {key: (registry.get(key) or scope.Device(*key))._replace(note=note) for key, note in notes.items()}
