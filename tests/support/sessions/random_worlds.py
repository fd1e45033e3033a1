"""Random vehicles that drive, plug in, charge with pauses and fall silent, the same for the same seed."""

import dataclasses
import datetime as dt
import random

from support.energy import model
from support.sessions.model import Meter, Reading, World

_STEPS_S = (60, 60, 60, 300, 300, 900, 3600)


@dataclasses.dataclass
class _Car:
    """What the vehicle is and does in a minute, by the truth and not by what it reports."""

    odometer: float = 1000.0
    register: float = 500.0
    ac: float = 900.0
    other: float = 0.0


def random_world(seed: int, day: dt.datetime) -> World:
    """Some two days of a vehicle from ``day`` on, as it reports them, with a meter or without, in a random order."""
    rng = random.Random(seed)
    fields = {
        "word": rng.random() < 0.6, "power": rng.random() < 0.4, "speed": rng.random() < 0.85,
        "odometer": rng.random() < 0.6, "interval": rng.random() < 0.35, "register": rng.random() < 0.7,
    }  # fmt: skip
    lies, on_change = rng.random() < 0.2, rng.random() < 0.3
    step_s, resolution = rng.choice(_STEPS_S), rng.choice((0.001, 0.001, 0.1, 1.0))
    loss, regenerates = rng.choice((0.0, 0.0, 0.05, 0.3)), rng.random() < 0.5
    meter_step_s = rng.choice((60, 300, 900))
    by_register, has_meter = rng.random() < 0.6, rng.random() < 0.7
    car = _Car()
    readings: list[Reading] = []
    ac: list[model.Reading] = []
    minute, last_word, last_dc, last_ac, next_at, silent_until = 0, None, car.register, car.ac, 0, 0
    for state, minutes, power in _life(rng):
        for _ in range(minutes):
            minute += 1
            drives = state == "drives"
            if drives:
                car.odometer += 0.8
                car.register += rng.uniform(0, 0.05) if regenerates and rng.random() < 0.5 else 0.0
            car.register += power / 60
            car.ac += power / 60 / 0.9 + 0.0003
            if rng.random() < 0.002:
                silent_until = minute + rng.choice((10, 25, 45, 200, 600))
            now = day + dt.timedelta(minutes=minute)
            if has_meter and minute * 60 % meter_step_s == 0 and rng.random() > loss / 2:
                shown = round(car.ac, 3)
                ac.append(
                    model.Reading(
                        now, None if by_register else round(car.ac - last_ac, 4), shown if by_register else None
                    )
                )
                last_ac = car.ac
            if minute * 60 < next_at or minute < silent_until:
                continue
            next_at = minute * 60 + step_s
            if rng.random() < loss:
                continue
            word = {"drives": "driving", "stands": "disconnected", "plugged": "connected"}.get(state, "Charging")
            if lies and state == "plugged":
                word = "charging"
            readings.append(
                Reading(
                    now,
                    word=word if fields["word"] and (not on_change or word != last_word) else None,
                    power_kw=power if fields["power"] else None,
                    speed_kmh=(rng.choice((50.0, 30.0, 0.0)) if drives else 0.0) if fields["speed"] else None,
                    odometer_km=float(int(car.odometer)) if fields["odometer"] else None,
                    interval_kwh=round(car.register - last_dc, 4) if fields["interval"] else None,
                    register_kwh=round(car.register // resolution * resolution, 4) if fields["register"] else None,
                )
            )
            last_word, last_dc = word, car.register
    rng.shuffle(readings)
    meters: tuple[Meter, ...] = ()
    if has_meter and ac:
        cut = day + dt.timedelta(minutes=rng.randrange(minute)) if rng.random() < 0.2 else None
        meters = (Meter(model.Side(tuple(ac), model.Device(max_power_kw=400)), until=cut),)
    return World(tuple(readings), meters, model.Device(max_power_kw=400))


def _life(rng: random.Random) -> list[tuple[str, int, float]]:
    """What it does one after the other: state, minutes, power into the battery, kW."""
    done: list[tuple[str, int, float]] = []
    for _ in range(rng.randint(2, 4)):
        done.append(("stands", rng.choice((5, 40, 200)), 0.0))
        done.append(("drives", rng.choice((6, 20, 60)), 0.0))
        if rng.random() < 0.3:
            done.append(("stands", rng.choice((2, 40)), 0.0))
        if rng.random() < 0.5:
            done.append(("plugged", rng.choice((3, 50, 120)), 0.0))
        for _ in range(rng.randint(0, 3)):
            done.append(("charges", rng.choice((1, 12, 60, 180)), rng.choice((1.4, 3.7, 11.0))))
            if rng.random() < 0.6:
                done.append(("plugged", rng.choice((2, 20, 70)), 0.0))
    return done
