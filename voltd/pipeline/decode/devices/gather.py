"""Gather: the values of one device that arrive within a moment become one reading, dated by its arrival.

Families that send one value a message without a time need it. A message stays unacked until the reading that has its
value is committed. Messages that cannot be read before another one has arrived wait here, too. Pure: time is that of
the messages, or the caller's.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator
from typing import Any

from voltd import models, readings
from voltd.pipeline.decode import fields
from voltd.pipeline.decode.devices import taken
from voltd.readings import DeviceType

Key = tuple[DeviceType, str]
_LATITUDE, _LONGITUDE = map(list(readings.fields(DeviceType.VEHICLE)).index, ("latitude", "longitude"))
_MOST_DEVICES = 200_000
Waiting = tuple[models.Message, Any, dt.datetime]  # a message, its route, and until when it waits
_TICK = dt.timedelta(microseconds=1)


@dataclasses.dataclass(slots=True)
class Group:
    """What one device said within a moment.

    Attributes:
        key: its type and id.
        at: when the first of it arrived, aware UTC.
        due: when the moment is over.
        messages: that it came in, at least one.
        columns: of the reading; None is missing.
        parts: of columns that are sums over messages: by column the values by part, and how many belong together.
    """

    key: Key
    at: dt.datetime
    due: dt.datetime
    messages: list[models.Message]
    columns: list[Any]
    bad: list[tuple[models.Message, fields.Refusal]] = dataclasses.field(default_factory=list)
    parts: dict[int, tuple[dict[int, float], int]] = dataclasses.field(default_factory=dict)

    def takes(self, more: taken.Taken) -> bool:
        """Whether it can have these values too: none of them is there with another value."""
        for there, value in zip(self.columns, more.columns, strict=True):
            if value is not None and there is not None and there != value:
                return False
        return not more.parts or all(
            self.parts.get(column, ({}, 0))[0].get(part, value) == value for column, part, _, value in more.parts
        )

    def add(self, message: models.Message, more: taken.Taken) -> None:
        """Adds the values of a message."""
        self.messages.append(message)
        for place, value in enumerate(more.columns):
            if value is not None:
                self.columns[place] = value
        for column, part, parts, value in more.parts:
            self.parts.setdefault(column, ({}, parts))[0][part] = value
        self.bad += [(message, one) for one in more.bad]

    def summed(self) -> list[Any]:
        """The columns, with the sums of which every part is there, without a position of 0, 0."""
        columns = list(self.columns)
        for column, (values, parts) in self.parts.items():
            if len(values) == parts:
                columns[column] = sum(values[part] for part in sorted(values))
        if self.key[0] is DeviceType.VEHICLE and columns[_LATITUDE] == 0 == columns[_LONGITUDE]:
            columns[_LATITUDE] = columns[_LONGITUDE] = None
        return columns


class Gather:
    """The groups that are not complete yet, in the order of their first messages."""

    def __init__(self) -> None:
        self._groups: dict[Key, Group] = {}
        self._last: dict[Key, dt.datetime] = {}
        self._ended: list[Group] = []
        self._waiting: dict[str, list[Waiting]] = {}

    @property
    def held(self) -> bool:
        """Whether any message waits."""
        return bool(self._groups or self._ended or self._waiting)

    @property
    def due(self) -> dt.datetime | None:
        """When the next group is complete, or a message has waited for long enough; None: there is none."""
        if self._ended:
            return self._ended[0].at
        waiting = [some[0][2] for some in self._waiting.values()]
        return min([*waiting, *(group.due for group in self._groups.values())], default=None)

    def add(self, message: models.Message, one: taken.Taken, within: dt.timedelta) -> None:
        """Adds what a message said. Another value for a field that is there begins a new reading."""
        key = (one.device_type, one.device_id)
        group = self._groups.get(key)
        if group is not None and (message.received_at >= group.due or not group.takes(one)):
            self._ended.append(self._groups.pop(key))
            group = None
        if group is None:
            group = Group(key, message.received_at, message.received_at + within, [], [None] * len(one.columns))
            self._groups[key] = group
        group.add(message, one)

    def wait(self, node: str, waiting: Waiting) -> None:
        """Keeps a message until its node is heard, or its time is over."""
        self._waiting.setdefault(node, []).append(waiting)

    def waited(self, node: str) -> list[Waiting]:
        """Takes out the messages of a node."""
        return self._waiting.pop(node, [])

    def overdue(self, now: dt.datetime | None) -> list[Waiting]:
        """Takes out the messages whose time is over, with all of their node; None: all of them."""
        over = [node for node, some in self._waiting.items() if now is None or some[0][2] <= now]
        return [one for node in over for one in self._waiting.pop(node)]

    def complete(self, now: dt.datetime | None) -> Iterator[tuple[Group, dt.datetime]]:
        """Takes out the groups whose moment is over, each with the time of its reading; None: all of them."""
        over = [key for key, group in self._groups.items() if now is None or group.due <= now]
        groups = [*self._ended, *(self._groups.pop(key) for key in over)]
        self._ended = []
        for group in groups:
            yield group, self.moment(group.key, group.at)

    def moment(self, key: Key, arrived_at: dt.datetime) -> dt.datetime:
        """The time of a reading that arrived then.

        What is read from the socket together arrived together, and each reading needs a time of its own.
        """
        at = max(arrived_at, self._last.get(key, arrived_at - _TICK) + _TICK)
        if len(self._last) >= _MOST_DEVICES:  # invented ids must not fill the memory
            self._last.clear()
        self._last[key] = at
        return at
