"""Meters as Tasmota, Shelly, zigbee2mqtt, OpenEVSE, evcc and OCPP gateways report them.

Facts: arendst/Tasmota tasmota/tasmota_xdrv_driver/xdrv_03_energy.ino; Shelly's API documentation (Notifications, EM,
EMData, Switch) and evcc-io/evcc meter/shelly/gen2.go; Koenkk/zigbee2mqtt.io docs/devices/TS011F_plug_1.md;
OpenEVSE/openevse_esp32_firmware src/{mqtt,input,energy_meter}.cpp; evcc-io/evcc server/mqtt.go, core/keys;
emqx/emqx apps/emqx_gateway_ocpp. Pure.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo

from voltd.simulate.families.speaker import Measured, Texts, compact, number

# Of the devices that write local time: an hour ahead all year (Tasmota: Timezone 1), so that no hour is there twice.
ZONE = zoneinfo.ZoneInfo("Etc/GMT-1")
SHELLY_RETURNED_WH = 250.0  # fed in once: the switch has added it to its import, too
_CHARGING_KW = 0.1
_EVSE_CHARGING, _EVSE_NOT_CONNECTED = "3", "1"


def _utc(at: dt.datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def tasmota(measured: Measured) -> Texts:
    """A document in local time without a zone, kWh and W; phases are arrays; some read a smart meter by infrared."""
    meter, watts = measured.meter, measured.meter.power_kw * 1000
    time = f"{measured.at.astimezone(ZONE):%Y-%m-%dT%H:%M:%S}"
    total = round(measured.register_kwh, 4)
    if measured.one_in(4):
        document = {"Time": time, "SML": {"Total_in": total, "Total_out": 0.0, "Power_curr": round(watts)}}
        return {"SENSOR": compact(document)}
    count = meter.phases
    power, current = round(watts / count, 2), round(meter.current_a, 3)
    energy = {
        "Total": total,
        "Period": round(meter.ac_kwh * 1000),
        "Power": power if count == 1 else [power] * count,
        "ApparentPower": power if count == 1 else [power] * count,
        "ReactivePower": 0.0 if count == 1 else [0.0] * count,
        "Factor": 1.0 if count == 1 else [1.0] * count,
        "Voltage": round(meter.voltage_v),
        "Current": current if count == 1 else [current] * count,
    }
    return {"SENSOR": compact({"Time": time, "ENERGY": energy})}


def tasmota_alive(_device_id: str, _at: dt.datetime, online: bool) -> str:
    """LWT."""
    return "Online" if online else "Offline"


def shelly(measured: Measured) -> Texts:
    """All energy in Wh. A three-phase meter sends notifications with a time, a switch its status without one."""
    meter, watt_hours = measured.meter, measured.register_kwh * 1000
    count = meter.phases
    current, volts = round(meter.current_a, 3), round(meter.voltage_v, 1)
    watts = round(meter.power_kw * 1000 / count, 1)
    if count == 1:
        switch = {
            "id": 0,
            "output": True,
            "apower": watts,
            "voltage": volts,
            "current": current,
            "freq": 50.0,
            "aenergy": {"total": round(watt_hours + SHELLY_RETURNED_WH, 3)},
            "ret_aenergy": {"total": SHELLY_RETURNED_WH},
        }
        return {"status/switch:0": compact(switch)}
    live: dict[str, object] = {"id": 0}
    for phase in "abc":
        live |= {f"{phase}_current": current, f"{phase}_voltage": volts, f"{phase}_act_power": watts}
    live |= {"total_current": round(3 * current, 3), "total_act_power": round(3 * watts, 1)}
    counters = {"id": 0, "total_act": round(watt_hours, 3), "total_act_ret": 0.0}
    params = {"ts": round(measured.at.timestamp(), 2), "em:0": live, "emdata:0": counters}
    source = measured.device_id
    notification = {"src": source, "dst": f"{source}/events", "method": "NotifyStatus", "params": params}
    return {"events/rpc": compact(notification)}


def shelly_alive(_device_id: str, _at: dt.datetime, online: bool) -> str:
    """Whether the device is connected; its last will."""
    return "true" if online else "false"


def zigbee2mqtt(measured: Measured) -> Texts:
    """The last state of a plug: whole W, kWh with two decimals, and when it was heard."""
    meter = measured.meter
    state = {
        "current": round(meter.current_a * meter.phases, 2),
        "energy": round(measured.register_kwh, 2),
        "last_seen": _utc(measured.at),
        "linkquality": 105,
        "power": round(meter.power_kw * 1000),
        "state": "ON",
        "voltage": round(meter.voltage_v),
    }
    return {"": compact(state)}


def zigbee2mqtt_alive(_device_id: str, _at: dt.datetime, online: bool) -> str:
    """Availability."""
    return compact({"state": "online" if online else "offline"})


def openevse(measured: Measured) -> Texts:
    """Values by topic: mA, V, W, kWh of its life, 0.1 degrees, and false where a sensor is absent."""
    meter = measured.meter
    charging = meter.power_kw > _CHARGING_KW
    return {
        "amp": str(round(meter.current_a * 1000)),
        "voltage": str(round(meter.voltage_v)),
        "power": str(round(meter.power_kw * 1000)),
        "temp": "314",
        "temp2": "false",
        "state": _EVSE_CHARGING if charging else _EVSE_NOT_CONNECTED,
        "vehicle": "1" if charging else "0",
        "total_energy": number(measured.register_kwh, 4),
    }


def openevse_alive(device_id: str, _at: dt.datetime, online: bool) -> str:
    """The announcement; its last will."""
    state = "connected" if online else "disconnected"
    return compact({"state": state, "id": device_id, "name": device_id, "mqtt": f"openevse/{device_id}"})


def evcc(measured: Measured) -> Texts:
    """Values of a site with one loadpoint by topic: W, A by phase and their sum, kWh; no more than three decimals."""
    meter = measured.meter
    count = meter.phases
    charging = meter.power_kw > _CHARGING_KW
    currents = [meter.current_a if phase < count else 0.0 for phase in range(3)]
    return {
        "loadpoints/1/chargePower": number(meter.power_kw * 1000, 3),
        "loadpoints/1/chargeTotalImport": number(measured.register_kwh, 3),
        **{f"loadpoints/1/chargeCurrents/l{phase}": number(one, 3) for phase, one in enumerate(currents, 1)},
        "loadpoints/1/chargeCurrents": number(sum(currents), 3),
        "loadpoints/1/charging": "true" if charging else "false",
        "loadpoints/1/vehicleName": "",
        "updated": str(int(measured.at.timestamp())),
    }


def evcc_alive(_device_id: str, _at: dt.datetime, online: bool) -> str:
    """Whether evcc is connected; its last will."""
    return "online" if online else "offline"


def ocpp(measured: Measured) -> Texts:
    """MeterValues of a whole station in OCPP 1.6 and EMQX's frame: numbers are texts, energy is whole Wh."""
    meter = measured.meter
    count = meter.phases

    def sample(measurand: str, unit: str, value: str, **more: str) -> dict[str, str]:
        return {"measurand": measurand, "unit": unit, "value": value, **more}

    phases = [f"L{phase}" for phase in range(1, count + 1)]
    samples = [
        sample("Energy.Active.Import.Register", "Wh", str(round(measured.register_kwh * 1000))),
        sample("Power.Active.Import", "kW", number(meter.power_kw, 3)),
        *(sample("Voltage", "V", f"{meter.voltage_v:.1f}", phase=f"{phase}-N") for phase in phases),
        *(sample("Current.Import", "A", number(meter.current_a, 2), phase=phase) for phase in phases),
    ]
    body = {"connectorId": 0, "meterValue": [{"timestamp": _utc(measured.at), "sampledValue": samples}]}
    number_of_call = str(int(measured.at.timestamp() * 1000))
    return {"": compact({"UniqueId": number_of_call, "Payload": body, "MessageTypeId": 2, "Action": "MeterValues"})}


def ocpp_alive(_device_id: str, at: dt.datetime, online: bool) -> str:
    """A StatusNotification."""
    status = "Available" if online else "Unavailable"
    body = {"connectorId": 0, "errorCode": "NoError", "status": status}
    number_of_call = str(int(at.timestamp() * 1000) - 1)
    return compact({"UniqueId": number_of_call, "Payload": body, "MessageTypeId": 2, "Action": "StatusNotification"})
