"""Charging stations and gateways with formats of their own: EVerest, CTEK, ocpp2mqtt, ha-ocpp-relay."""

import datetime as dt
import functools

import pytest

from support import families
from voltd.models import Reason

NOW = dt.datetime(2022, 10, 11, 16, 45, 21, tzinfo=dt.UTC)
AT = dt.datetime(2022, 10, 11, 16, 45, 20, tzinfo=dt.UTC)
decoded = functools.partial(families.decoded, received_at=NOW)
values = families.meters


@pytest.mark.parametrize("at", ["1665506720.0", '"2022-10-11T16:45:20Z"'])
def test_everest(at):
    """The total is the billed value; a negative power is exported; the time is written either way."""
    payload = (
        '{"energy_Wh_import":{"L1":1537.3,"L2":1537.3,"L3":1537.3,"total":4612.0},"energy_Wh_export":{"total":250},'
        '"power_W":{"L1":-3602.5,"L2":-3602.5,"L3":-3602.5,"total":-10807.5},"current_A":{"L1":15.5,"L2":15.5,"L3":15,"N":0.2},'
        '"voltage_V":{"L1":230,"L2":231,"L3":232},"frequency_Hz":{"L1":50},"meter_id":"M","timestamp":' + at + "}"
    )
    assert values(decoded("everest", ("everest_api/evse_1/var/powermeter", payload))) == [
        {"meter_id": "evse_1", "recorded_at": AT, "ac_register_kwh": 4.612, "ac_returned_register_kwh": 0.25,
         "power_kw": -10.8075, "voltage_v": 231.0, "current_a": 46.0}
    ]  # fmt: skip


CTEK = (
    '{"current":[1.589,0.84,3.721],"energy":20218145,"frequency":50,"power":1337.6,"timestamp":"2022-10-11T16:45:20Z",'
    '"voltage":[237.6,233.9,235.8]}'
)


def test_ctek():
    (reading,) = values(decoded("ctek", ("CTEK/C1/evse1/em", CTEK)))
    assert reading == {
        "meter_id": "C1-evse1", "recorded_at": AT, "ac_register_kwh": 20218.145, "power_kw": 1.3376,
        "voltage_v": pytest.approx(235.7667, abs=1e-4), "current_a": pytest.approx(6.15),
    }  # fmt: skip


def test_ctek_without_some_values():
    """Null and nan, which is no JSON, are no values."""
    payload = CTEK.replace("1.589", "nan").replace("0.84", "null").replace("1337.6", "-nan").replace("20218145", " nan")
    assert values(decoded("ctek", ("CTEK/C1/evse2/em", payload))) == [
        {"meter_id": "C1-evse2", "recorded_at": AT, "voltage_v": pytest.approx(235.7667, abs=1e-4), "current_a": 3.721}
    ]


@pytest.mark.parametrize("payload", ['{"power":nanny}', '{"power":banana}', "nan", '{"power":nan'])
def test_ctek_broken(payload):
    batch = decoded("ctek", ("CTEK/C1/evse1/em", payload))
    assert ([one.reason for one in batch.dead_letters], batch.meters) == ([Reason.NOT_JSON], [])


def test_ocpp2mqtt():
    base = "ocpp/charger1/state/"
    batch = decoded(
        "ocpp2mqtt",
        (base + "energy_active_import_register", "113500"),
        (base + "power_active_import", "3400.0"),
        (base + "current_import", "14.9"),
        (base + "voltage", "229.7"),
        (base + "status", "Charging"),
    )
    assert values(batch) == [
        {"meter_id": "charger1", "recorded_at": NOW, "time_source": "arrival", "ac_register_kwh": 113.5,
         "power_kw": 3.4, "current_a": 14.9, "voltage_v": 229.7}
    ]  # fmt: skip
    assert [one.device_id for one in batch.alive] == ["charger1"]


def test_ocpp2mqtt_zeros_of_the_gateway():
    """It writes them when the station is away or does not charge: they are no readings."""
    base = "ocpp/charger1/state/"
    batch = decoded(
        "ocpp2mqtt", (base + "power_active_import", "0"), (base + "current_import", "0.0"), (base + "status", "")
    )
    assert (batch.meters, batch.dead_letters) == ([], [])


def test_ocpp2mqtt_retains_everything():
    batch = decoded("ocpp2mqtt", ("ocpp/c/state/energy_active_import_register", "113500"), retained=True)
    assert (batch.meters, batch.alive, batch.dead_letters) == ([], [], [])


def test_ha_ocpp_relay():
    base = "ocpp/CP1/1/"
    batch = decoded(
        "ocpp_relay",
        (base + "Outlet/Energy-Active-Import-Register/state", '{"value":"113500"}'),
        (base + "Outlet/Power-Active-Import/state", '{"value":"3400"}'),
        (base + "status/state", '{"value":"Charging"}'),
        (base + "status/state", '{"value":"Unavailable"}'),
    )
    assert values(batch) == [
        {"meter_id": "CP1-1", "recorded_at": NOW, "time_source": "arrival", "ac_register_kwh": 113.5, "power_kw": 3.4}
    ]
    assert [one.device_id for one in batch.alive] == ["CP1-1"]
