"""Which source each device id comes from: the readings of two devices under one id would be mixed into one.

A source is a device as its topics distinguish it. For one thread; bounded.
"""

from __future__ import annotations

from voltd import models
from voltd.pipeline import room
from voltd.readings import DeviceType

Source = tuple[str, ...]
OWN: Source = ("",)  # voltd's own format
_MOST = 200_000  # ids known
_MOST_SHARED = 10_000
_LONGEST_SAID = 200  # characters of a topic, for people
_MOST_BYTES = 128 << 20


class Claims:
    """Who has said what under which id.

    Attributes:
        new: ids of two sources that were not noted before, until they are taken.
    """

    def __init__(self) -> None:
        self._first: dict[tuple[DeviceType, str], tuple[Source, str]] = {}
        self._room = room.Room(_MOST, _MOST_BYTES)
        self._shared: set[tuple[DeviceType, str]] = set()
        self.new: list[models.SharedId] = []

    def note(self, device_type: DeviceType, device_id: str, source: Source, topic: str) -> None:
        """A source has measured something under this id, on this topic."""
        key = (device_type, device_id)
        first = self._first.get(key)
        if first is None:
            if self._room.take(self._first, len(device_id) + min(len(topic), _LONGEST_SAID) + sum(map(len, source))):
                self._first[key] = (source, topic[:_LONGEST_SAID])
        elif first[0] is not source and first[0] != source and key not in self._shared:
            if len(self._shared) >= _MOST_SHARED:
                return
            self._shared.add(key)
            self.new.append(models.SharedId(device_type, device_id, (first[1], topic[:_LONGEST_SAID])))

    def take(self) -> list[models.SharedId]:
        """Those that are new."""
        new, self.new = self.new, []
        return new
