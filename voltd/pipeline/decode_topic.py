"""Which device type and device id a topic stands for, by the filters of the settings.

The answer is remembered per topic: a fleet uses the same topics again and again. Pure, no I/O.
"""

from __future__ import annotations

from typing import NamedTuple

from paho.mqtt import client as paho

from voltd import config, models

_REMEMBERED = 200_000


class Route(NamedTuple):
    """What a topic carries: ``device_type`` None is the envelope topic, ``device_id`` None where no level names it."""

    device_type: models.DeviceType | None
    device_id: str | None


class TopicTable:
    """The settings' topic filters, asked by topic."""

    def __init__(self, topics: config.Topics) -> None:
        typed: list[tuple[str, models.DeviceType | None]] = [
            *((topic_filter, models.DeviceType.VEHICLE) for topic_filter in topics.vehicle),
            *((topic_filter, models.DeviceType.METER) for topic_filter in topics.meter),
            *((topic_filter, None) for topic_filter in topics.ingest),
        ]
        self._filters = [(_shared_with_nobody(topic_filter), device_type) for topic_filter, device_type in typed]
        self._known: dict[str, Route | None] = {}

    def route(self, topic: str) -> Route | None:
        """The first filter that matches decides; None where none does."""
        try:
            return self._known[topic]
        except KeyError:
            if len(self._known) >= _REMEMBERED:  # a stream of invented topics must not fill the memory
                self._known.clear()
            found = self._known[topic] = self._find(topic)
            return found

    def _find(self, topic: str) -> Route | None:
        for topic_filter, device_type in self._filters:
            if paho.topic_matches_sub(topic_filter, topic):
                return Route(device_type, _id_in(topic_filter, topic) if device_type else None)
        return None


def _shared_with_nobody(topic_filter: str) -> str:
    """The filter of a shared subscription, ``$share/<group>/<filter>`` (MQTT 5, 4.8.2)."""
    return topic_filter.split("/", 2)[2] if topic_filter.startswith("$share/") else topic_filter


def _id_in(topic_filter: str, topic: str) -> str | None:
    """The level of the topic that the filter's last ``+`` stands for."""
    levels = topic_filter.split("/")
    if "+" not in levels:
        return None
    position = len(levels) - 1 - levels[::-1].index("+")
    return topic.split("/")[position]
