"""Random vehicles that charge now and then, at meters and elsewhere, with readings that go wrong."""

import datetime as dt
import random
from typing import Any

from support import schema
from support.energy import comparison, model
from support.energy.oracle import Energy
from voltd import models

_MINUTE = dt.timedelta(minutes=1)


class Roaming:
    """A vehicle that charges now and then, at meters and elsewhere, with all that goes wrong; the same for a seed."""

    def __init__(self, seed: int) -> None:
        self.name = f"random-{seed}"
        self.rng = rng = random.Random(seed)
        self.start = schema.at(0).replace(hour=0) - dt.timedelta(days=3)
        self.by_interval = seed % 3 == 0
        self.dc: list[model.Reading] = []
        self.ac: list[model.Reading] = []
        self.meters: dict[str, list[model.Reading]] = {"home": [], "depot": []}
        self.moved: list[dt.datetime] = []
        self.links: list[tuple[str, dt.datetime, dt.datetime]] = []
        since = self.start + dt.timedelta(hours=rng.randrange(6), minutes=rng.choice([0, 0, 7, 30]))
        for name in self.meters:
            until = since + dt.timedelta(hours=rng.randrange(3, 9), minutes=rng.choice([0, 0, 3, 45]))
            self.links.append((name, since, until))
            # Not both in one quarter hour: the oracle knows one at a time.
            since = until + dt.timedelta(minutes=rng.choice([15, 26, 120] if until.minute % 15 else [0, 0, 11, 120]))
        dc, ac, meters = 100.0, 700.0, 50.0
        now = self.start
        while now < self.start + dt.timedelta(hours=36):
            what = rng.choice(["charges", "charges", "stands", "stands", "heats", "fast", "drives"])
            dark = {side: rng.random() < 0.12 for side in ("dc", "ac", "meter")}
            lost = rng.choice([0, 0, 0.02, 0.3])
            for _ in range(rng.choice([20, 45, 90, 150])):
                now += _MINUTE
                dc_kwh = {"charges": 0.092, "fast": 1.1, "drives": 0.01}.get(what, 0.0)
                dc, ac = dc + dc_kwh, ac + {"charges": 0.1, "heats": 0.03}.get(what, 0.0)
                meters += {"charges": 0.11, "heats": 0.033}.get(what, 0.00005)
                if what == "drives":
                    self.moved.append(now)
                if not dark["dc"] and rng.random() >= lost:
                    value = (dc_kwh, None) if self.by_interval else (None, round(dc, 6))
                    self.dc.append(model.Reading(now, *value))
                if not dark["ac"] and rng.random() >= lost:
                    self.ac.append(model.Reading(now, None, round(ac, 6)))
                if not dark["meter"] and rng.random() >= lost:
                    for readings in self.meters.values():
                        readings.append(model.Reading(now, None, round(meters, 6)))
            if rng.random() < 0.15:
                ac = 0.0
        self.device = model.Device(max_power_kw=150.0, interval_s=60)

    def store(self, connection: schema.Connection) -> None:
        """Its readings, and what the registry says of it."""
        connection.execute(
            "INSERT INTO volt.vehicle (vehicle_id, interval_s, max_power_kw) VALUES (%s, 60, 150)", (self.name,)
        )
        values = [(one.at, {"kwh": one.interval_kwh, "register": one.register_kwh}) for one in self.dc]
        values += [(one.at, {"onboard": one.register_kwh}) for one in self.ac]
        rows: dict[dt.datetime, dict[str, Any]] = {when: {} for when in [*(when for when, _ in values), *self.moved]}
        for when, some in values:
            rows[when].update(some)
        moved = set(self.moved)
        readings: list[models.Reading] = [
            schema.vehicle(self.name, when, speed=50 if when in moved else None, **some) for when, some in rows.items()
        ]
        self.rng.shuffle(readings)
        for name, shown in self.meters.items():
            connection.execute(
                "INSERT INTO volt.meter (meter_id, interval_s, max_power_kw) VALUES (%s, 60, 150)",
                (f"{self.name}-{name}",),
            )
            readings += [schema.meter(f"{self.name}-{name}", one.at, register=one.register_kwh) for one in shown]
        for name, since, until in self.links:
            schema.link(connection, self.name, f"{self.name}-{name}", since, until)
        schema.store(connection, readings, 2000)

    def defined(self) -> comparison.Vehicle:
        """The same for the oracle."""
        energies = {
            name: Energy(model.Side(tuple(some), self.device)) for name, some in
            {"dc": self.dc, "ac": self.ac, **self.meters}.items()
        }  # fmt: skip
        links = [
            comparison.Link(f"{self.name}-{name}", energies[name], since, until) for name, since, until in self.links
        ]
        return comparison.Vehicle(energies["dc"], energies["ac"], links, self.moved)
