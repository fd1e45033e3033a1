"""The devices of the analysts' benchmark: what each measures at each minute, and what follows from that.

``fill`` has the same in SQL.

A vehicle charges four hours a day, 0.092 kWh DC a minute out of 0.1 kWh AC of its own meter, and drives an hour at
30 km/h. When it begins differs from vehicle to vehicle, by quarter hours. Every second vehicle has a register, the
others send interval energy; two meters of four likewise, so that all pairs occur.
"""

from __future__ import annotations

import dataclasses
import datetime as dt

DAY, HOUR, MINUTE = dt.timedelta(days=1), dt.timedelta(hours=1), dt.timedelta(minutes=1)
DC_KWH, AC_KWH = 0.092, 0.1  # of a minute
CHARGES_MIN, DRIVES_KM = 240, 30


@dataclasses.dataclass(frozen=True)
class Fleet:
    """Which devices there are, and when they measured. Vehicle i is linked to meter i, from 1 on.

    Attributes:
        end: when the newest readings were recorded, a whole minute.
        vehicles: with readings of the day that ended at ``midnight``, and of a few hours around it; as many meters.
        lasting: the first of them, with readings of all days and kept figures of a year before that.
        per_fleet: vehicles of a fleet.
        late: the first of them, of each of which one reading is missing, spread over the days.
        days: of readings, 30 but where the benchmark is tried; the year is shorter in proportion.
    """

    end: dt.datetime
    vehicles: int
    lasting: int
    per_fleet: int
    late: int
    days: int = 30

    @property
    def closed(self) -> dt.datetime:
        """The end of the last hour that is closed, 20 minutes after it."""
        return (self.end - 20 * MINUTE).replace(minute=0)

    @property
    def midnight(self) -> dt.datetime:
        """The local midnight, an hour before ``closed``: "yesterday" has just ended, whenever this runs."""
        return self.closed - HOUR

    @property
    def zone(self) -> str:
        """A time zone in which that is midnight; POSIX counts to the west."""
        hour = self.midnight.hour
        return f"Etc/GMT+{hour}" if hour <= 12 else f"Etc/GMT-{24 - hour}"

    @property
    def yesterday(self) -> dt.date:
        """The local date of the day that ended at ``midnight``."""
        hour = self.midnight.hour
        return (self.midnight - dt.timedelta(hours=hour if hour <= 12 else hour - 24) - DAY).date()

    @property
    def begin(self) -> dt.datetime:
        """Of the days that end at ``midnight``."""
        return self.midnight - self.days * DAY

    @property
    def kept_days(self) -> int:
        """Of kept figures before ``begin``."""
        return round(365 * self.days / 30)

    @property
    def origin(self) -> dt.datetime:
        """A midnight from which minutes and registers count, before the year of kept figures."""
        return self.begin - 367 * DAY

    def minute(self, at: dt.datetime) -> int:
        """Minutes since ``origin``."""
        return round((at - self.origin) / MINUTE)

    def charged_min(self, vehicle: int, at: dt.datetime) -> int:
        """For how many minutes it had charged by then; the reading of a minute is stamped at its end."""
        since = self.minute(at) - 1 - starts(vehicle)
        return since // 1440 * CHARGES_MIN + min(since % 1440 + 1, CHARGES_MIN)

    def late_at(self, vehicle: int) -> dt.datetime:
        """When the missing reading of one of the ``late`` vehicles was recorded, amid a charge."""
        return self.begin + (1 + (vehicle - 1) * (self.days - 2) // self.late) * DAY + (starts(vehicle) + 100) * MINUTE

    def dc_kwh(self, vehicle: int, since: dt.datetime, until: dt.datetime) -> float:
        """DC energy that is known without the missing readings; only interval energy lacks them."""
        minutes = self.charged_min(vehicle, until) - self.charged_min(vehicle, since)
        lacks = vehicle <= self.late and not has_register(vehicle) and since < self.late_at(vehicle) <= until
        return DC_KWH * (minutes - lacks)

    def ac_kwh(self, vehicle: int, since: dt.datetime, until: dt.datetime) -> float:
        """AC energy of its meter."""
        return AC_KWH * (self.charged_min(vehicle, until) - self.charged_min(vehicle, since))

    def of_fleet(self, number: int) -> range:
        """Its vehicles."""
        return range(number * self.per_fleet + 1, min((number + 1) * self.per_fleet, self.vehicles) + 1)


def vehicle_id(vehicle: int) -> str:
    """Of the n-th vehicle, from 1 on."""
    return f"V{vehicle:05}"


def fleet_id(number: int) -> str:
    """Of the n-th fleet, from 0 on."""
    return f"F{number:03}"


def has_register(vehicle: int) -> bool:
    """Whether the vehicle has a register of DC energy."""
    return vehicle % 2 == 0


def starts(vehicle: int) -> int:
    """Minutes after midnight at which it begins to charge."""
    return vehicle * 37 % 96 * 15


def sized(scale: float, days: int) -> Fleet:
    """The fleet at this share of its full size, with readings of so many days until now."""
    end = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)
    lasting, per_fleet = max(4, round(1000 * scale)), max(2, round(200 * scale))
    return Fleet(end, max(2 * lasting, round(10_000 * scale)), lasting, per_fleet, min(lasting, 100), days)
