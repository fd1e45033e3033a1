"""A charger's site: the vehicle that charges there, the meter that measures it, and the messages that each delays.

``fleet`` makes the sites of a fleet and visits each once an interval. Pure: everything random is drawn here, once.
"""

from __future__ import annotations

import math
import random

from voltd import models
from voltd.simulate.families.speaker import Family
from voltd.simulate.fleet import path, wire
from voltd.simulate.fleet.meter import Meter
from voltd.simulate.fleet.vehicle import MODELS, Activity, Vehicle
from voltd.simulate.publish.publication import Publication

DEPOTS = (
    ("utrecht", "Utrecht", "A. de Wit", (52.0907, 5.1214)),
    ("lyon", "Lyon", "C. Moreau", (45.7640, 4.8357)),
    ("torino", "Torino", "G. Ferrari", (45.0703, 7.6869)),
    ("aarhus", "Aarhus", "M. Holm", (56.1629, 10.2039)),
)
REGISTER_SHARE = 0.35  # vehicles and meters that report cumulative registers
SESSION_COUNTER_SHARE = 0.4  # of the vehicles with registers: back to zero at each plug-in
EXCHANGE_SHARE = 0.1  # of the meters with registers: exchanged once, within the first day
EXCHANGED_WITHIN_S = 86_400.0
ENVELOPE_SHARE = 0.05
SESSION_KWH = (3.0, 25.0)  # what a session has delivered when the fleet begins
SMALLEST_RESET_KWH = 2.0  # a counter falls from at least this, or the fall could be taken for drain
PHASE_MARGIN_S = 2.5  # more than the skew: both sides of a pair fall into the same minute, so into the same hour


class SimulatedSender:
    """A device with its state: a register, a backlog while offline, a copy to send later, a family's format."""

    __slots__ = ("backlog", "copy", "device", "offline_for", "register_kwh", "speaks")

    def __init__(
        self, name: str, device_type: models.DeviceType, rng: random.Random, speaks: Family | None = None
    ) -> None:
        habits = wire.draw_habits(rng, register_share=REGISTER_SHARE, envelope_share=ENVELOPE_SHARE)
        self.device = wire.SimulatedDevice(name, device_type, habits)
        self.register_kwh = rng.uniform(500.0, 40_000.0)
        self.backlog: list[str] = []
        self.offline_for = 0
        self.copy: Publication | None = None
        self.speaks = speaks.speaks_for(name) if speaks else None

    def message(self) -> Publication:
        """Returns the backlog as one array; then the backlog is empty and the device online."""
        texts, self.backlog, self.offline_for = self.backlog, [], 0
        return self.device.message(texts, array=True)


class Site:
    """A charger with its vehicle and its meter, or either alone.

    Attributes:
        phase_s: when within the interval both report, far enough from its ends for their clocks' skew.
        began: false until the first report, the baseline.
        counts_sessions: the vehicle's register returns to zero at each plug-in.
        exchange_at_s: when the meter is exchanged (seconds since the epoch), infinite for never.
    """

    __slots__ = ("began", "counts_sessions", "exchange_at_s", "meter", "meter_sender", "phase_s", "vehicle",
                 "vehicle_sender")  # fmt: skip

    def __init__(self, interval_s: float, rng: random.Random) -> None:
        """An empty site; ``equip`` and ``assign`` add a meter and a vehicle."""
        margin_s = min(PHASE_MARGIN_S, interval_s / 4)
        self.phase_s = round(rng.uniform(margin_s, interval_s - margin_s), 3)
        self.began = self.counts_sessions = False
        self.exchange_at_s = math.inf
        self.meter: Meter | None = None
        self.meter_sender: SimulatedSender | None = None
        self.vehicle: Vehicle | None = None
        self.vehicle_sender: SimulatedSender | None = None

    def equip(self, name: str, start_s: float, rng: random.Random, speaks: Family | None = None) -> None:
        """Adds the meter ``name``."""
        self.meter = Meter(rng)
        self.meter_sender = SimulatedSender(name, models.DeviceType.METER, rng, speaks)
        if self.meter_sender.device.habits.registers and rng.random() < EXCHANGE_SHARE:
            self.exchange_at_s = start_s + rng.uniform(0.0, EXCHANGED_WITHIN_S)

    def assign(self, name: str, index: int, rng: random.Random, speaks: Family | None = None) -> None:
        """Adds the ``index``-th vehicle ``name``: a third of them drives, a third charges, a third is parked."""
        _, _, _, centre = DEPOTS[index % len(DEPOTS)]
        home = path.destination(centre, rng.uniform(0.0, 2 * math.pi), rng.uniform(0.2, 4.0))
        activity = (Activity.CHARGING, Activity.DRIVING, Activity.HOME)[index % 3]
        charger_kw = (self.meter or Meter(rng)).charger_kw
        self.vehicle = Vehicle(MODELS[index % len(MODELS)], home, activity, rng, charger_kw)
        self.vehicle_sender = SimulatedSender(name, models.DeviceType.VEHICLE, rng, speaks)
        if self.vehicle_sender.device.habits.registers and rng.random() < SESSION_COUNTER_SHARE:
            self.counts_sessions = True
            self.vehicle_sender.register_kwh = rng.uniform(*SESSION_KWH)
        elif speaks is not None and speaks.sessions:
            self.counts_sessions = True
            # Not drawn: the fleet does the same, whatever it speaks.
            least, most = SESSION_KWH
            self.vehicle_sender.register_kwh = least + self.vehicle_sender.register_kwh % (most - least)
