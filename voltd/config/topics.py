"""The section ``[mqtt.topics]``: the topic filters, by what is published there."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Annotated, Self

import pydantic
from pydantic import Field

from voltd.config import section


def _topic_filter(text: str) -> str:
    """MQTT 5, 4.7.1: ``#`` is the last level alone, ``+`` a level alone; 4.8.2: ``$share/<group>/<filter>``."""
    levels = text.split("/")
    if levels[0] == "$share":
        if len(levels) < 3 or not levels[1] or not levels[2] or set(levels[1]) & set("+#"):  # noqa: PLR2004
            raise ValueError(f"{text!r} is no shared subscription: write $share/<group>/<filter>")
        levels = levels[2:]
    if any("#" in level for level in levels[:-1]) or ("#" in levels[-1] and levels[-1] != "#"):
        raise ValueError(f"{text!r} is no topic filter: # may only be the whole last level")
    if any("+" in level and level != "+" for level in levels):
        raise ValueError(f"{text!r} is no topic filter: + may only be a whole level")
    return text


def _levels(topic_filter: str) -> list[str]:
    """The levels of a filter, without the prefix of a shared subscription."""
    levels = topic_filter.split("/")
    return levels[2:] if levels[0] == "$share" else levels


def _overlap(one: list[str], other: list[str]) -> bool:
    """Whether a topic can match both filters (MQTT 5, 4.7.1.2: ``#`` is also the level above it)."""
    for mine, yours in zip(one, other, strict=False):
        if "#" in (mine, yours):
            return True
        if mine != yours and "+" not in (mine, yours):
            return False
    longer = max(one, other, key=len)[min(len(one), len(other)) :]
    return longer in ([], ["#"])


def overlapping(filters: Sequence[str]) -> tuple[int, int] | None:
    """The places of the first two filters that one topic can match; None: there are none."""
    return _first_pair(filters, _overlap)


def covering(filters: Sequence[str]) -> tuple[int, int] | None:
    """The places of the first two filters of which one matches every topic of the other; None: there are none.

    Filters like ``+/online`` and ``zigbee2mqtt/+`` meet in one topic alone, which no device has: they are no mistake.
    """
    return _first_pair(filters, lambda one, other: _covers(one, other) or _covers(other, one))


def _first_pair(filters: Sequence[str], collide: Callable[[list[str], list[str]], bool]) -> tuple[int, int] | None:
    levels = [_levels(one) for one in filters]
    for one, other in itertools.combinations(range(len(filters)), 2):
        mine, yours = levels[one], levels[other]
        # 4.7.2: a wildcard at the beginning matches no topic that begins with $
        system = any(name.startswith("$") for name in (mine[0], yours[0]))
        if (mine[0] == yours[0] or not system) and collide(mine, yours):
            return one, other
    return None


def _covers(one: list[str], other: list[str]) -> bool:
    for place, level in enumerate(one):
        if level == "#":
            return True
        if place >= len(other) or other[place] == "#" or level not in ("+", other[place]):
            return False
    return len(one) == len(other)


def empty_level(topic: str) -> str | None:
    """What an empty level of a topic or filter means; None: it has none. MQTT 5, 4.7.3: slashes count as they are."""
    levels = topic.split("/")
    if "" not in levels:
        return None
    where = (
        "begins with a slash"
        if not levels[0]
        else "ends with a slash"
        if not levels[-1]
        else "has two slashes in a row"
    )
    return f"{where}: a level of its own, which only topics have that are written like that"


Filter = Annotated[str, Field(min_length=1, max_length=1024), pydantic.AfterValidator(_topic_filter)]


class Topics(section.Section):
    """MQTT topic filters by what is published there. In a device filter the last ``+`` is the device id."""

    vehicle: tuple[Filter, ...] = ("volt/vehicle/+/telemetry",)
    meter: tuple[Filter, ...] = ("volt/meter/+/telemetry",)
    ingest: tuple[Filter, ...] = ("volt/ingest",)

    @pydantic.model_validator(mode="after")
    def _no_filter_twice(self) -> Self:
        every = [*self.vehicle, *self.meter, *self.ingest]
        if not every:
            raise ValueError("no topic filter at all: name at least one")
        twice = sorted({name for name in every if every.count(name) > 1})
        if twice:
            raise ValueError(f"{twice[0]!r} is named twice: each filter belongs to one device type")
        if pair := overlapping(every):
            one, other = (every[place] for place in pair)
            raise ValueError(
                f"{one!r} and {other!r} overlap: the broker may send a message that matches both twice; "
                "write filters of which each topic matches one"
            )
        return self

    def may_match(self, topic_filter: str) -> bool:
        """Whether a topic that is subscribed to can match the filter, too."""
        levels = _levels(topic_filter)
        return any(_overlap(levels, _levels(one)) for one in (*self.vehicle, *self.meter, *self.ingest))
