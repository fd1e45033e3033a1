"""Random devices whose readings have everything that goes wrong in the field, the same for the same seed."""

import dataclasses
import datetime as dt
import random
from typing import Literal

from support.energy.cases.build import DAY
from support.energy.model import Decision, Device, Reading, Side

_STEPS_S = (10, 60, 60, 60, 300, 900, 1800, 3600)
_DECISIONS: tuple[Literal["reset", "exchange", "ignore"], ...] = ("reset", "exchange", "ignore")
_FIELDS: tuple[Literal["interval", "register", "both", "either"], ...] = ("interval", "register", "both", "either")


class _Register:
    """Shows its level, and now and then something else, once or for several readings."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.level = rng.choice((0.0, 12.3, 511.7, 34507.5))
        self.wrong = 0.0
        self.wrong_for = 0  # readings

    def show(self) -> float:
        rng = self.rng
        chance = rng.random()
        if self.wrong_for:
            self.wrong_for -= 1
            return max(0.0, self.wrong + rng.uniform(0, 0.02))
        if chance < 0.03:  # 0, a spike, a dip
            self.wrong = rng.choice((0.0, self.level + rng.uniform(5, 9999), self.level * rng.uniform(0.2, 0.99)))
            self.wrong_for = rng.choice((0, 0, 0, 1, 2))
            return self.wrong
        if chance < 0.05:  # a start, anywhere
            self.level = rng.choice((0.0, rng.uniform(0, 0.4), rng.uniform(0, 40), self.level * 0.7, self.level + 4500))
        elif chance < 0.15:  # jitter
            return max(0.0, self.level - rng.uniform(0, 0.08))
        return self.level


def awkward(seed: int) -> Side:
    """Up to some hundreds of readings over some days, shuffled, each time once.

    Runs of interval energy, of register, of both, or of now one, now the other, have steps from 10 s to an hour. Some
    readings are lost, and silence lies between the runs. Registers fall, jump, tremble and are exchanged. Times are
    whole seconds. Register values have six decimals, so that none lies on the edge of a tolerance.
    """
    rng = random.Random(seed)
    device = Device(
        interval_s=rng.choice((None, None, None, None, 60, 300, 900, 3600)),
        max_power_kw=rng.choice((11.0, 22.0, 22.0, 150.0)),
        kind=rng.choice(("register", "register", "register", "session")),
    )
    register = _Register(rng)
    now = DAY + dt.timedelta(seconds=rng.randrange(86400))
    readings: list[Reading] = []
    for _ in range(rng.randint(1, 7)):
        readings += _run(rng, register, now)
        now = readings[-1].at if readings else now
        silent_s = rng.choice((0, 0, 600, 901, 7200, 14400, rng.randrange(36000)))
        now += dt.timedelta(seconds=silent_s)
        register.level += silent_s / 3600 * rng.choice((0, 0, 2, 5))
    readings = readings or [Reading(now, 0.1)]  # all were lost
    rng.shuffle(readings)
    return Side(tuple(readings), device)


def decided(seed: int) -> Side:
    """The same, with decisions on some of the register readings."""
    side = awkward(seed)
    rng = random.Random(-seed)
    decisions = []
    for one in side.readings:
        if one.register_kwh is None or rng.random() > rng.choice((0.02, 0.1, 0.3)):
            continue
        what = rng.choice(_DECISIONS)
        start = round(one.register_kwh * rng.choice((0, 0.9, 1)), 6) if what == "exchange" else None
        decisions.append(Decision(one.at, what, start))
    return dataclasses.replace(side, decisions=tuple(decisions))


def _run(rng: random.Random, register: _Register, now: dt.datetime) -> list[Reading]:
    """A number of readings after `now`, in order."""
    step_s, fields = rng.choice(_STEPS_S), rng.choice(_FIELDS)
    power_kw = rng.choice((0, 0.005, 3, 7, 10))
    loss, trembles = rng.choice((0, 0, 0.1, 0.5)), rng.random() < 0.3
    readings = []
    for _ in range(min(rng.choice((1, 2, 5, 20, 60)), 43200 // step_s)):
        passed_s = step_s + (rng.randint(-step_s // 4, step_s // 4) if trembles else 0)
        now += dt.timedelta(seconds=passed_s)
        energy = round(power_kw * passed_s / 3600 * rng.uniform(0.9, 1.1), 6)
        register.level += energy
        shown = round(register.show(), 6)
        if rng.random() < loss:
            continue
        field = rng.choice(("interval", "register")) if fields == "either" else fields
        readings.append(Reading(now, None if field == "register" else energy, None if field == "interval" else shown))
    return readings
