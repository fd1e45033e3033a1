"""Two vehicles and two meters with all that makes energy awkward, and what may happen to them later.

Vehicle a sends intervals and drives for an hour; vehicle b has a register with a gap, a reset and a spike. Both have an
on-board charger whose AC register is known from 1:30 on; that of b begins anew, too, and is silent for hours. Meter m
sends intervals, and both vehicles charge there; meter n has a register with a gap, and was exchanged. Links begin and
end within quarter hours, and b changes its fleet on the way.
"""

import dataclasses
import datetime as dt
import json
from collections.abc import Iterator
from typing import Any, Literal

import psycopg

from support.energy import kept
from support.schema import HOUR, Connection, link, meter, vehicle
from voltd import config, models
from voltd.database import connections
from voltd.pipeline.decode import decoder
from voltd.pipeline.write import store as write

START = HOUR.replace(hour=0) - dt.timedelta(days=1)
_MINUTES = range(5, 40 * 60, 5)


def on(hour: float, minute: float = 0, second: float = 0) -> dt.datetime:
    """A time of the world."""
    return START + dt.timedelta(hours=hour, minutes=minute, seconds=second)


@dataclasses.dataclass
class World:
    """Devices whose names begin with the name of the world, and two fleets, f and g."""

    connection: Connection
    name: str

    @property
    def vehicles(self) -> list[str]:
        """Both."""
        return [f"{self.name}-a", f"{self.name}-b"]

    @property
    def meters(self) -> list[str]:
        """Both."""
        return [f"{self.name}-m", f"{self.name}-n"]

    def id(self, one: str) -> str:
        """Of a device or fleet."""
        return f"{self.name}-{one}"

    def sql(self, statement: str, **values: object) -> psycopg.Cursor[Any]:
        """A statement with the names of all devices and fleets as parameters, and others."""
        names = {one: self.id(one) for one in "abmnfg"}
        return self.connection.execute(statement, names | values)

    def receive(
        self,
        kind: Literal["vehicle", "meter"],
        one: str,
        *readings: tuple[dt.datetime, dict[str, float]],
        overwrite: bool = False,
    ) -> models.WriteResult:
        """Messages of a device: time, and values by their names on the wire."""
        messages = [
            models.Message(f"volt/{kind}/{self.id(one)}/telemetry",
                           json.dumps({"timestamp": at.isoformat(), **values}).encode(), place, dt.datetime.now(dt.UTC))
            for place, (at, values) in enumerate(readings)
        ]  # fmt: skip
        batch = decoder.Decoder(config.Topics(), config.Limits(), 90).decode(messages)
        dsn = self.connection.info.dsn + f" password={self.connection.info.password}"
        made = write.PostgresStore(
            connections.connector(config.Settings(database={"dsn": dsn})), self.id(one), overwrite=overwrite
        )
        try:
            return made.write(batch)
        finally:
            made.close()

    def readings(self) -> Iterator[models.Reading]:
        """40 hours of them, every five minutes."""
        a, b, m, n = (self.id(one) for one in "abmn")
        total, ac_total = 5000.0, 300.0
        onboard = {a: 700.0, b: 0.0}
        for minute in _MINUTES:
            at, hour = on(0, minute), minute / 60
            a_charges = 2 <= hour < 5 or 26 <= hour < 29
            b_charges = 1 <= hour < 3 or 5.5 <= hour < 8 or 23 <= hour < 25.5
            drives = 6 <= hour < 7
            onboard[a] += 0.49 * a_charges
            onboard[b] = 0.2 if minute == 12 * 60 else onboard[b] + 0.49 * b_charges
            shown = {one: round(kwh, 3) if hour >= 1.5 else None for one, kwh in onboard.items()}
            dc = 0.46 if a_charges else 0.05 if drives else 0.0
            yield vehicle(a, at, kwh=dc, speed=50 if drives else 0, soc=50, onboard=shown[a])
            yield meter(m, at, kwh=0.002 + 0.5 * a_charges + 0.5 * (b_charges and hour < 20))
            total = 0.3 if minute == 12 * 60 else total + 0.46 * b_charges
            ac_total = 20.0 if minute == 24 * 60 else ac_total + 0.5 * (b_charges and hour > 20)
            if not 5 < hour < 7:
                silent = 18 < hour < 22 or 23.2 < hour < 24.5
                dc = round(9000.0 if minute == 15 * 60 else total, 3)
                yield vehicle(b, at, register=dc, onboard=None if silent else shown[b])
            if minute % 10 == 0 and not 24 * 60 + 20 < minute <= 25 * 60:
                yield meter(n, at, register=round(ac_total, 3))
            if minute == 25 * 60:
                yield meter(n, at + dt.timedelta(seconds=10), register=round(ac_total, 3))
        yield vehicle(a, on(3, 2, 30), soc=40)

    def build(self) -> None:
        """Fleets, memberships and links; and that both vehicles are known to have an on-board charger."""
        self.sql(
            "INSERT INTO volt.vehicle_current (vehicle_id, recorded_at, ac_register_kwh, ac_register_at)"
            " SELECT unnest(ARRAY[%(a)s, %(b)s]), %(at)s, 0, %(at)s ON CONFLICT DO NOTHING", at=on(39, 55),
        )  # fmt: skip
        self.sql("INSERT INTO volt.fleet (fleet_id, timezone) VALUES (%(f)s, 'Asia/Kolkata'), (%(g)s, 'Europe/Berlin')")
        with self.connection.transaction():
            self.sql("INSERT INTO volt.vehicle (vehicle_id, fleet_id) VALUES (%(a)s, %(f)s), (%(b)s, %(f)s)")
            self.sql(
                "UPDATE volt.fleet_membership SET valid = tstzrange(%(at)s, NULL) WHERE vehicle_id = %(b)s",
                at=on(10, 30),
            )
            self.sql("INSERT INTO volt.fleet_membership VALUES (%(b)s, %(g)s, tstzrange(NULL, %(at)s))", at=on(10, 30))
        for a_vehicle, a_meter, since, until in (
            ("a", "m", on(1, 7), None), ("b", "m", on(2, 8), on(9, 23)), ("b", "n", on(20), None)):  # fmt: skip
            link(self.connection, self.id(a_vehicle), self.id(a_meter), since, until)

    def differences(self) -> list[str]:
        """Between what is kept and what raw readings give."""
        return kept.differences(self.connection, self.vehicles, self.meters, START - dt.timedelta(days=2))
