"""The sections ``[devices.<family>]``: device families that publish in a format of their own."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from voltd import readings
from voltd.config import limits, section

DeviceId = Annotated[str, Field(min_length=1, max_length=readings.ID_LENGTH)]


class DeviceFamily(section.Section):
    """One device family; without settings it publishes where its description says."""

    topics: tuple[Annotated[str, Field(min_length=1, max_length=1024)], ...] = ()
    id: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    ids: dict[str, DeviceId] = Field(default_factory=dict)
    zone: limits.Zone | None = None
    gather_s: Annotated[float, Field(ge=0, le=60)] = 1.0
