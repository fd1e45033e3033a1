"""Vehicles as OVMS, Tesla's fleet telemetry and TeslaMate report them.

Facts: openvehicles/Open-Vehicle-Monitoring-System-3 vehicle/OVMS.V3: components/ovms_server_v3/src/ovms_server_v3.cpp,
main/ovms_metrics.cpp; teslamotors/fleet-telemetry datastore/mqtt/mqtt_payload.go and its tests,
protos/vehicle_data.proto; teslamate-org/teslamate website/docs/integrations/mqtt.md. Pure.
"""

from __future__ import annotations

import datetime as dt

from voltd.simulate.families.speaker import ONBOARD_EFFICIENCY, Measured, Texts, compact, number
from voltd.simulate.fleet.vehicle import FAST_CHARGER_KW, Activity

_MILE_KM = 1.609344
_OVMS_STATE = {"CHARGING": "charging", "CONNECTED": "done", "DISCONNECTED": "stopped"}
_TESLA_STATE = {"CHARGING": "Charging", "CONNECTED": "Complete", "DISCONNECTED": "Disconnected"}
_TESLAMATE_STATE = {Activity.CHARGING: "charging", Activity.DRIVING: "driving"}


def ovms(measured: Measured) -> Texts:
    """Metrics by topic: plain text without units; power is positive out of the battery."""
    vehicle = measured.vehicle
    return {
        "metric/v/b/soc": number(vehicle.soc_pct, 2),
        "metric/v/p/speed": number(vehicle.speed_kmh, 1),
        "metric/v/p/odometer": number(vehicle.odometer_km, 1),
        "metric/v/p/latitude": f"{vehicle.latitude:.6f}",
        "metric/v/p/longitude": f"{vehicle.longitude:.6f}",
        "metric/v/b/temp": number(vehicle.battery_temp_c, 1),
        "metric/v/b/power": number(-vehicle.charging_kw, 3),
        "metric/v/c/charging": "yes" if vehicle.activity is Activity.CHARGING else "no",
        "metric/v/c/state": _OVMS_STATE[vehicle.charging_status],
        "metric/v/c/kwh": number(measured.register_kwh, 4),
        "metric/v/c/kwh/grid/total": number(measured.onboard_kwh, 4),
    }


def ovms_alive(_device_id: str, _at: dt.datetime, online: bool) -> str:
    """Whether the module is connected; its last will."""
    return "yes" if online else "no"


def tesla(measured: Measured) -> Texts:
    """Fields by topic: JSON values; mph and miles, enumerations by name, null where a field has no value now.

    Older firmware writes its numbers as texts.
    """
    vehicle = measured.vehicle
    as_text = measured.one_in(4)

    def value(figure: float, decimals: int) -> str:
        rounded = round(figure, decimals)
        return compact(f"{rounded}" if as_text else rounded)

    alternating = vehicle.charger_kw < FAST_CHARGER_KW
    state = _TESLA_STATE[vehicle.charging_status]
    fields = {
        "Soc": value(vehicle.soc_pct, 2),
        "VehicleSpeed": value(vehicle.speed_kmh / _MILE_KM, 3) if vehicle.activity is Activity.DRIVING else "null",
        "Odometer": value(vehicle.odometer_km / _MILE_KM, 4),
        "Location": compact({"latitude": round(vehicle.latitude, 6), "longitude": round(vehicle.longitude, 6)}),
        "Gear": '"ShiftStateD"' if vehicle.activity is Activity.DRIVING else '"ShiftStateP"',
        "ModuleTempMax": value(vehicle.battery_temp_c, 1),
        "DetailedChargeState": f'"DetailedChargeState{state}"',
        "DCChargingEnergyIn": value(measured.register_kwh, 4),
        "DCChargingPower": value(vehicle.charging_kw, 3),
    }
    if alternating:
        fields["ACChargingEnergyIn"] = value(measured.register_kwh / ONBOARD_EFFICIENCY, 4)
        fields["ACChargingPower"] = value(vehicle.charging_kw / ONBOARD_EFFICIENCY, 3)
    return {f"v/{name}": text for name, text in fields.items()}


def tesla_alive(device_id: str, at: dt.datetime, online: bool) -> str:
    """A connectivity message; it has a time, the fields have none."""
    status = "CONNECTED" if online else "DISCONNECTED"
    return compact({"ConnectionId": device_id, "CreatedAt": f"{at:%Y-%m-%dT%H:%M:%SZ}", "Status": status})


def teslamate(measured: Measured) -> Texts:
    """Values by topic: plain text, whole percent, km/h and kW; an empty one where there is none."""
    vehicle = measured.vehicle
    driving = vehicle.activity is Activity.DRIVING
    plugged_in = vehicle.charging_status != "DISCONNECTED"
    place = {"latitude": round(vehicle.latitude, 6), "longitude": round(vehicle.longitude, 6)}
    return {
        "state": _TESLAMATE_STATE.get(vehicle.activity, "online"),
        "battery_level": f"{vehicle.soc_pct:.0f}",
        "usable_battery_level": f"{vehicle.soc_pct:.0f}",
        "speed": f"{vehicle.speed_kmh:.0f}" if driving else "",
        "odometer": number(vehicle.odometer_km, 2),
        "latitude": number(vehicle.latitude, 6),
        "longitude": number(vehicle.longitude, 6),
        "location": compact(place),
        "power": number(-vehicle.charging_kw, 0),
        "charging_state": _TESLA_STATE[vehicle.charging_status],
        "plugged_in": "true" if plugged_in else "false",
        "charge_energy_added": number(measured.register_kwh, 2),
        "charger_power": number(vehicle.charging_kw / ONBOARD_EFFICIENCY, 0),
    }


def teslamate_alive(_device_id: str, _at: dt.datetime, online: bool) -> str:
    """What TeslaMate takes the car to be doing, before it knows more."""
    return "online" if online else "offline"
