"""Ids of devices that consist of several meters: the connectors of a charging station, the components of a Shelly."""

from __future__ import annotations

import re

_LIKE_A_PART = re.compile(r"-(?:0|[1-9][0-9]{0,3})\Z", re.ASCII)


def part_id(device_id: str, number: int) -> str:
    """The id of part ``number``, 0 to 9999; no other part of any device has it.

    Part 0 is the device itself and has its id, part 1 of ``CP`` is ``CP-1``. A device whose own id ends like that of a
    part has its 0 written: the device ``CP-1`` is ``CP-1-0``.
    """
    if number or _LIKE_A_PART.search(device_id):
        return f"{device_id}-{number}"
    return device_id
