"""What ``publisher`` sends, and the count of what the broker has acknowledged."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple


class Publication(NamedTuple):
    """One message to publish and the readings in it.

    ``vehicle`` and ``meter`` count good readings (each sent copy again), ``bad`` the dead letters that it must become,
    ``duplicate`` the good readings that were sent before. Where several messages make one reading, one of them
    counts. ``device`` keeps the messages of a device in order although their topics differ.
    """

    topic: str
    payload: bytes
    vehicle: int = 0
    meter: int = 0
    bad: int = 0
    duplicate: int = 0
    retain: bool = False
    device: str = ""

    def again(self) -> Publication:
        """The same message sent once more."""
        return self._replace(duplicate=self.vehicle + self.meter)


@dataclasses.dataclass(slots=True)
class Tally:
    """What the broker has acknowledged, counted in readings.

    Attributes:
        vehicle, meter: good readings; each sent copy of a duplicate counts.
        bad: readings that must become dead letters.
        duplicates: of ``vehicle`` and ``meter``, those sent before on purpose.
        messages: publications.
        resent: readings (good or bad) in flight when a connection broke, and sent again: the broker may have passed
            them on twice, so up to this many more duplicates or dead letters are no error.
        in_flight: messages sent and not acknowledged; at the end, those whose fate is unknown.
        oversize: messages not sent because they exceed the broker's limit; not counted elsewhere.
        undelivered: of the readings (good or bad), those that the broker accepted without a subscriber.
        undelivered_topic: the first topic without a subscriber.
    """

    vehicle: int = 0
    meter: int = 0
    bad: int = 0
    duplicates: int = 0
    messages: int = 0
    resent: int = 0
    in_flight: int = 0
    oversize: int = 0
    undelivered: int = 0
    undelivered_topic: str = ""

    @property
    def readings(self) -> int:
        """Readings that must be stored, dead-lettered or duplicates."""
        return self.vehicle + self.meter + self.bad
