"""All rules over all devices: each shipped rule raises and resolves, an outage is no inactivity, calm is cheap."""

import datetime as dt
import json
import time
from typing import Any

import pytest

from voltd import resources
from voltd.rules import evaluate, inactivity, load, message, observation, rhythm, rule_state, scope
from voltd.rules.cycle import alert_rows, daemon_health

T0 = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
LONG_AGO = T0 - dt.timedelta(days=1)
EV: tuple[scope.DeviceType, str] = ("vehicle", "v1")


def _at(seconds):
    return T0 + dt.timedelta(seconds=seconds)


class Checks:
    """Checks one after the other, the states kept as JSON in between as the database keeps them."""

    def __init__(self, rules=None, devices=()):
        self.rules = rules or load.load(resources.share("config") / "rules.toml")
        self.devices = {(one.device_type, one.device_id): one for one in devices}
        self.states = {}

    def check(self, seconds, *rows, seen=None, healthy=LONG_AGO, evaluated_at=None):
        kept = {key: rule_state.State.from_text(one) for key, one in self.states.items()}
        outcomes = evaluate.RuleSet(self.rules).evaluate(
            rows, self.devices, seen or {}, kept, now=_at(seconds), healthy_since=healthy, evaluated_at=evaluated_at
        )
        for one in outcomes:
            key = (one.rule, one.device.device_type, one.device.device_id)
            self.states[key] = json.dumps(one.state.to_json())
        return [(one.rule, new.kind.value, new.severity.value) for one in outcomes for new in one.transitions]


def _row(seconds, kind="vehicle", *, received=None, **values):
    return observation.Observation(kind, "v1", _at(seconds), _at(seconds if received is None else received), **values)


@pytest.mark.parametrize(
    ("rule", "severity", "fires", "stays", "ends"),
    [
        ("soc_low", "warning", {"soc_pct": 14.9}, {"soc_pct": 20.0}, {"soc_pct": 20.1}),
        ("soc_low", "warning", {"soc_pct": 14.9}, {"soc_pct": 15.0}, {"soc_pct": 14.0, "charging": True}),
        ("overspeed", "warning", {"speed_kmh": 120.1}, {"speed_kmh": 115.0}, {"speed_kmh": 114.9}),
        ("battery_overheat", "critical", {"battery_temp_c": 80.1}, {"battery_temp_c": 75.0}, {"battery_temp_c": 74.9}),
        ("efficiency_low", "warning", {"efficiency_pct": 84.99}, {"efficiency_pct": 86.99}, {"efficiency_pct": 87.0}),
        ("unit_suspect", "info", {"unit_factor": 1.6}, {}, {"unit_factor": 1.0}),
        ("ingest_lag", "critical", {"ingest_lag_s": 30.1}, {"ingest_lag_s": 5.0}, {"ingest_lag_s": 4.9}),
        ("ingest_lag", "critical", {"ingest_lag_s": 0, "spooling": True}, {"ingest_lag_s": 6}, {"ingest_lag_s": 1}),
    ],
)  # fmt: skip
def test_each_shipped_rule_raises_holds_and_resolves(rule, severity, fires, stays, ends):
    checks, kind = Checks(), "system" if rule == "ingest_lag" else "vehicle"
    calm = dict.fromkeys(set(fires) - {"charging", "spooling"}, 50.0 if rule != "ingest_lag" else 1.0)
    calm = {"efficiency_low": {"efficiency_pct": 93.0}, "unit_suspect": {"unit_factor": 1.0}}.get(rule, calm)
    assert checks.check(0, _row(0, kind, **calm)) == []
    confirmed = rule in ("soc_low", "battery_overheat")
    assert not confirmed or checks.check(30, _row(30, kind, **fires)) == []
    assert checks.check(60, _row(60, kind, **fires)) == [(rule, "fired", severity)]
    assert checks.check(120, _row(120, kind, **stays)) == []
    assert checks.check(180, _row(180, kind, **ends)) == [(rule, "resolved", severity)]
    assert checks.check(240, _row(240, kind, **calm)) == []


def test_nearly_empty_is_critical():
    checks = Checks()
    assert checks.check(10, _row(0, soc_pct=10.0), _row(10, soc_pct=10.0)) == [("soc_low", "fired", "warning")]
    assert checks.check(50, _row(50, soc_pct=4.8)) == []
    assert checks.check(60, _row(60, soc_pct=4.9)) == [("soc_low", "escalated", "critical")]
    assert checks.check(120, _row(120, soc_pct=4.0), _row(130, soc_pct=10.0)) == []


def test_clock_that_is_off_is_notified_after_three_arrivals():
    """Its rows are on the time of arrival, so readings by the device's own clock, hours ahead, do not disturb them."""
    checks = Checks()
    assert checks.check(100, *(_row(one, clock_skew_s=31) for one in (0, 10)), _row(7200, soc_pct=50.0)) == []
    assert checks.check(100, _row(20, clock_skew_s=7200)) == [("clock_skew", "fired", "warning")]
    assert checks.check(100, _row(7260, soc_pct=50.0), _row(60, clock_skew_s=10)) == []
    assert checks.check(100, _row(70, clock_skew_s=2)) == [("clock_skew", "resolved", "warning")]


def test_an_hour_is_evaluated_though_newer_readings_were():
    """Efficiency of an hour comes after readings of the next one; they are no reason to call it late."""
    checks = Checks()
    assert checks.check(60, _row(0, efficiency_pct=60.0)) == [("efficiency_low", "fired", "warning")]
    assert checks.check(4000, _row(3990, soc_pct=50.0)) == []
    assert checks.check(4200, _row(3600, received=4200, efficiency_pct=95.0)) == [
        ("efficiency_low", "resolved", "warning")
    ]


@pytest.mark.parametrize("kind", ["vehicle", "meter"])
def test_silent_device_is_stale_until_heard(kind):
    checks, key = Checks(), (kind, "v1")
    assert checks.check(300, seen={key: T0}) == []
    assert checks.check(301, seen={key: T0}) == [("stale", "fired", "warning")]
    assert checks.check(900, seen={key: T0}) == []
    assert checks.check(1000, seen={key: _at(999)}) == [("stale", "resolved", "warning")]
    assert checks.check(1001, seen={key: _at(999)}) == []


def test_never_seen_is_not_stale():
    assert Checks().check(9999, seen={EV: None}) == []


@pytest.mark.parametrize("status", ["retired", "maintenance"])
def test_retired_and_maintained_vehicles_are_not_stale_and_end_quietly(status):
    checks = Checks(devices=[scope.Device(*EV, status=status)])
    assert checks.check(9999, _row(9999, speed_kmh=150.0), seen={EV: T0}) == []
    checks = Checks(devices=[scope.Device(*EV)])
    assert checks.check(400, seen={EV: T0}) == [("stale", "fired", "warning")]
    plan, kept = (
        evaluate.RuleSet(checks.rules),
        {k: rule_state.State.from_text(v) for k, v in checks.states.items()},
    )
    gone = {EV: scope.Device(*EV, status=status)}
    (ended,) = plan.evaluate([], gone, {EV: T0}, kept, now=_at(500), healthy_since=LONG_AGO)
    assert [(one.kind, one.suppressed) for one in ended.transitions] == [(rule_state.TransitionKind.RESOLVED, True)]


def test_outage_makes_no_device_stale():
    """While the ingest is down no device becomes stale, and inactivity counts from grace_s after it came back."""
    checks = Checks()
    assert checks.check(4000, seen={EV: T0}, healthy=None) == []
    assert checks.check(4000, seen={EV: T0}, healthy=_at(3900)) == []
    assert checks.check(4260, seen={EV: T0}, healthy=_at(3900)) == []
    assert checks.check(4261, seen={EV: T0}, healthy=_at(3900)) == [("stale", "fired", "warning")]


def test_inactivity_is_not_evaluated_while_the_ingest_is_down():
    rule = load.parse('[rules.stale]\nmetric = "silence"\napplies_to = ["meter"]\nfire_above = 300\n', source="test")[0]
    assert inactivity.step(rule, rule_state.State(), T0, _at(9999), None) == (rule_state.State(), ())
    firing, _ = inactivity.step(rule, rule_state.State(), T0, _at(301), LONG_AGO)
    assert inactivity.step(rule, firing, T0, _at(9999), None) == (firing, ())
    _, found = inactivity.step(rule, firing, _at(400), _at(9999), None)
    assert [(one.kind, one.resolved_at, one.value) for one in found] == [
        (rule_state.TransitionKind.RESOLVED, _at(400), 400)
    ]


def test_each_device_is_evaluated_by_its_own_rhythm():
    """Known or not, parked or not; the message names the limit that applied."""
    checks = Checks()
    seen: dict[Any, Any] = {("vehicle", name): T0 for name in ("new", "parked", "slow", "dead")}
    activity: dict[Any, Any] = {
        ("vehicle", "parked"): rhythm.DeviceActivity(parked=True),
        ("vehicle", "slow"): rhythm.DeviceActivity(1800.0),
        ("vehicle", "dead"): rhythm.DeviceActivity(400000.0),
    }

    def fired(seconds):
        plan = evaluate.RuleSet(checks.rules)
        found = plan.evaluate(
            (), {}, seen, {}, now=_at(seconds), healthy_since=LONG_AGO - 2 * dt.timedelta(days=1), activity=activity
        )
        return {one.device.device_id: message.text(one.transitions[0], one.device) for one in found}

    assert set(fired(301)) == {"new"}
    assert set(fired(4501)) == {"new", "slow"}
    assert set(fired(21601)) == {"new", "slow", "parked"}
    assert fired(93601)["slow"] == "vehicle slow: stale warning: silent for 93601 s (limit 4500 s)"
    assert set(fired(93601)) == {"new", "slow", "parked", "dead"}


def test_a_device_of_which_everything_is_refused_is_not_called_inactive():
    """The alert is the same, what it says is not."""
    checks = Checks()
    (found,) = evaluate.RuleSet(checks.rules).evaluate(
        (),
        {},
        {EV: T0},
        {},
        now=_at(301),
        healthy_since=LONG_AGO,
        activity={EV: rhythm.DeviceActivity(refused="sends, but all is refused")},
    )
    assert message.text(found.transitions[0], found.device) == "vehicle v1: stale warning: sends, but all is refused"


class Silence:
    """Checks of one device that is not heard any more; what its row says."""

    def __init__(self):
        self._rules, self._kept, self.says = Checks().rules, {}, None

    def check(self, seconds, refused=None, *, seen=T0, healthy=LONG_AGO):
        """The transitions."""
        found = evaluate.RuleSet(self._rules).evaluate(
            (), {}, {EV: seen}, self._kept, now=_at(seconds), healthy_since=healthy,
            activity={EV: rhythm.DeviceActivity(refused=refused)},
        )  # fmt: skip
        for one in found:
            self._kept = {one.key: rule_state.State.from_text(json.dumps(one.state.to_json()))}
            (episode,), _ = alert_rows.of(one, 1)
            self.says = episode.message
        return [(new.kind.value, new.suppressed) for one in found for new in one.transitions]


def test_the_text_follows_a_device_whose_messages_are_refused_for_a_time():
    """Nobody is notified again, and nothing is written while nothing changes."""
    device = Silence()
    assert device.check(301) == [("fired", False)]
    for refused in ("sends, but all is refused", "sends another thing, but all is refused"):
        assert device.check(400, refused) == []
        assert device.says == f"vehicle v1: stale warning: {refused}"
    device.says = "nothing new"
    assert device.check(500, refused) == []
    assert device.says == "nothing new"
    assert device.check(5000) == []
    assert device.says == "vehicle v1: stale warning: silent for 5000 s (limit 300 s)"
    assert device.check(5010, seen=_at(5009)) == [("resolved", False)]


def test_an_outage_makes_no_device_inactive_of_which_everything_is_refused():
    """Before it could be heard again nobody knows that it has stopped."""
    device = Silence()
    device.check(301, "sends, but all is refused")
    for healthy in (None, _at(4700)):
        assert device.check(5000, healthy=healthy) == []
        assert device.says.endswith("sends, but all is refused")
    device.check(5061, healthy=_at(4700))
    assert "silent for" in device.says


def test_an_inactivity_of_which_nothing_is_known_any_more_ends_suppressed():
    device = Silence()
    device.check(301, "sends, but all is refused")
    assert device.check(400, seen=None) == [("resolved", True)]


def test_out_of_order_reading_of_a_calm_device_pages_nobody():
    """A device without a state still has a newest reading evaluated."""
    checks = Checks()
    assert checks.check(60, _row(0, received=50, speed_kmh=150.0), evaluated_at={EV: _at(30)}) == [
        ("overspeed", "recorded", "warning")
    ]


def test_rule_that_is_gone_ends_its_episodes_quietly_and_others_go_on():
    checks = Checks()
    checks.check(0, _row(-9, soc_pct=10.0), _row(0, speed_kmh=150.0, soc_pct=10.0))
    checks.rules = tuple(one for one in checks.rules if one.name != "overspeed")
    assert checks.check(1) == [("overspeed", "resolved", "warning")]
    assert checks.check(60, _row(60, speed_kmh=150.0, soc_pct=30.0)) == [("soc_low", "resolved", "warning")]


def test_override_widens_the_quick_look():
    rules = load.parse(
        '[rules.fast]\nmetric = "speed_kmh"\napplies_to = ["vehicle"]\nfire_above = 120\n'
        '[[rules.fast.overrides]]\nvehicles = ["v1"]\nfire_above = 80\n',
        source="test",
    )
    assert Checks(rules).check(0, _row(0, speed_kmh=90.0)) == [("fast", "fired", "warning")]
    assert Checks(rules).check(0, _row(0, speed_kmh=90.0)._replace(device_id="v2")) == []


def test_messages_say_who_what_and_how_long():
    plan = evaluate.RuleSet(load.load(resources.share("config") / "rules.toml"))
    devices = {EV: scope.Device(*EV, fleet_id="north")}
    rows = [_row(0, soc_pct=12.0), _row(45, soc_pct=12.0), _row(90, soc_pct=42.0)]
    (found,) = plan.evaluate(rows, devices, {}, {}, now=_at(90), healthy_since=None)
    assert [message.text(one, found.device) for one in found.transitions] == [
        "vehicle v1 (fleet north): soc_low warning: state of charge 12 % (limit 15 %)",
        "vehicle v1 (fleet north): soc_low warning is over after 1 min 30 s, peak 12 %",
    ]


def test_message_of_a_spool_in_use_speaks_of_the_spool():
    plan = evaluate.RuleSet(load.load(resources.share("config") / "rules.toml"))
    rows = [_row(0, "system", ingest_lag_s=1.0, spooling=True)]
    (found,) = plan.evaluate(rows, {}, {}, {}, now=T0, healthy_since=None)
    assert message.text(found.transitions[0], found.device).endswith("ingest_lag critical: the spool is in use")


def test_message_of_a_daemon_that_knows_why():
    """The alert of an outage says what is wrong and what to do, where the daemon knows."""
    plan = evaluate.RuleSet(load.load(resources.share("config") / "rules.toml"))
    rows = [_row(0, "system", ingest_lag_s=40.0)]
    devices = daemon_health.with_notes({rows[0].device_id: "this host's clock is behind", "other": ""})
    (found,) = plan.evaluate(rows, devices, {}, {}, now=T0, healthy_since=None)
    assert message.text(found.transitions[0], found.device).endswith("critical: this host's clock is behind")


def test_twenty_thousand_calm_devices_are_evaluated_at_once():
    """Well under 100 ms where nothing happens; a generous multiple here, the machine may be busy."""
    plan = evaluate.RuleSet(load.load(resources.share("config") / "rules.toml"))
    rows = [observation.Observation("vehicle", f"v{one}", T0, T0, 50.0, 60.0, 30.0) for one in range(10_000)]
    rows += [observation.Observation("meter", f"m{one}", T0, T0) for one in range(10_000)]
    seen = {(one.device_type, one.device_id): T0 for one in rows}
    took = []
    for _ in range(3):
        begun = time.process_time()
        assert plan.evaluate(rows, {}, seen, {}, now=T0, healthy_since=LONG_AGO) == []
        took.append(time.process_time() - begun)
    assert min(took) < 0.1
