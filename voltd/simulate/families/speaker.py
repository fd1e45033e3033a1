"""A device family as a simulated device speaks it: which values, on which topics, retained or not, all or what changed.

``catalogue`` has the families; ``vehicles`` and ``meters`` write their values. Pure.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from voltd.models import DeviceType
from voltd.simulate.fleet.meter import Meter
from voltd.simulate.fleet.vehicle import FAST_CHARGER_KW, Vehicle
from voltd.simulate.publish.publication import Publication

ONBOARD_EFFICIENCY = 0.95  # battery over plug: what on-board chargers reach
_LIFETIME_KWH_PER_KM = 0.18


class Measured(NamedTuple):
    """What a device knows when it reports.

    Attributes:
        device_id: its own.
        at: aware UTC, as its clock shows it.
        device: the vehicle or meter.
        register_kwh: of a vehicle, into the battery since it was plugged in; of a meter, of its life.
        onboard_kwh: of a vehicle, into its own charger, in its life.
    """

    device_id: str
    at: dt.datetime
    device: Any
    register_kwh: float
    onboard_kwh: float = 0.0

    @property
    def vehicle(self) -> Vehicle:
        """The vehicle that reports."""
        assert isinstance(self.device, Vehicle)  # noqa: S101 by the family's type
        return self.device

    @property
    def meter(self) -> Meter:
        """The meter that reports."""
        assert isinstance(self.device, Meter)  # noqa: S101 by the family's type
        return self.device

    def one_in(self, count: int) -> bool:
        """Whether this device is one of those with another firmware or model: about one in ``count``."""
        return zlib.crc32(self.device_id.encode()) % count == 0


Texts = Mapping[str, str]  # payloads by topic, in the order in which they are sent


def _nothing(_measured: Measured) -> Texts:
    return {}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One device family.

    Attributes:
        name: of its section in the settings.
        device_type: whose readings they are.
        topic: under which a device publishes; ``{id}`` is its id.
        values: payloads by the rest of the topic.
        alive: topic, when the device comes and goes, and the payload for that (the device, its time, whether it came).
        dated: each message has its own time.
        numbered: each message has a number, so none is sent twice.
        retained: each value is.
        alive_retained: whether the device comes or goes is.
        changes: sends only what has changed.
        sessions: the register of a vehicle begins anew each time it is plugged in.
        settings: further lines of its section.
        level: what its description calls the level that is the device's id.
        speaker: who speaks for a device, where ``Speaker`` is not enough.
        commands: filter of the topics on which its devices are asked for something; empty: they are not.
    """

    name: str
    device_type: DeviceType
    topic: str
    values: Callable[[Measured], Texts] = _nothing
    alive: tuple[str, Callable[[str, dt.datetime, bool], str]] | None = None
    dated: bool = False
    numbered: bool = False
    retained: bool = False
    alive_retained: bool = True
    changes: bool = False
    sessions: bool = False
    settings: tuple[str, ...] = ()
    level: str = "id"
    speaker: Callable[[Family, str], Speaker] | None = None
    commands: str = ""

    def speaks_for(self, device_id: str) -> Speaker:
        """The speaker of one device."""
        return (self.speaker or Speaker)(self, device_id)

    @property
    def toml(self) -> str:
        """The section of voltd.toml that takes such a fleet."""
        topic = self.topic.replace("{id}", f"{{{self.level}}}")
        return "\n".join([f"[devices.{self.name}]", f"topics = [{json.dumps(topic)}]", *self.settings])


class Speaker:
    """One device of a family. Not thread-safe."""

    __slots__ = ("_device_id", "_last", "_onboard_kwh", "_online", "_topic", "family")

    def __init__(self, family: Family, device_id: str) -> None:
        self.family = family
        self._device_id = device_id
        self._topic = family.topic.replace("{id}", device_id)
        self._last: dict[str, str] = {}
        self._online = False
        self._onboard_kwh: float | None = None

    def report(self, at: dt.datetime, device: Vehicle | Meter, register_kwh: float) -> list[Publication]:
        """The messages of a report at ``at`` (aware); the first one that measures counts as its reading."""
        measured = Measured(self._device_id, at, device, register_kwh, self._onboard(device))
        found = []
        for rest, text in self.family.values(measured).items():
            if self.family.changes and self._last.get(rest) == text:
                continue
            self._last[rest] = text
            found.append(self._publication(rest, text, retain=self.family.retained))
        if found:
            is_vehicle = self.family.device_type is DeviceType.VEHICLE
            found[0] = found[0]._replace(vehicle=int(is_vehicle), meter=int(not is_vehicle))
        return found

    def comes(self, at: dt.datetime) -> Iterator[Publication]:
        """What is sent when the device connects; nothing while it is connected. Then it reports everything again."""
        if not self._online:
            self._online = True
            self._last.clear()
            yield from self._says(at, online=True)

    def goes(self, at: dt.datetime) -> Iterator[Publication]:
        """What is sent when it was connected and goes away, by itself or by the broker as its last will."""
        if self._online:
            self._online = False
            yield from self._says(at, online=False)

    @property
    def commands(self) -> str:
        """The topic on which the device is asked for something; empty: it is not."""
        return ""

    def command(self, payload: bytes, at: dt.datetime) -> Iterator[Publication]:  # noqa: ARG002 of those that listen
        """What is sent when the device is asked at ``at`` (aware)."""
        return iter(())

    def _says(self, at: dt.datetime, *, online: bool) -> Iterator[Publication]:
        if self.family.alive is not None:
            topic, text = self.family.alive
            yield self._publication(topic, text(self._device_id, at, online), retain=self.family.alive_retained)

    def _publication(self, rest: str, text: str, *, retain: bool) -> Publication:
        # A topic that is not under the device's own is given whole, with a leading slash.
        topic = rest[1:].replace("{id}", self._device_id) if rest.startswith("/") else f"{self._topic}/{rest}"
        return Publication(topic.removesuffix("/"), text.encode(), retain=retain, device=self._device_id)

    def _onboard(self, device: Vehicle | Meter) -> float:
        """Adds what the on-board charger took; alternating current only."""
        if isinstance(device, Meter):
            return 0.0
        if self._onboard_kwh is None:
            self._onboard_kwh = device.odometer_km * _LIFETIME_KWH_PER_KM
        if device.charger_kw < FAST_CHARGER_KW:
            self._onboard_kwh += device.dc_kwh / ONBOARD_EFFICIENCY
        return self._onboard_kwh


def number(value: float, decimals: int) -> str:
    """A number as plain text, without zeros that say nothing."""
    text = f"{value:.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def compact(value: Any) -> str:
    """JSON without blanks."""
    return json.dumps(value, separators=(",", ":"))
