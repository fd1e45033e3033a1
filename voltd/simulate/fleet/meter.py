"""One simulated meter at a charger: alternating-current energy of the same interval as the vehicle's direct current.

``fleet`` advances it right after the vehicle it feeds. AC = DC / efficiency; the efficiency is the charger's own
(0.86-0.96) and drifts over weeks of fleet time. Pure.
"""

from __future__ import annotations

import math
import random

CHARGER_KW = (7.4, 11.0, 11.0, 22.0, 50.0)  # DC side
THREE_PHASE_FROM_KW = 7.5
LOWEST_EFFICIENCY, HIGHEST_EFFICIENCY = 0.86, 0.96
DRIFT = 0.01
STANDBY_SHARE = 0.1  # of the meters; the others show nothing while idle


class Meter:
    """State of one meter at the end of the interval it was last advanced by.

    Attributes:
        charger_kw: the most its charger delivers, DC side.
        ac_kwh: consumed within the interval.
        power_kw, current_a, voltage_v: means over the interval.
    """

    __slots__ = ("_base", "_drift_offset", "_drift_rate", "_standby_kw", "ac_kwh", "charger_kw", "current_a",
                 "power_kw", "voltage_v")  # fmt: skip

    def __init__(self, rng: random.Random) -> None:
        self.charger_kw = rng.choice(CHARGER_KW)
        self._base = rng.uniform(LOWEST_EFFICIENCY + DRIFT, HIGHEST_EFFICIENCY - DRIFT)
        self._drift_offset = rng.uniform(0.0, 2 * math.pi)
        self._drift_rate = 2 * math.pi / (rng.uniform(10.0, 40.0) * 86_400.0)
        self._standby_kw = rng.uniform(0.001, 0.003) if rng.random() < STANDBY_SHARE else 0.0
        self.ac_kwh = self.power_kw = self.current_a = 0.0
        self.voltage_v = 230.0

    @property
    def phases(self) -> int:
        """Of its charger, 1 or 3; ``current_a`` is that of each."""
        return 3 if self.charger_kw > THREE_PHASE_FROM_KW else 1

    def efficiency(self, now_s: float) -> float:
        """DC out / AC in of the charger at ``now_s`` (seconds since the epoch), 0.86-0.96."""
        return self._base + DRIFT * math.sin(self._drift_offset + self._drift_rate * now_s)

    def advance(self, now_s: float, dt_s: float, dc_kwh: float, rng: random.Random) -> None:
        """Measure ``dt_s`` seconds that end at ``now_s`` in which the charger delivered ``dc_kwh``."""
        if dc_kwh > 0.0:
            self.ac_kwh = dc_kwh / self.efficiency(now_s)
        else:
            self.ac_kwh = self._standby_kw * dt_s / 3600.0
        self.power_kw = self.ac_kwh * 3600.0 / dt_s if dt_s else 0.0
        # The supply sags a little under load; a phase is 230 V nominal (EN 50160 allows +-10 %).
        self.voltage_v = 231.0 + rng.uniform(-2.5, 2.5) - 0.1 * self.power_kw
        self.current_a = self.power_kw * 1000.0 / self.voltage_v / self.phases
