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
_MOST_WAITING = 2_000  # messages of one node
Waiting = tuple[models.Message, Any, dt.datetime]  # a message, its route, and until when it waits
_TICK = dt.timedelta(microseconds=1)


@dataclasses.dataclass(slots=True)
class Group:
    """What one device said within a moment.

    Attributes:
        key: its type and id.
        at: the time of the reading, aware UTC.
        arrived_at: when the first of it arrived.
        due: when the moment is over.
        messages: that it came in, at least one.
        columns: of the reading; None is missing.
        redelivered: all of its messages are: of several values of a field only the last one counts, as nobody knows
            their times, and some may be stored already.
        parts: of columns that are sums over messages: by column the values by part, and how many belong together.
    """

    key: Key
    at: dt.datetime
    arrived_at: dt.datetime
    due: dt.datetime
    messages: list[models.Message]
    columns: list[Any]
    bad: list[tuple[models.Message, fields.Refusal]] = dataclasses.field(default_factory=list)
    redelivered: bool = False
    parts: dict[int, tuple[dict[int, float], int]] = dataclasses.field(default_factory=dict)

    def takes(self, message: models.Message, more: taken.Taken) -> bool:
        """Whether it can have these values too: none of them is there with another value, and no part of a sum."""
        if self.redelivered or message.redelivered:
            return self.redelivered and message.redelivered
        for there, value in zip(self.columns, more.columns, strict=True):
            if value is not None and there is not None and there != value:
                return False
        # A part that comes once more is of the next sum, even where its value is the same.
        return not any(part in self.parts.get(column, ({}, 0))[0] for column, part, _, _ in more.parts)

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
        self._born: set[str] = set()

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
        if group is not None and (message.received_at >= group.due or not group.takes(message, one)):
            self.end(key)
            group = None
        if group is None:
            arrived_at, nothing = message.received_at, [None] * len(one.columns)
            group = Group(key, self.moment(key, arrived_at), arrived_at, arrived_at + within, [], nothing)
            group.redelivered = message.redelivered
            self._groups[key] = group
        group.add(message, one)

    def end(self, key: Key) -> None:
        """What the device says from now on is another reading."""
        if key in self._groups:
            self._ended.append(self._groups.pop(key))

    def wait(self, node: str, waiting: Waiting) -> bool:
        """Keeps a message until its node is heard, or its time is over; False: too many of that node wait already."""
        some = self._waiting.setdefault(node, [])
        if len(some) >= _MOST_WAITING:
            return False
        some.append(waiting)
        return True

    def heard(self, node: str) -> None:
        """A birth of the node has come: what waits for it may be readable."""
        if node in self._waiting:
            self._born.add(node)

    def born(self) -> Iterator[tuple[str, list[Waiting]]]:
        """Takes out the messages of the nodes of which a birth has come since the last call."""
        born, self._born = self._born, set()
        for node in born:
            yield node, self._waiting.pop(node, [])

    def waited(self, node: str) -> list[Waiting]:
        """Takes out the messages of a node."""
        return self._waiting.pop(node, [])

    def overdue(self, now: dt.datetime | None) -> list[Waiting]:
        """Takes out the messages whose time is over, with all of their node; None: all of them."""
        over = [node for node, some in self._waiting.items() if now is None or some[0][2] <= now]
        return [one for node in over for one in self._waiting.pop(node)]

    def complete(self, now: dt.datetime | None) -> Iterator[Group]:
        """Takes out the groups whose moment is over; None: all of them."""
        over = [key for key, group in self._groups.items() if now is None or group.due <= now]
        groups = [*self._ended, *(self._groups.pop(key) for key in over)]
        self._ended = []
        yield from groups

    def moment(self, key: Key, arrived_at: dt.datetime) -> dt.datetime:
        """The time of a reading that arrived then.

        What is read from the socket together arrived together, and each reading needs a time of its own.
        """
        at = max(arrived_at, self._last.get(key, arrived_at - _TICK) + _TICK)
        if len(self._last) >= _MOST_DEVICES:  # invented ids must not fill the memory
            self._last.clear()
        self._last[key] = at
        return at
