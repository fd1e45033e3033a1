"""Which device type and device id a topic stands for, by the filters of the settings.

Answers are cached by topic, as a fleet uses the same ones again and again. Pure, no I/O.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Mapping
from typing import NamedTuple

from voltd import config, models
from voltd.pipeline import room
from voltd.pipeline.decode.devices import claims, families, pattern

_MOST_CACHED = 200_000
_MOST_CACHED_BYTES = 256 << 20
_COPIES = 3  # of a topic that an entry has at most: itself, its id, its levels


class Route(NamedTuple):
    """What a topic carries.

    Attributes:
        device_type: None: it is the envelope topic.
        device_id: None where no level names it.
        family: who reads its messages; None: they are voltd's own format.
    """

    device_type: models.DeviceType | None
    device_id: str | None
    family: families.FamilyRoute | None = None


class TopicTable:
    """The settings' topic filters, asked by topic.

    Args:
        topics: by what is published there.
        zones: IANA names of time zones by topic filter; the first that matches counts.
        others: device families with formats of their own; None: there are none.

    Attributes:
        families: the same.
    """

    def __init__(
        self,
        topics: config.Topics,
        zones: Mapping[str, str] | None = None,
        others: families.Families | None = None,
    ) -> None:
        self.families = others or families.Families(())
        typed: list[tuple[str, models.DeviceType | None]] = [
            *((topic_filter, models.DeviceType.VEHICLE) for topic_filter in topics.vehicle),
            *((topic_filter, models.DeviceType.METER) for topic_filter in topics.meter),
            *((topic_filter, None) for topic_filter in topics.ingest),
        ]
        self._filters = [(_expression(topic_filter), device_type) for topic_filter, device_type in typed]
        self._zones = [(_expression(one), zoneinfo.ZoneInfo(name)) for one, name in (zones or {}).items()]
        self._known: dict[str, Route | None] = {}
        self._room = room.Room(_MOST_CACHED, _MOST_CACHED_BYTES)

    def route(self, topic: str) -> Route | None:
        """The first filter that matches decides; None where none does."""
        try:
            return self._known[topic]
        except KeyError:
            found = self._find(topic)
            if self._room.take(self._known, _COPIES * len(topic)):
                self._known[topic] = found
            return found

    def zone(self, topic: str) -> zoneinfo.ZoneInfo | None:
        """What times without offset are in that come on this topic; None: not set."""
        return next((zone for expression, zone in self._zones if expression.fullmatch(topic)), None)

    def _find(self, topic: str) -> Route | None:
        if "\0" in topic:  # forbidden (MQTT 5, 1.5.4-2), and no id that PostgreSQL could hold
            return None
        for expression, device_type in self._filters:
            if found := expression.fullmatch(topic):
                device_id = found["id"] if device_type and "id" in expression.groupindex else None
                if device_type is not None and device_id is not None:
                    self.families.claims.note(device_type, device_id, claims.OWN, topic)
                return Route(device_type, device_id)
        family = self.families.find(topic)
        return Route(family.device_type, family.device_id, family) if family else None


def _expression(topic_filter: str) -> re.Pattern[str]:
    """A topic filter (MQTT 5, 4.7) as a regular expression, with the level of its last ``+`` as ``id``.

    Of a shared subscription, ``$share/<group>/<filter>`` (4.8.2), the filter counts.
    """
    levels = (topic_filter.split("/", 2)[2] if topic_filter.startswith("$share/") else topic_filter).split("/")
    last = max((position for position, level in enumerate(levels) if level == "+"), default=None)
    return pattern.expression(levels, {} if last is None else {last: "id"})
