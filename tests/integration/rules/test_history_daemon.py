"""``voltd rules test`` says of stored readings what a daemon that saw them one by one would have raised."""

import datetime as dt
import pathlib
import random

import pytest

from support.rules import history
from support.rules.history import at
from voltd.rules import charging_status, evaluate, load, observation, rule_state, scope

END = at(120)
RULES = """
[rules.soc_low]
metric = "soc_pct"
applies_to = ["vehicle"]
fire_below = 15.0
clear_above = 20.0
clear_when_charging = true
severity_steps = [{ severity = "critical", below = 5.0 }]
[rules.overspeed]
metric = "speed_kmh"
applies_to = ["vehicle"]
fire_above = 120.0
clear_below = 115.0
keep_firing_for_s = 150.0
[[rules.overspeed.overrides]]
fleets = ["north"]
fire_above = 118.0
[rules.hot]
metric = "battery_temp_c"
applies_to = ["vehicle"]
fire_above = 80.0
clear_below = 75.0
for_s = 120.0
"""
NORTH = scope.Device("vehicle", "V0", "north", status="active")
WORKSHOP = scope.Device("vehicle", "V1", status="maintenance")


def _readings(dice):
    """(minute, values) of one vehicle: the first before the period, where it only says whether it is charging."""
    yield -5, {"charging_status": dice.choice(("charging", "idle"))}
    for minute in sorted(dice.sample(range(119), 45)):
        yield (
            minute,
            {
                "soc_pct": dice.choice((None, 4.0, 12.0, 17.0, 21.0)),
                "speed_kmh": dice.choice((None, None, 0.0, 90.0, 114.0, 117.0, 119.0, 125.0)),
                "battery_temp_c": dice.choice((None, 60.0, 77.0, 81.0, 82.0, 83.0)),
                "charging_status": dice.choice(("charging", "idle", *[None] * 18)),
            },
        )


def _seen_one_by_one(plan, device, readings):
    """(rule, device, severity, opened, resolved, peak) of a daemon that checks at each reading and at the end."""
    states, found, known = {}, [], charging_status.ChargingTracker(charging_status.Charging())

    def check(now, *rows):
        devices = {("vehicle", device.device_id): device}
        for one in plan.evaluate(rows, devices, {}, states, now=now, healthy_since=history.T0):
            states[one.rule, "vehicle", device.device_id] = one.state
            ended = [new for new in one.transitions if new.kind is rule_state.TransitionKind.RESOLVED]
            found.extend(episode(one.rule, new, new.resolved_at) for new in ended)

    def episode(rule, one, resolved_at):
        return (rule, device.device_id, one.severity.value, one.opened_at, resolved_at, one.peak_value)

    for minute, values in readings:
        measured = dict(values)
        word = measured.pop("charging_status")
        now = at(minute)
        charging = known.read(now, word, measured.get("speed_kmh"))
        check(now, observation.Observation("vehicle", device.device_id, now, now, **measured, charging=charging))
    check(END)
    still = [(key[0], one) for key, one in states.items() if one.phase is rule_state.Phase.FIRING]
    return found + [episode(rule, one, None) for rule, one in still]


def _moment(text):
    return text and dt.datetime.fromisoformat(text)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_episodes_as_a_daemon_that_saw_every_reading(migrated_database, tmp_path, seed):
    """What SQL leaves out would have changed nothing; a vehicle may have been on a charger since before the period."""
    past, dice = history.History(migrated_database, tmp_path), random.Random(seed)
    file = past.write("telemetry.toml", RULES)
    plan, expected = evaluate.RuleSet(load.load(pathlib.Path(file))), []
    past.execute("INSERT INTO volt.fleet (fleet_id, name) VALUES ('north', 'N')")
    for one in (NORTH, WORKSHOP):
        past.execute(
            "INSERT INTO volt.vehicle (vehicle_id, fleet_id, status) VALUES (%s, %s, %s)",
            one.device_id, one.fleet_id, one.status,
        )  # fmt: skip
    for device in (NORTH, WORKSHOP, *[scope.Device("vehicle", f"V{number}") for number in range(2, 10)]):
        readings = list(_readings(dice))
        past.vehicle(device.device_id, *[(minute, dict(values)) for minute, values in readings])
        expected += _seen_one_by_one(plan, device, readings)
    past.vehicle("calm", *[(minute, {"soc_pct": 50.0, "speed_kmh": 50.0}) for minute in range(60)])
    assert {one[0] for one in expected} == {"soc_low", "overspeed", "hot"}
    assert None in {one[4] for one in expected}
    found = [
        (one["rule"], one["device_id"], one["severity"], _moment(one["opened_at"]), _moment(one["resolved_at"]),
         one["peak_value"])
        for one in past.lines(file=file, in_force=file)
        if one["kind"] == "episode"
    ]  # fmt: skip
    assert sorted(found, key=str) == sorted(expected, key=str)
