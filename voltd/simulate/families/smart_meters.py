"""Meters that a reader at the customer's port (P1) reports: dsmr-reader, dsmr2mqtt, P1 Dongle.

Facts: dsmrreader/dsmr-reader dsmr_mqtt/models/settings, services; hansij66/dsmr2mqtt README.md, dsmr50.py;
mhendriks/DSMR-API-V2 MQTT.ino, libs/dsmr2Lib/src/dsmr2/fields2.h. A telegram counts whole Wh by tariff, whole W, tenths
of a volt and whole amperes. Pure.
"""

from __future__ import annotations

import datetime as dt

from voltd.simulate.families.speaker import Measured, Texts, compact

_TARIFF_WH = 5000  # after so many the other tariff begins
_LOW, _NORMAL = 1, 2


def _tariffs(register_kwh: float) -> tuple[int, int, int]:
    """The register as a telegram has it: Wh of the first tariff and of the second, and which of them counts now."""
    watt_hours = round(register_kwh * 1000)
    rounds, rest = divmod(watt_hours, 2 * _TARIFF_WH)
    first = rounds * _TARIFF_WH + min(rest, _TARIFF_WH)
    return first, watt_hours - first, _LOW if rest < _TARIFF_WH else _NORMAL


def _exported(watts: float) -> tuple[int, int]:
    """Two unsigned powers: import and export, W."""
    whole = round(watts)
    return max(whole, 0), max(-whole, 0)


def dsmr_reader(measured: Measured) -> Texts:
    """The telegram as JSON: decimals as texts, kWh and kW, UTC; null for phases that are not there."""
    meter = measured.meter
    first, second, _ = _tariffs(measured.register_kwh)
    delivered, returned = _exported(meter.power_kw * 1000)
    phases = meter.phases
    by_phase: dict[str, object] = {}
    for phase in (1, 2, 3):
        there = phase <= phases
        by_phase[f"phase_currently_delivered_l{phase}"] = f"{delivered / phases / 1000:.3f}" if there else None
        by_phase[f"phase_voltage_l{phase}"] = f"{meter.voltage_v:.1f}" if there else None
        by_phase[f"phase_power_current_l{phase}"] = round(abs(meter.current_a)) if there else None
    telegram = {
        "id": int(measured.at.timestamp()),
        "timestamp": f"{measured.at:%Y-%m-%dT%H:%M:%SZ}",
        "electricity_delivered_1": f"{first / 1000:.3f}",
        "electricity_returned_1": "0.000",
        "electricity_delivered_2": f"{second / 1000:.3f}",
        "electricity_returned_2": "0.000",
        "electricity_currently_delivered": f"{delivered / 1000:.3f}",
        "electricity_currently_returned": f"{returned / 1000:.3f}",
        **by_phase,
        "extra_device_timestamp": None,
        "extra_device_delivered": None,
    }
    return {"json": compact(telegram)}


def dsmr2mqtt(measured: Measured) -> Texts:
    """W and Wh; the sum of the tariffs beside them; the time is the reader's, in whole seconds since 1970."""
    meter = measured.meter
    first, second, tariff = _tariffs(measured.register_kwh)
    consumed, generated = _exported(meter.power_kw * 1000)
    said: dict[str, object] = {
        "el_consumed": float(first + second),
        "el_consumed1": float(first),
        "el_consumed2": float(second),
        "el_returned": 0.0,
        "p_consumed": float(consumed),
        "p_generated": float(generated),
    }
    said |= {f"V{phase}": round(meter.voltage_v, 1) for phase in range(1, meter.phases + 1)}
    return {"el": compact(said | {"tariff_indicator": tariff, "timestamp": int(measured.at.timestamp())})}


def p1_dongle(measured: Measured) -> Texts:
    """A topic a field, JSON with the unit beside the value; two decimals, so steps of 10 Wh and 10 W."""
    meter = measured.meter
    first, second, _ = _tariffs(measured.register_kwh)
    delivered, returned = _exported(meter.power_kw * 1000)
    said = {
        "energy_delivered_tariff1": (first / 1000, "kWh"),
        "energy_delivered_tariff2": (second / 1000, "kWh"),
        "energy_returned_tariff1": (0.0, "kWh"),
        "energy_returned_tariff2": (0.0, "kWh"),
        "power_delivered": (delivered / 1000, "kW"),
        "power_returned": (returned / 1000, "kW"),
        **{f"voltage_l{phase}": (meter.voltage_v, "V") for phase in range(1, meter.phases + 1)},
        **{f"current_l{phase}": (float(round(abs(meter.current_a))), "A") for phase in range(1, meter.phases + 1)},
    }
    return {name: compact({name: [{"value": round(value, 2), "unit": unit}]}) for name, (value, unit) in said.items()}


def p1_dongle_alive(_device_id: str, _at: dt.datetime, online: bool) -> str:
    """LWT."""
    return "Online" if online else "Offline"
