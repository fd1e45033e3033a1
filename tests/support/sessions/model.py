"""What goes into the oracle of charging sessions and what comes out of it."""

import dataclasses
import datetime as dt

from support.energy import model


@dataclasses.dataclass(frozen=True)
class Reading:
    """One reading of a vehicle; what is None was not sent."""

    at: dt.datetime
    word: str | None = None
    power_kw: float | None = None
    speed_kmh: float | None = None
    odometer_km: float | None = None
    interval_kwh: float | None = None
    register_kwh: float | None = None
    returned_kwh: float | None = None
    soc_pct: float | None = None
    battery_temp_c: float | None = None
    latitude: float | None = None
    longitude: float | None = None
    onboard_kwh: float | None = None


@dataclasses.dataclass(frozen=True)
class Meter:
    """A meter that is linked to the vehicle, always or in a period."""

    side: model.Side
    since: dt.datetime | None = None
    until: dt.datetime | None = None


@dataclasses.dataclass(frozen=True)
class World:
    """A vehicle, its readings in any order, and its meters by their ids."""

    readings: tuple[Reading, ...]
    meters: tuple[Meter, ...] = ()
    device: model.Device = dataclasses.field(default_factory=model.Device)

    @property
    def dc(self) -> model.Side:
        """What the vehicle says of its DC energy."""
        return model.Side(
            tuple(model.Reading(one.at, one.interval_kwh, one.register_kwh) for one in self.readings), self.device
        )


@dataclasses.dataclass(frozen=True)
class Session:
    """What the oracle finds: times, and how long there were signs, s."""

    began_at: dt.datetime
    ended_at: dt.datetime
    charging_s: float
    found_by: str
    estimated: bool
