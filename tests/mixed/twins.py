"""Two fleets that live the same life at the same time: one in voltd's own format, one in those of device families.

Both report each register, so that every field can be compared. A run has events: what is retained when the daemon
connects, devices that go offline, registers that are reset, a daemon that is killed.
"""

import datetime as dt
import itertools
import time

from voltd.models import DeviceType
from voltd.simulate.families import catalogue
from voltd.simulate.fleet.fleet import Fleet, FleetOptions

PREFIX = {"own": "own-", "mixed": "mix-"}
AWAY_EVERY = 10  # each so-manieth site goes offline once
AWAY_REPORTS = 4
RESET_FAMILY = "tasmota"
_ZERO = dt.timedelta(0)
_SLICE = dt.timedelta(seconds=0.25)


class Twin:
    """One device, twice.

    Attributes:
        kind: ``vehicle`` or ``meter``.
        family: what the mixed one speaks; None: voltd's own format.
        own_id, mixed_id: what voltd calls both.
        skew: how far the clock of both is ahead.
        device: the simulated vehicle or meter of the mixed one.
    """

    def __init__(self, kind, index, own, mixed):
        self.kind = kind
        self.own = getattr(own, f"{kind}_sender")
        self.mixed = getattr(mixed, f"{kind}_sender")
        self.device = getattr(mixed, kind)
        family = self.mixed.speaks.family if self.mixed.speaks else None
        self.family = family.name if family else None
        self.dated = family is None or family.dated
        self.own_id = self.own.device.device_id
        self.mixed_id = self.mixed.device.device_id
        self.skew = dt.timedelta(microseconds=self.own.device.habits.skew_us)
        self.index = index


class Twins:
    """The two fleets.

    Args:
        pairs: vehicles and meters of each fleet.
        interval_s: between two reports of a device.
        names: the families of the mixed fleet.
        start: aware.
    """

    def __init__(self, pairs, interval_s, names, start, seed=11):
        quiet = {"bad_share": 0.0, "duplicate_share": 0.01, "offline_share": 0.0}

        def fleet(which, names):
            options = FleetOptions(pairs, pairs, seed, start, interval_s, prefix=PREFIX[which], families=names, **quiet)
            return Fleet(options)

        self.interval = dt.timedelta(seconds=interval_s)
        self.names = names
        self.own, self.mixed = fleet("own", ()), fleet("mixed", names)
        self.twins = []
        self.away = (start, start)
        for index, (own, mixed) in enumerate(zip(self.own._by_index, self.mixed._by_index, strict=True)):
            own.counts_sessions = mixed.counts_sessions
            for kind in ("vehicle", "meter"):
                twin = Twin(kind, index, own, mixed)
                twin.own.register_kwh = twin.mixed.register_kwh
                for sender in (twin.own, twin.mixed):
                    sender.device.habits = sender.device.habits._replace(registers=True)
                self.twins.append(twin)

    def step(self, now):
        """What both publish up to ``now``, in turns."""
        yield from self.own.step(now)
        yield from self.mixed.step(now)

    def command(self, topic, payload, now):
        """What a device answers."""
        yield from self.mixed.command(topic, payload, now)

    def finish(self):
        """What both have delayed."""
        yield from self.own.finish()
        yield from self.mixed.finish()

    def go_offline(self, now):
        """Some devices miss their next reports. Those in voltd's own format send them later, as an array."""
        for twin in self.twins:
            if twin.index % AWAY_EVERY == 0:
                twin.own.offline_for = twin.mixed.offline_for = AWAY_REPORTS
        self.away = (now, now + (AWAY_REPORTS + 1) * self.interval)

    def reset(self):
        """The registers of one family begin at zero, as its users may have them do."""
        for twin in self.twins:
            if twin.family == RESET_FAMILY:
                twin.own.register_kwh = twin.mixed.register_kwh = 0.0

    def was_away(self, twin, at):
        """Whether the device was offline then, or has just come back."""
        return twin.index % AWAY_EVERY == 0 and self.away[0] <= at <= self.away[1] and self.away[0] < self.away[1]


def every_family(described):
    """The families that can be simulated and are described; voltd's own format beside them."""
    return (*(name for name in catalogue.FAMILIES if name in described), catalogue.OWN)


def enough_pairs(names):
    """How many pairs it takes so that each family has a vehicle, or a meter, that charges, drives and is parked."""
    spoken = [catalogue.FAMILIES[name].device_type for name in names if name != catalogue.OWN]
    return 3 * (max(spoken.count(one) for one in DeviceType) + 1)


class Clockwork:
    """Steps the fleets with the wall clock, publishes, and lets events happen at their time."""

    def __init__(self, twins, publisher, listener):
        self._twins, self._publisher, self._listener = twins, publisher, listener
        self._steps: list[tuple[dt.datetime, dt.datetime]] = []  # up to when, and when all of it was published

    def run(self, until):
        """Until ``until`` (aware). On a busy machine both fleets lag behind alike."""
        while True:
            now = min(dt.datetime.now(dt.UTC), until)
            if self._steps:
                now = min(now, self._steps[-1][0] + _SLICE)
            for topic, payload in self._listener.commands():
                self._send(self._twins.command(topic, payload, now))
            self._send(self._twins.step(now))
            self._steps.append((now, dt.datetime.now(dt.UTC)))
            if now >= until:
                return
            if now + _SLICE / 5 > dt.datetime.now(dt.UTC):
                time.sleep(0.02)

    @property
    def latest(self):
        """How late a report was at most."""
        return max(
            (published - before for (before, _), (_, published) in itertools.pairwise(self._steps)), default=_ZERO
        )

    def finish(self):
        """Sends what is delayed and waits for the broker."""
        self._send(self._twins.finish())
        assert self._publisher.drain(60)

    def _send(self, publications):
        for one in publications:
            self._publisher.publish(one)
