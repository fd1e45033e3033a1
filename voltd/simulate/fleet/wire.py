"""The messages of a simulated device: topic, payload, and habits (aliases, offsets, envelope, resolution).

``fleet`` requests one text per reading and joins texts to messages; ``malformed`` changes them. Payloads are built as
text, not with a JSON encoder, so that 20,000 devices are cheap. Pure.
"""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Sequence
from typing import NamedTuple

from voltd import models
from voltd.simulate.fleet.meter import Meter
from voltd.simulate.fleet.vehicle import Vehicle
from voltd.simulate.publish.publication import Publication

INGEST_TOPIC = "volt/ingest"
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MOST_SKEW_US = 2_000_000


class Habits(NamedTuple):
    """What firmware and configuration decide once for a device.

    Attributes:
        skew_us: how far its clock is ahead, microseconds, within two seconds.
        registers: reports a cumulative register instead of interval energy.
        envelope: publishes through the gateway's topic.
        aliases: writes createdAt and temperature.
        names_itself: has its id in the payload too.
        offset_h: of the local time it reports, None for ``Z``.
        millis: its clock reads milliseconds, otherwise microseconds.
        diagnostics: adds a diagnostics object (vehicles).
    """

    skew_us: int
    registers: bool
    envelope: bool
    aliases: bool
    names_itself: bool
    offset_h: int | None
    millis: bool
    diagnostics: bool


def draw_habits(rng: random.Random, *, register_share: float, envelope_share: float) -> Habits:
    """Draws the habits of a device; the shares are those of registers and of the envelope."""
    millis = rng.random() < 0.8  # noqa: PLR2004
    skew_us = rng.randint(-MOST_SKEW_US, MOST_SKEW_US)
    envelope = rng.random() < envelope_share
    return Habits(
        skew_us=skew_us // 1000 * 1000 if millis else skew_us,
        registers=rng.random() < register_share,
        envelope=envelope,
        aliases=rng.random() < 0.2,  # noqa: PLR2004
        names_itself=envelope or rng.random() < 0.7,  # noqa: PLR2004
        offset_h=rng.choice((None, None, None, 0, 1, 2, -5)),
        millis=millis,
        diagnostics=rng.random() < 0.1,  # noqa: PLR2004
    )


class SimulatedDevice:
    """One device and how it writes its messages. Good readings go to ``publishes_to``, others to ``topic``."""

    __slots__ = ("_head", "_tail", "_temperature_key", "_zone", "device_id", "habits", "id_key", "is_vehicle",
                 "measure", "publishes_to", "topic")  # fmt: skip

    def __init__(self, device_id: str, device_type: models.DeviceType, habits: Habits) -> None:
        self.device_id = device_id
        self.habits = habits
        self.is_vehicle = device_type is models.DeviceType.VEHICLE
        self.id_key = "vehicleId" if self.is_vehicle else "meterId"
        self.measure = "soc" if self.is_vehicle else "power"
        self.topic = f"volt/{device_type.value}/{device_id}/telemetry"
        self.publishes_to = INGEST_TOPIC if habits.envelope else self.topic
        self._head = f'{{"type":"{device_type.value.upper()}","payload":{{' if habits.envelope else "{"
        if habits.names_itself:
            self._head += f'"{self.id_key}":{json.dumps(device_id)},'
        self._head += '"createdAt":"' if habits.aliases else '"timestamp":"'
        self._temperature_key = "temperature" if habits.aliases else "batteryTemp"
        self._tail = "}}" if habits.envelope else "}"
        self._zone = None if habits.offset_h is None else dt.timezone(dt.timedelta(hours=habits.offset_h))

    def shows(self, due_s: float) -> dt.datetime:
        """The time that the device's clock shows at ``due_s`` (seconds since the epoch), aware UTC."""
        unit = 1000 if self.habits.millis else 1
        return EPOCH + dt.timedelta(microseconds=round(due_s * 1e6) // unit * unit + self.habits.skew_us)

    def time_text(self, due_s: float) -> str:
        """``shows`` in RFC 3339."""
        shown = self.shows(due_s)
        resolution = "milliseconds" if self.habits.millis else "microseconds"
        if self._zone is None:
            return shown.isoformat(timespec=resolution)[:-6] + "Z"
        return shown.astimezone(self._zone).isoformat(timespec=resolution)

    def vehicle_reading(self, due_s: float, vehicle: Vehicle, register_kwh: float) -> str:
        """JSON text of what ``vehicle`` measured up to ``due_s``."""
        energy = (
            f'"kwhDeliveredDcTotal":{register_kwh:.6f}'
            if self.habits.registers
            else f'"kwhDeliveredDc":{vehicle.dc_kwh:.6f}'
        )
        spread_mv = 4 + int(vehicle.battery_temp_c) % 9
        diagnostics = (
            f',"diagnostics":{{"firmware":"4.2.1","cellSpreadMv":{spread_mv}}}' if self.habits.diagnostics else ""
        )
        return (
            f'{self._head}{self.time_text(due_s)}","soc":{vehicle.soc_pct:.2f},"speed":{vehicle.speed_kmh:.1f},'
            f'"{self._temperature_key}":{vehicle.battery_temp_c:.2f},{energy},"latitude":{vehicle.latitude:.6f},'
            f'"longitude":{vehicle.longitude:.6f},"chargingStatus":"{vehicle.charging_status}",'
            f'"chargingPower":{vehicle.charging_kw:.2f},'
            f'"odometer":{vehicle.odometer_km:.3f}{diagnostics}{self._tail}'
        )

    def meter_reading(self, due_s: float, meter: Meter, register_kwh: float) -> str:
        """JSON text of what ``meter`` measured up to ``due_s``."""
        energy = (
            f'"kwhConsumedAcTotal":{register_kwh:.6f}'
            if self.habits.registers
            else f'"kwhConsumedAc":{meter.ac_kwh:.6f}'
        )
        return (
            f'{self._head}{self.time_text(due_s)}",{energy},"voltage":{meter.voltage_v:.1f},'
            f'"current":{meter.current_a:.2f},"power":{meter.power_kw:.4f}{self._tail}'
        )

    def message(self, texts: Sequence[str], *, bad: int = 0, array: bool = False) -> Publication:
        """One message of ``texts`` of which the last ``bad`` are malformed; several of them are an array."""
        text = texts[0] if len(texts) == 1 and not array else f"[{','.join(texts)}]"
        good = len(texts) - bad
        payload = text.encode()
        if self.is_vehicle:
            return Publication(self.publishes_to, payload, vehicle=good, bad=bad)
        return Publication(self.publishes_to, payload, meter=good, bad=bad)
