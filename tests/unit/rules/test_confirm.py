"""Confirmation: one bad sample notifies nobody, and a device that reports rarely is not muted by that."""

import datetime as dt
import json

import pytest

from voltd import resources
from voltd.rules import confirmation, evaluate, load, observation, rule_state, scope

T0 = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
LONG_AGO = T0 - dt.timedelta(days=1)
KEY: tuple[scope.DeviceType, str] = ("vehicle", "v1")


def _at(seconds):
    return T0 + dt.timedelta(seconds=seconds)


class Checks:
    """Checks of the shipped rules one after the other; states through JSON in between."""

    def __init__(self, rules=None):
        self.plan = evaluate.RuleSet(rules or load.load(resources.share("config") / "rules.toml"))
        self.states = {}

    def check(self, now, *rows, healthy=LONG_AGO):
        """Rows are (second, values); the first ones may be before the news: (second, values, True)."""
        kept = {key: rule_state.State.from_text(one) for key, one in self.states.items()}
        given = [
            observation.Observation(*KEY, _at(second), _at(second), **values, context=bool(before))
            for second, values, *before in rows
        ]
        outcomes = self.plan.evaluate(given, {}, {}, kept, now=_at(now), healthy_since=healthy)
        self.states |= {one.key: json.dumps(one.state.to_json()) for one in outcomes}
        return [
            (one.rule, new.kind.value, new.severity.value, (new.at - T0).total_seconds())
            for one in outcomes
            for new in one.transitions
        ]


def _every(interval_s, until, value):
    """What the device sent before."""
    return [(second, value, True) for second in range(until - 5 * interval_s, until, interval_s)]


@pytest.mark.parametrize(
    ("good", "bad"),
    [({"soc_pct": 64.0}, {"soc_pct": 0.0}), ({"battery_temp_c": 21.0}, {"battery_temp_c": 85.0})],
)
@pytest.mark.parametrize("interval_s", [1, 60, 1200])
def test_one_bad_sample_between_good_ones(good, bad, interval_s):
    """Whether they come in one check or in several, and whenever the checks are."""
    at_once, one_by_one = Checks(), Checks()
    before = _every(interval_s, 0, good)
    assert at_once.check(2 * interval_s, *before, (0, bad), (interval_s, good)) == []
    assert one_by_one.check(0, *before, (0, bad)) == []
    for second in range(1, interval_s):
        assert one_by_one.check(second) == []
    assert one_by_one.check(interval_s, (interval_s, good)) == []
    assert one_by_one.check(10 * interval_s) == []


@pytest.mark.parametrize("pause_s", [1, 60, 1199, 3600])
def test_the_second_reading_counts_however_late_it_comes(pause_s):
    """A vehicle that reports every 20 minutes is not muted by a gap of more than late_after_s."""
    checks = Checks()
    assert checks.check(0, *_every(3600, 0, {"soc_pct": 20.0}), (0, {"soc_pct": 14.0})) == []
    assert checks.check(pause_s, (pause_s, {"soc_pct": 13.0})) == [("soc_low", "fired", "warning", pause_s)]


@pytest.mark.parametrize("interval_s", [10, 60, 1200])
def test_a_reading_that_nothing_contradicts_fires_after_two_intervals(interval_s):
    checks = Checks()
    assert checks.check(0, *_every(interval_s, 0, {"soc_pct": 20.0}), (0, {"soc_pct": 3.0})) == []
    assert checks.check(2 * interval_s - 1) == []
    assert checks.check(2 * interval_s) == [("soc_low", "fired", "critical", 0)]
    assert checks.check(3 * interval_s) == []


def test_readings_without_the_value_neither_confirm_nor_contradict():
    checks = Checks()
    checks.check(0, *_every(60, 0, {"soc_pct": 20.0}), (0, {"soc_pct": 14.0}))
    assert [checks.check(second, (second, {"speed_kmh": 50.0})) for second in range(1, 120)] == [[]] * 119
    assert checks.check(120) == [("soc_low", "fired", "warning", 0)]


def test_while_voltd_cannot_hear_the_device_nothing_fires_by_itself():
    """The time in which a contradiction could not have arrived does not count."""
    checks = Checks()
    checks.check(0, *_every(60, 0, {"soc_pct": 64.0}), (0, {"soc_pct": 0.0}))
    assert checks.check(300, healthy=None) == []
    assert checks.check(310, healthy=_at(300)) == []
    assert checks.check(419, healthy=_at(300)) == []
    assert checks.check(420, healthy=_at(300)) == [("soc_low", "fired", "critical", 0)]


def test_a_contradiction_that_arrives_too_late_is_one():
    """After an outage the next reading is late: it clears nothing, but a single bad sample stays a single one."""
    checks = Checks()
    checks.check(0, *_every(60, 0, {"soc_pct": 64.0}), (0, {"soc_pct": 0.0}))
    late = observation.Observation(*KEY, _at(60), _at(3600), soc_pct=64.0)
    kept = {key: rule_state.State.from_text(one) for key, one in checks.states.items()}
    (outcome,) = checks.plan.evaluate([late], {}, {}, kept, now=_at(3600), healthy_since=_at(3590))
    assert (outcome.transitions, outcome.state.phase) == ((), rule_state.Phase.INACTIVE)


def test_one_bad_sample_makes_an_alert_no_worse():
    """3 % once between 12 and 12; the second one in a row, or one that nothing contradicts, does."""
    checks = Checks()
    low, worse = {"soc_pct": 12.0}, {"soc_pct": 3.0}
    assert checks.check(10, *_every(10, 0, low), (0, low), (10, low)) == [("soc_low", "fired", "warning", 10)]
    assert checks.check(30, (20, worse), (30, low)) == []
    assert checks.check(50, (40, worse), (50, worse)) == [("soc_low", "escalated", "critical", 50)]
    checks = Checks()
    assert checks.check(10, *_every(10, 0, low), (0, low), (10, low)) == [("soc_low", "fired", "warning", 10)]
    assert checks.check(20, (20, worse)) == []
    assert checks.check(39) == []
    assert checks.check(40) == [("soc_low", "escalated", "critical", 20)]


def test_a_first_bad_sample_makes_a_new_alert_no_worse():
    checks = Checks()
    assert checks.check(1, (0, {"soc_pct": 0.0}), (1, {"soc_pct": 12.0})) == [("soc_low", "fired", "warning", 1)]
    assert checks.check(300) == []


def test_overspeed_stays_at_one_reading():
    assert Checks().check(0, (0, {"speed_kmh": 150.0})) == [("overspeed", "fired", "warning", 0)]


def test_rules_without_alone_after_intervals_wait_for_the_second():
    """A file of an earlier version means what it meant."""
    text = '[rules.low]\nmetric="soc_pct"\napplies_to=["vehicle"]\nfire_below=15.0\nmin_count=2\n'
    checks = Checks(load.parse(text, source="test"))
    assert checks.check(0, (0, {"soc_pct": 3.0})) == []
    assert checks.check(86_400) == []


@pytest.mark.parametrize(
    ("recorded", "received", "interval_s"),
    [
        ((0, 60, 120, 180), (0, 60, 120, 180), 60),
        ((0, 60, 120, 720), (0, 60, 120, 720), 60),  # a gap is no interval
        ((0, 60, 120, 180, 240, 300), (180, 180, 180, 180, 780, 780), 300),  # packs of ten minutes, as far as known
        ((0, 60, 120, 180), (180, 180, 180, 180), 180),  # one pack: as slow as all of it
        ((0, 0.1, 0.2), (0, 0.1, 0.2), 2.5),
        ((0,), (0,), None),
    ],
)
def test_the_devices_own_interval(recorded, received, interval_s):
    times = [(_at(one), _at(other)) for one, other in zip(recorded, received, strict=True)]
    assert confirmation.interval_s(times) == interval_s
