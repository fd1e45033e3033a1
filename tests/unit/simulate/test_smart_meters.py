"""What simulated readers of smart meters (P1) send, byte by byte."""

import datetime as dt
import json
import random

import pytest

from voltd.simulate.families import catalogue
from voltd.simulate.fleet.meter import Meter

AT = dt.datetime(2025, 1, 17, 8, 0, 0, 250_000, tzinfo=dt.UTC)


def _says(name, register_kwh, charger_kw=7.4, power_kw=0.3992):
    """Payloads by topic of one report."""
    meter = Meter(random.Random(1))
    meter.charger_kw = charger_kw
    meter.power_kw, meter.voltage_v, meter.current_a = power_kw, 230.44, 1.886
    found = catalogue.FAMILIES[name].speaks_for("C").report(AT, meter, register_kwh)
    return {one.topic: one.payload.decode() for one in found}


def test_dsmr_reader():
    """Decimals as texts, kWh and kW; of one phase the others are null; retained."""
    assert _says("dsmr_reader", 1237.567) == {
        "dsmr/C/json": '{"id":1737100800,"timestamp":"2025-01-17T08:00:00Z","electricity_delivered_1":"620.000",'
        '"electricity_returned_1":"0.000","electricity_delivered_2":"617.567","electricity_returned_2":"0.000",'
        '"electricity_currently_delivered":"0.399","electricity_currently_returned":"0.000",'
        '"phase_currently_delivered_l1":"0.399","phase_voltage_l1":"230.4","phase_power_current_l1":2,'
        '"phase_currently_delivered_l2":null,"phase_voltage_l2":null,"phase_power_current_l2":null,'
        '"phase_currently_delivered_l3":null,"phase_voltage_l3":null,"phase_power_current_l3":null,'
        '"extra_device_timestamp":null,"extra_device_delivered":null}'
    }
    (text,) = _says("dsmr_reader", 1237.567, charger_kw=22.0, power_kw=-3.0).values()
    telegram = json.loads(text)
    assert (telegram["phase_voltage_l3"], telegram["electricity_currently_returned"]) == ("230.4", "3.000")
    assert catalogue.FAMILIES["dsmr_reader"].retained


def test_dsmr2mqtt():
    """W and Wh; the sum of both tariffs beside them; seconds since 1970."""
    assert _says("dsmr2mqtt", 1233.0) == {
        "dsmr2mqtt/C/el": '{"el_consumed":1233000.0,"el_consumed1":618000.0,"el_consumed2":615000.0,'
        '"el_returned":0.0,"p_consumed":399.0,"p_generated":0.0,"V1":230.4,"tariff_indicator":1,'
        '"timestamp":1737100800}'
    }


def test_p1_dongle():
    """A topic a field with its unit; two decimals."""
    said = _says("p1_dongle", 1237.567)
    assert said["P1-Dongle/C/energy_delivered_tariff1"] == '{"energy_delivered_tariff1":[{"value":620.0,"unit":"kWh"}]}'
    assert said["P1-Dongle/C/energy_delivered_tariff2"] == (
        '{"energy_delivered_tariff2":[{"value":617.57,"unit":"kWh"}]}'
    )
    assert said["P1-Dongle/C/power_delivered"] == '{"power_delivered":[{"value":0.4,"unit":"kW"}]}'
    assert said["P1-Dongle/C/voltage_l1"] == '{"voltage_l1":[{"value":230.44,"unit":"V"}]}'
    assert len(said) == 8
    assert len(_says("p1_dongle", 1.0, charger_kw=22.0)) == 12


@pytest.mark.parametrize("family", ["dsmr_reader", "dsmr2mqtt"])
def test_tariffs_take_turns_and_none_falls(family):
    """Their sum is the register at any time."""
    names = {"dsmr_reader": "electricity_delivered_{}", "dsmr2mqtt": "el_consumed{}"}[family]
    per_kwh = {"dsmr_reader": 1, "dsmr2mqtt": 1000}[family]
    before = [0.0, 0.0]
    for register_wh in range(0, 42_000, 700):
        (text,) = _says(family, register_wh / 1000).values()
        now = [float(json.loads(text)[names.format(tariff)]) / per_kwh for tariff in (1, 2)]
        assert sum(now) == pytest.approx(register_wh / 1000)
        assert all(one >= other for one, other in zip(now, before, strict=True))
        before = now
    assert min(before) > 15
