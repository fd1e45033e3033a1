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


_PLACES = {one: {field.wire: at for at, field in enumerate(readings.fields(one).values())} for one in DeviceType}
_RETURNED = {field.wire: field.returned for one in DeviceType for field in readings.fields(one).values()}
_Key = tuple[DeviceType, str]


class Watch:
    """The fields of the messages of one topic pattern; of Sparkplug those of all its messages.

    Args:
        family: the description's name.
    """

    def __init__(self, family: str) -> None:
        self._family = family
        self._paths: dict[_Key, list[str]] = {}
        self._messages = 0

    def add(self, message: description.Message, device_type: DeviceType) -> None:
        """More fields to watch, of this device type."""
        if isinstance(message, description.Document):
            for name, source in message.fields.items():
                self._want((device_type, name), source.paths)
            if message.time:
                self._want((device_type, TIME), (message.time,))
        elif isinstance(message, description.Value):
            self._want((device_type, message.field), (message.path or message.topic,))
        elif isinstance(message, description.Special):
            for name, metric in message.fields.items():
                self._want((device_type, name), metric.names)

    def _want(self, key: _Key, paths: Sequence[str]) -> None:
        known = self._paths.setdefault(key, [])
        known += [path for path in paths if path not in known]

    def see(self, found: Sequence[taken.Taken]) -> None:
        """Takes what one message said into account."""
        self._messages += 1
        if self._paths:
            for one in found:
                for key in [key for key in self._paths if key[0] is one.device_type and _has(one, key[1])]:
                    del self._paths[key]

    def silent(self, least: int) -> list[Silent]:
        """The fields that have had no value in at least so many messages."""
        count = self._messages
        if count < least:
            return []
        return [Silent(self._family, name, ", ".join(paths), count) for (_, name), paths in list(self._paths.items())]


def _has(one: taken.Taken, name: str) -> bool:
    if name == TIME:
        return one.at is not None
    known = _PLACES[one.device_type]
    places = (known[name], known.get(_RETURNED[name] or ""))  # a negative value may count for its twin
    return (
        any(place is not None and one.columns[place] is not None for place in places)
        or any(part[0] in places for part in one.parts)
        or any(refused.field == name for refused in one.bad)
    )
