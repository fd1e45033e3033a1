"""The sections ``[limits]`` and ``[timestamps]``: what a reading may contain, and how its time may be written."""

from __future__ import annotations

import sys
import zoneinfo
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from voltd import readings
from voltd.config import section, topics

Days = Annotated[int, Field(ge=1, le=36_500)]  # at most a hundred years
_LARGEST_BYTES = (1 << 28) - 1  # MQTT 5, 1.5.5: no packet is larger


def _known_fields(ignore: dict[str, Any]) -> dict[str, Any]:
    for name in ignore:
        if name not in readings.names():
            raise ValueError(f"{name!r} is no field of a reading: one of {', '.join(sorted(readings.names()))}")
    return ignore


def _zone(name: str) -> str:
    try:
        if name != "UTC":  # known without tzdata, too
            zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"{name!r} is no time zone of this machine: write an IANA name like Europe/Berlin (package tzdata has them)"
        ) from None
    return name


def _number_or_text(value: Any) -> Any:
    if value.__class__ is str or (value.__class__ in (int, float) and abs(value) <= sys.float_info.max):
        return value
    raise ValueError("should be a number or a text")


Zone = Annotated[str, pydantic.AfterValidator(_zone)]
_Sentinel = Annotated[float | str, pydantic.BeforeValidator(_number_or_text)]


class Limits(section.Section):
    """Limits of a reading; a reading or field beyond them is a dead letter."""

    max_payload_bytes: Annotated[int, Field(ge=1024, le=_LARGEST_BYTES)] = 4 << 20
    max_array_readings: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    max_future_s: Annotated[int, Field(ge=0, le=86400)] = 300
    max_age_days: Days | None = None
    max_held_bytes: Annotated[int, Field(ge=1 << 20)] = 64 << 20
    bad_field: Literal["omit", "reject"] = "omit"
    numbers_as_text: bool = True
    negative_is_returned: bool = False
    ignore: Annotated[dict[str, tuple[_Sentinel, ...]], pydantic.AfterValidator(_known_fields)] = Field(
        default_factory=dict
    )


class Timestamps(section.Section):
    """How devices may write times, beside RFC 3339 with offset."""

    epoch: bool = True
    zone: dict[topics.Filter, Zone] = Field(default_factory=dict)
