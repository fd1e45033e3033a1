"""Whether the fields of an own description ever have a value: a path that never matches is a mistake nobody notices.

One thread writes, any may read. Costs a count a message once every field has had a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from voltd import readings
from voltd.pipeline.decode.devices import description
from voltd.readings import DeviceType

if TYPE_CHECKING:  # it leads to the decoder, which leads back here; the daemon's status needs this module alone
    from voltd.pipeline.decode.devices import taken

TIME = "time"


class Silent(NamedTuple):
    """A field that has had no value.

    Attributes:
        family: whose description it is in.
        field: voltd's name, or ``time``.
        path: where the description says it is.
        messages: how many had none.
    """

    family: str
    field: str
    path: str
    messages: int

    def __str__(self) -> str:
        return f"{self.family}: {self.field} (path {self.path}) has had no value in {self.messages} messages"


class Watch:
    """The fields of the messages of one topic pattern; of Sparkplug those of all its messages.

    Args:
        family: the description's name.
        device_type: whose fields they are.
    """

    def __init__(self, family: str, device_type: DeviceType) -> None:
        self._family = family
        fields = list(readings.fields(device_type).values())
        self._places = {field.wire: place for place, field in enumerate(fields)}
        self._also = {field.wire: self._places[field.returned] for field in fields if field.returned in self._places}
        self._paths: dict[str, list[str]] = {}
        self._messages = 0

    def add(self, message: description.Message) -> None:
        """More fields to watch."""
        if isinstance(message, description.Document):
            for name, source in message.fields.items():
                self._want(name, source.paths)
            if message.time:
                self._want(TIME, (message.time,))
        elif isinstance(message, description.Value):
            self._want(message.field, (message.path or message.topic,))
        elif isinstance(message, description.Special):
            for name, metric in message.fields.items():
                self._want(name, metric.names)

    def _want(self, name: str, paths: Sequence[str]) -> None:
        known = self._paths.setdefault(name, [])
        known += [path for path in paths if path not in known]

    def see(self, found: Sequence[taken.Taken]) -> None:
        """Takes what one message said into account."""
        self._messages += 1
        if self._paths:
            for one in found:
                for name in [name for name in self._paths if self._has(one, name)]:
                    del self._paths[name]

    def _has(self, one: taken.Taken, name: str) -> bool:
        if name == TIME:
            return one.at is not None
        places = (self._places[name], self._also.get(name))
        return (
            any(place is not None and one.columns[place] is not None for place in places)
            or any(part[0] in places for part in one.parts)
            or any(refused.field == name for refused in one.bad)
        )

    def silent(self, least: int) -> list[Silent]:
        """The fields that have had no value in at least so many messages."""
        count = self._messages
        if count < least:
            return []
        return [Silent(self._family, name, ", ".join(paths), count) for name, paths in list(self._paths.items())]
