"""The fleet: its devices, and what they publish up to a moment of its own time.

``run`` steps it and passes the publications to the publisher. A vehicle and the meter at its charger report together
once an interval, each pair at its own second, so that the load is even and both sides of a charge cover the same
seconds. The same options give the same publications, whatever the steps. No I/O, no clock.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import math
import random
import re
from collections.abc import Iterator

from voltd import errors
from voltd.models import DeviceType
from voltd.simulate.families import catalogue
from voltd.simulate.families.speaker import Speaker
from voltd.simulate.fleet import malformed
from voltd.simulate.fleet.meter import Meter
from voltd.simulate.fleet.registry import FleetRow, LinkRow, MeterRow, Registry, VehicleRow
from voltd.simulate.fleet.site import DEPOTS, SMALLEST_RESET_KWH, SimulatedSender, Site
from voltd.simulate.fleet.vehicle import Vehicle
from voltd.simulate.publish.publication import Publication

IN_SERVICE_SINCE = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
BACKLOG = (3, 15)  # intervals that a device stays offline


@dataclasses.dataclass(frozen=True, slots=True)
class FleetOptions:
    """What a fleet is made of.

    Attributes:
        vehicles, meters: how many; the first ``min`` of both belong together pairwise.
        seed: of everything random.
        start: aware; nothing is dated before it (but for a clock's skew of up to two seconds).
        interval_s: seconds between two readings of a device, at least 1.
        bad_share: malformed messages per good reading, 0-1.
        duplicate_share: messages that are sent twice, 0-1.
        offline_share: devices that are offline at a time, 0-0.5; they send their backlog as an array later.
        prefix: put before every device id, so that several fleets share a broker; letters, digits, ``._-``, at most 32.
        families: what the devices speak, shared out by device type; nothing named for a type: voltd's own format. The
            fleet does the same whatever it speaks. A device of a family sends no malformed messages, has no backlog,
            and repeats only what has a time of its own.
    """

    vehicles: int
    meters: int
    seed: int
    start: dt.datetime
    interval_s: float = 60.0
    bad_share: float = 0.001
    duplicate_share: float = 0.005
    offline_share: float = 0.01
    prefix: str = ""
    families: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Validates the options."""
        catalogue.check(self.families)
        if self.vehicles < 0 or self.meters < 0 or self.vehicles + self.meters == 0:
            raise errors.UsageError("a fleet has at least one vehicle or meter", hint="raise --vehicles or --meters")
        if not 1.0 <= self.interval_s <= 3600.0:  # noqa: PLR2004
            raise errors.UsageError(
                f"interval of {self.interval_s} s", hint="choose --interval between 1 and 3600 seconds"
            )
        for name, share, most in (("bad", self.bad_share, 1.0), ("duplicate", self.duplicate_share, 1.0),
                                  ("offline", self.offline_share, 0.5)):  # fmt: skip
            if not 0.0 <= share <= most:
                raise errors.UsageError(f"{name} share of {share}", hint=f"choose --{name}-share between 0 and {most}")
        if not re.fullmatch(r"[A-Za-z0-9._-]{0,32}", self.prefix):
            raise errors.UsageError(
                f"prefix {self.prefix!r}", hint="up to 32 letters, digits, dots, dashes, underscores"
            )
        if self.start.tzinfo is None:
            raise errors.UsageError("start without offset", hint="write it like 2026-05-01T08:00:00Z")


class Copy(enum.Enum):
    """Whether a message is sent twice: at once, or when the device reports next."""

    NONE = enum.auto()
    AT_ONCE = enum.auto()
    LATER = enum.auto()


class Fleet:
    """A seeded fleet. Not thread-safe; step it from one thread."""

    def __init__(self, options: FleetOptions) -> None:
        self._options = options
        self._rng = random.Random(options.seed)
        count = max(options.vehicles, options.meters)
        self._by_index = [_make_site(index, options, self._rng) for index in range(count)]
        self._sites = sorted(self._by_index, key=lambda site: site.phase_s)
        start_s = options.start.timestamp()
        self._round_s = math.floor(start_s / options.interval_s) * options.interval_s
        self._next = sum(1 for site in self._sites if self._round_s + site.phase_s <= start_s)
        self._goes_offline = options.offline_share / (sum(BACKLOG) / 2)
        self._asked = {
            sender.speaks.commands: sender
            for site in self._sites
            for sender in (site.vehicle_sender, site.meter_sender)
            if sender is not None and sender.speaks is not None and sender.speaks.commands
        }

    def step(self, now: dt.datetime) -> Iterator[Publication]:
        """Everything the fleet publishes up to ``now`` (aware) that it has not published before, in order of time.

        Lazy: devices advance as the iterator is consumed. The first report of a pair is a baseline without energy.
        """
        now_s = now.timestamp()
        while True:
            if self._next == len(self._sites):
                self._next = 0
                self._round_s += self._options.interval_s
            site = self._sites[self._next]
            due_s = self._round_s + site.phase_s
            if due_s > now_s:
                return
            self._next += 1
            yield from self._visit(site, due_s)

    @property
    def commands(self) -> list[str]:
        """Filters of the topics on which devices are asked for something."""
        return catalogue.commands(self._options.families)

    def command(self, topic: str, payload: bytes, now: dt.datetime) -> Iterator[Publication]:
        """What the device sends that is asked for something at ``now`` (aware); nothing if there is no such device."""
        sender = self._asked.get(topic)
        if sender is not None and sender.speaks is not None:
            yield from sender.speaks.command(payload, sender.device.shows(now.timestamp()))

    def finish(self) -> Iterator[Publication]:
        """The publications that devices have delayed: copies to send later, and the backlogs of offline devices."""
        for site in self._sites:
            for sender in (site.vehicle_sender, site.meter_sender):
                if sender is None:
                    continue
                if sender.copy is not None:
                    copy, sender.copy = sender.copy, None
                    yield copy
                if sender.backlog:
                    yield sender.message()

    def efficiency(self, index: int, at: dt.datetime) -> float:
        """True efficiency of the charger of the ``index``-th pair at ``at``: what the database should compute.

        Raises:
            LookupError: there is no such meter.
        """
        meter = self._by_index[index].meter
        if meter is None:
            raise LookupError(f"no meter {index}")
        return meter.efficiency(at.timestamp())

    def registry(self) -> Registry:
        """The registry: fleets, vehicles, meters, and which meter feeds which vehicle."""
        options = self._options
        fleets = [
            FleetRow(fleet_id, f"Depot {city}", manager) for fleet_id, city, manager, _ in DEPOTS[: options.vehicles]
        ]
        vehicles, meters, links = list[VehicleRow](), list[MeterRow](), list[LinkRow]()
        since = min(IN_SERVICE_SINCE, options.start - dt.timedelta(days=1))
        for index, site in enumerate(self._by_index):
            fleet_id, city, _, _ = DEPOTS[index % len(DEPOTS)]
            location = f"{city}, bay {index // len(DEPOTS) + 1}"
            if site.meter_sender:
                meters.append(MeterRow(site.meter_sender.device.device_id, location))
            if site.vehicle and site.vehicle_sender:
                vehicle_id = site.vehicle_sender.device.device_id
                vin = f"VLT{options.prefix[:4].upper():Z<4}{index + 1:010d}"
                vehicles.append(VehicleRow(vehicle_id, fleet_id, vin, site.vehicle.model.name, "active"))
                if site.meter_sender:
                    links.append(LinkRow(vehicle_id, site.meter_sender.device.device_id, location, since))
        return Registry(fleets, vehicles, meters, links)

    def _visit(self, site: Site, due_s: float) -> Iterator[Publication]:
        dt_s = self._options.interval_s if site.began else 0.0
        dc_kwh = 0.0
        if site.vehicle and site.vehicle_sender:
            vehicle, sender = site.vehicle, site.vehicle_sender
            if site.began:
                vehicle.advance(due_s, dt_s, self._rng)
            if site.counts_sessions and vehicle.plugged_in and sender.register_kwh >= SMALLEST_RESET_KWH:
                sender.register_kwh = 0.0
            dc_kwh = vehicle.dc_kwh
            sender.register_kwh += dc_kwh
            if sender.speaks:
                yield from self._speak(sender, sender.speaks, due_s, vehicle)
            else:
                yield from self._send(sender, due_s, sender.device.vehicle_reading(due_s, vehicle, sender.register_kwh))
        if site.meter and site.meter_sender:
            meter, sender = site.meter, site.meter_sender
            meter.advance(due_s, dt_s, dc_kwh, self._rng)
            if due_s >= site.exchange_at_s:
                site.exchange_at_s = math.inf
                sender.register_kwh = 0.0
            sender.register_kwh += meter.ac_kwh
            if sender.speaks:
                yield from self._speak(sender, sender.speaks, due_s, meter)
            else:
                yield from self._send(sender, due_s, sender.device.meter_reading(due_s, meter, sender.register_kwh))
        site.began = True

    def _send(self, sender: SimulatedSender, due_s: float, text: str) -> Iterator[Publication]:
        device = sender.device
        if sender.copy is not None:
            copy, sender.copy = sender.copy, None
            yield copy
        back = sender.offline_for == 1
        if self._is_away(sender):
            sender.backlog.append(text)
            return
        if back:
            sender.backlog.append(text)
            publication = sender.message()
        else:
            publication = device.message((text,))
            if kind := self._malformed():
                wrong = kind.make(device, due_s, text)
                if not wrong.vehicle + wrong.meter:
                    yield publication
                publication = wrong
        yield publication
        match self._copies():
            case Copy.AT_ONCE:
                yield publication.again()
            case Copy.LATER:
                sender.copy = publication.again()

    def _speak(
        self, sender: SimulatedSender, speaks: Speaker, due_s: float, device: Vehicle | Meter
    ) -> Iterator[Publication]:
        """The same fate as ``_send``, drawn alike, for a device of a family."""
        at = sender.device.shows(due_s)
        if sender.copy is not None:
            copy, sender.copy = sender.copy, None
            yield copy
        back = sender.offline_for == 1
        if self._is_away(sender):
            yield from speaks.goes(at)
            return
        yield from speaks.comes(at)
        report = speaks.report(at, device, sender.register_kwh)
        yield from report
        if not back:
            self._malformed()
        copies = self._copies()
        if copies is Copy.NONE or not speaks.family.dated or speaks.family.numbered:
            return
        if copies is Copy.AT_ONCE:
            yield report[0].again()
        else:
            sender.copy = report[0].again()

    def _is_away(self, sender: SimulatedSender) -> bool:
        """Whether the device is offline now, or goes offline."""
        if sender.offline_for:
            sender.offline_for -= 1
            return sender.offline_for > 0
        if self._rng.random() < self._goes_offline:
            sender.offline_for = self._rng.randint(*BACKLOG)
            return True
        return False

    def _malformed(self) -> malformed.MalformedKind | None:
        share = self._options.bad_share
        return malformed.pick(self._rng) if share and self._rng.random() < share else None

    def _copies(self) -> Copy:
        share = self._options.duplicate_share
        if not share or self._rng.random() >= share:
            return Copy.NONE
        return Copy.AT_ONCE if self._rng.random() < 0.5 else Copy.LATER  # noqa: PLR2004


def _make_site(index: int, options: FleetOptions, rng: random.Random) -> Site:
    site = Site(options.interval_s, rng)
    if index < options.meters:
        speaks = catalogue.spoken(options.families, DeviceType.METER, index)
        site.equip(f"{options.prefix}METER-{index + 1:05d}", options.start.timestamp(), rng, speaks)
    if index < options.vehicles:
        speaks = catalogue.spoken(options.families, DeviceType.VEHICLE, index)
        site.assign(f"{options.prefix}EV-{index + 1:05d}", index, rng, speaks)
    return site
