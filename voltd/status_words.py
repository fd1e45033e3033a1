"""What vehicles report as charging status, by what it means for rules and sessions: each word with its source.

Case and outer blanks do not matter. ``config/rules.toml`` lists them for users, who may replace each list.
"""

CHARGING = (
    "charging",  # TeslaMate, OVMS v.c.state, OCPP status and chargingState
    "ac_charging", "dc_charging", "fast_charging",
    "starting", "DetailedChargeStateStarting",  # Tesla: plugged in, the contactors close
    "DetailedChargeStateCharging", "CHARGE_STATE_CHARGING", "ChargeStateCharging",  # Tesla fleet telemetry
    "topoff",  # OVMS: the last per cent, with less power
    "C", "C2", "D", "D2",  # IEC 61851 control pilot, as evcc and wallboxes report it; C1 and D1 only offer energy
    "3",  # OpenEVSE state number
    "yes", "true",  # OVMS v.c.charging, evcc charging
)  # fmt: skip
PLUGGED = (
    "connected", "plugged", "plugged_in", "plugged in", "complete", "completed", "full", "paused", "waiting",
    "scheduled",
    "done", "stopped", "prepare", "timerwait", "heating",  # OVMS v.c.state
    "nopower",  # TeslaMate
    "DetailedChargeStateComplete", "DetailedChargeStateStopped", "DetailedChargeStateNoPower",
    "CHARGE_STATE_COMPLETE", "CHARGE_STATE_STOPPED", "CHARGE_STATE_NO_POWER",
    "ChargeStateComplete", "ChargeStateStopped", "ChargeStateNoPower",  # Tesla fleet telemetry
    "preparing", "suspendedev", "suspendedevse", "finishing", "evconnected",  # OCPP status and chargingState
    "B", "B1", "B2", "C1", "D1",  # IEC 61851
    "2",  # OpenEVSE
)  # fmt: skip
UNPLUGGED = (
    "disconnected", "unplugged", "not connected", "not_connected",
    "DetailedChargeStateDisconnected", "CHARGE_STATE_DISCONNECTED", "ChargeStateDisconnected",  # Tesla fleet telemetry
    "available",  # OCPP status
    "A", "A1", "A2",  # IEC 61851
    "1",  # OpenEVSE
)  # fmt: skip


def folded(words: tuple[str, ...]) -> str:
    """The words as the database compares them: in small letters, without outer blanks, a line each."""
    return "\n".join(dict.fromkeys(one.strip().lower() for one in words))
