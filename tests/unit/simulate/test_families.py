"""What simulated devices of other makers send, byte by byte."""

import datetime as dt
import json
import random

import pytest

from voltd.simulate.families import catalogue, speaker
from voltd.simulate.fleet.meter import Meter
from voltd.simulate.fleet.vehicle import MODELS, Activity, Vehicle

AT = dt.datetime(2025, 1, 17, 8, 0, 0, 250_000, tzinfo=dt.UTC)
_STATUS = (
    '{"UniqueId":"1737100800249","Payload":{"connectorId":0,"errorCode":"NoError","status":"STATUS"},'
    '"MessageTypeId":2,"Action":"StatusNotification"}'
)
PLAIN, OTHER = "C", "D"  # ids by which a device has the usual or the other firmware


def _vehicle(activity=Activity.CHARGING, charger_kw=11.0):
    made = Vehicle(MODELS[0], (37.7749, -122.4194), activity, random.Random(1), charger_kw)
    made.activity = activity
    made.latitude, made.longitude = 37.7749, -122.4194
    made.soc_pct, made.odometer_km, made.battery_temp_c = 75.5, 57913.12, 13.0
    made.speed_kmh = 80.4672 if activity is Activity.DRIVING else 0.0
    made.charging_kw = 10.5 if activity is Activity.CHARGING else 0.0
    return made


def _meter(charger_kw=7.4):
    made = Meter(random.Random(1))
    made.charger_kw = charger_kw
    made.ac_kwh, made.power_kw, made.voltage_v, made.current_a = 0.005, 0.3992, 230.4, 1.886
    return made


def _says(name, device, register_kwh, device_id=PLAIN):
    """Payloads by topic of one report."""
    made = speaker.Speaker(catalogue.FAMILIES[name], device_id)
    return {one.topic: one.payload.decode() for one in made.report(AT, device, register_kwh)}


def test_which_ids_are_which():
    """The tests below rely on it."""
    measured = [speaker.Measured(one, AT, None, 0.0) for one in (PLAIN, OTHER)]
    assert [one.one_in(4) for one in measured] == [False, True]


def test_ovms():
    """Plain text without units; output is positive, so charging is negative; booleans are yes and no."""
    said = _says("ovms", _vehicle(), 2.6969)
    assert said["ovms/voltd/C/metric/v/c/kwh/grid/total"] == "10424.3616"
    del said["ovms/voltd/C/metric/v/c/kwh/grid/total"]
    assert said == {
        "ovms/voltd/C/metric/v/b/soc": "75.5",
        "ovms/voltd/C/metric/v/p/speed": "0",
        "ovms/voltd/C/metric/v/p/odometer": "57913.1",
        "ovms/voltd/C/metric/v/p/latitude": "37.774900",
        "ovms/voltd/C/metric/v/p/longitude": "-122.419400",
        "ovms/voltd/C/metric/v/b/temp": "13",
        "ovms/voltd/C/metric/v/b/power": "-10.5",
        "ovms/voltd/C/metric/v/c/charging": "yes",
        "ovms/voltd/C/metric/v/c/state": "charging",
        "ovms/voltd/C/metric/v/c/kwh": "2.6969",
    }


def test_tesla():
    """Bare JSON values, mph and miles; a parked car has no speed; during AC charging both counters."""
    assert _says("tesla", _vehicle(), 15.36) == {
        "telemetry/C/v/Soc": "75.5",
        "telemetry/C/v/VehicleSpeed": "null",
        "telemetry/C/v/Odometer": "35985.5444",
        "telemetry/C/v/Location": '{"latitude":37.7749,"longitude":-122.4194}',
        "telemetry/C/v/Gear": '"ShiftStateP"',
        "telemetry/C/v/ModuleTempMax": "13.0",
        "telemetry/C/v/DetailedChargeState": '"DetailedChargeStateCharging"',
        "telemetry/C/v/DCChargingEnergyIn": "15.36",
        "telemetry/C/v/DCChargingPower": "10.5",
        "telemetry/C/v/ACChargingEnergyIn": "16.1684",
        "telemetry/C/v/ACChargingPower": "11.053",
    }


def test_tesla_of_older_firmware():
    """Numbers as texts; a fast charger's direct current passes by the on-board charger."""
    said = _says("tesla", _vehicle(Activity.DRIVING, charger_kw=50.0), 15.36, OTHER)
    assert said["telemetry/D/v/VehicleSpeed"] == '"50.0"'
    assert said["telemetry/D/v/DetailedChargeState"] == '"DetailedChargeStateDisconnected"'
    assert not [topic for topic in said if "/v/AC" in topic]


def test_teslamate():
    """Plain text; output is positive; a parked car's speed is empty."""
    assert _says("teslamate", _vehicle(), 5.064) == {
        "teslamate/cars/C/state": "charging",
        "teslamate/cars/C/battery_level": "76",
        "teslamate/cars/C/usable_battery_level": "76",
        "teslamate/cars/C/speed": "",
        "teslamate/cars/C/odometer": "57913.12",
        "teslamate/cars/C/latitude": "37.7749",
        "teslamate/cars/C/longitude": "-122.4194",
        "teslamate/cars/C/location": '{"latitude":37.7749,"longitude":-122.4194}',
        "teslamate/cars/C/power": "-10",
        "teslamate/cars/C/charging_state": "Charging",
        "teslamate/cars/C/plugged_in": "true",
        "teslamate/cars/C/charge_energy_added": "5.06",
        "teslamate/cars/C/charger_power": "11",
    }


def test_tasmota():
    """Local time without a zone, an hour ahead; kWh and W."""
    assert _says("tasmota", _meter(), 1290.396) == {
        "tele/C/SENSOR": '{"Time":"2025-01-17T09:00:00","ENERGY":{"Total":1290.396,"Period":5,"Power":399.2,'
        '"ApparentPower":399.2,"ReactivePower":0.0,"Factor":1.0,"Voltage":230,"Current":1.886}}'
    }


def test_tasmota_with_three_phases_and_as_a_reader():
    """Phases are arrays; a smart meter's names are the user's own."""
    (text,) = _says("tasmota", _meter(11.0), 0.077).values()
    energy = json.loads(text)["ENERGY"]
    assert (energy["Power"], energy["Current"], energy["Total"]) == ([133.07] * 3, [1.886] * 3, 0.077)
    assert _says("tasmota", _meter(), 34507.4761, OTHER) == {
        "tele/D/SENSOR": '{"Time":"2025-01-17T09:00:00","SML":{"Total_in":34507.4761,"Total_out":0.0,"Power_curr":399}}'
    }


def test_shelly():
    """Wh everywhere; a switch has added what was fed in to its import; a notification has a time."""
    assert _says("shelly", _meter(), 2574.466629) == {
        "shellies/C/status/switch:0": '{"id":0,"output":true,"apower":399.2,"voltage":230.4,"current":1.886,'
        '"freq":50.0,"aenergy":{"total":2574716.629},"ret_aenergy":{"total":250.0}}'
    }
    (text,) = _says("shelly", _meter(22.0), 1234.567).values()
    said = json.loads(text)
    assert (said["src"], said["dst"], said["method"]) == ("C", "C/events", "NotifyStatus")
    assert said["params"]["ts"] == 1737100800.25
    assert said["params"]["emdata:0"] == {"id": 0, "total_act": 1234567.0, "total_act_ret": 0.0}
    assert said["params"]["em:0"]["a_act_power"] == 133.1


def test_zigbee2mqtt():
    """One JSON object of the last state; whole W, kWh with two decimals, and when it was heard."""
    assert _says("zigbee2mqtt", _meter(), 12.3449) == {
        "zigbee2mqtt/C": '{"current":1.89,"energy":12.34,"last_seen":"2025-01-17T08:00:00.250Z","linkquality":105,'
        '"power":399,"state":"ON","voltage":230}'
    }


def test_openevse():
    """mA, 0.1 degrees, false for a sensor that is absent, state by number, kWh of its life."""
    assert _says("openevse", _meter(), 12.5) == {
        "openevse/C/amp": "1886",
        "openevse/C/voltage": "230",
        "openevse/C/power": "399",
        "openevse/C/temp": "314",
        "openevse/C/temp2": "false",
        "openevse/C/state": "3",
        "openevse/C/vehicle": "1",
        "openevse/C/total_energy": "12.5",
    }


def test_evcc():
    """W, kWh with three decimals, phases below their sum; unix seconds; an empty value for none."""
    assert _says("evcc", _meter(), 12.34567) == {
        "evcc/C/updated": "1737100800",
        "evcc/C/loadpoints/1/chargePower": "399.2",
        "evcc/C/loadpoints/1/chargeCurrents": "1.886",
        "evcc/C/loadpoints/1/chargeCurrents/l1": "1.886",
        "evcc/C/loadpoints/1/chargeCurrents/l2": "0",
        "evcc/C/loadpoints/1/chargeCurrents/l3": "0",
        "evcc/C/loadpoints/1/chargeTotalImport": "12.346",
        "evcc/C/loadpoints/1/charging": "true",
        "evcc/C/loadpoints/1/vehicleName": "",
    }


def test_ocpp():
    """Numbers as texts, Wh and kW mixed, phases beside the whole."""
    assert _says("ocpp", _meter(), 113.5) == {
        "ocpp/cp/C": '{"UniqueId":"1737100800250","Payload":{"connectorId":0,"meterValue":[{"timestamp":'
        '"2025-01-17T08:00:00.250Z","sampledValue":[{"measurand":"Energy.Active.Import.Register","unit":"Wh","value":'
        '"113500"},{"measurand":"Power.Active.Import","unit":"kW","value":"0.399"},{"measurand":"Voltage","unit":"V",'
        '"value":"230.4","phase":"L1-N"},{"measurand":"Current.Import","unit":"A","value":"1.89","phase":"L1"}]}]},'
        '"MessageTypeId":2,"Action":"MeterValues"}'
    }


@pytest.mark.parametrize(
    ("name", "topic", "comes", "goes", "retained"),
    [
        ("ovms", "ovms/voltd/C/metric/s/v3/connected", "yes", "no", True),
        (
            "tesla",
            "telemetry/C/connectivity",
            '{"ConnectionId":"C","CreatedAt":"2025-01-17T08:00:00Z","Status":"CONNECTED"}',
            '{"ConnectionId":"C","CreatedAt":"2025-01-17T08:00:00Z","Status":"DISCONNECTED"}',
            False,
        ),
        ("teslamate", "teslamate/cars/C/state", "online", "offline", True),
        ("tasmota", "tele/C/LWT", "Online", "Offline", True),
        ("shelly", "shellies/C/online", "true", "false", True),
        ("zigbee2mqtt", "zigbee2mqtt/C/availability", '{"state":"online"}', '{"state":"offline"}', True),
        (
            "openevse",
            "openevse/announce/C",
            '{"state":"connected","id":"C","name":"C","mqtt":"openevse/C"}',
            '{"state":"disconnected","id":"C","name":"C","mqtt":"openevse/C"}',
            True,
        ),
        ("evcc", "evcc/C/status", "online", "offline", True),
        ("p1_dongle", "P1-Dongle/C/LWT", "Online", "Offline", True),
        (
            "ocpp",
            "ocpp/cp/C",
            _STATUS.replace("STATUS", "Available"),
            _STATUS.replace("STATUS", "Unavailable"),
            False,
        ),
    ],
)
def test_connectivity(name, topic, comes, goes, retained):
    """Said once when the device comes and once when it goes; it measures nothing."""
    made = speaker.Speaker(catalogue.FAMILIES[name], "C")
    said = [*made.goes(AT), *made.comes(AT), *made.comes(AT), *made.goes(AT), *made.goes(AT)]
    assert [(one.topic, one.payload.decode(), one.retain) for one in said] == [
        (topic, comes, retained),
        (topic, goes, retained),
    ]
    assert not any(one.vehicle + one.meter for one in said)


def test_only_what_changed():
    """Of families that send changes; everything again after a time offline. One message of a report counts."""
    made, vehicle = speaker.Speaker(catalogue.FAMILIES["ovms"], "C"), _vehicle(Activity.HOME)
    everything = made.report(AT, vehicle, 3.0)
    assert sum(one.vehicle for one in everything) == 1
    assert all(one.retain and one.device == "C" for one in everything)
    assert made.report(AT, vehicle, 3.0) == []
    vehicle.soc_pct = 70.0
    (changed,) = made.report(AT, vehicle, 3.0)
    assert (changed.topic, changed.payload, changed.vehicle) == ("ovms/voltd/C/metric/v/b/soc", b"70", 1)
    assert len([*made.comes(AT), *made.report(AT, vehicle, 3.0)]) == 1 + len(everything)
