"""Rules file: the shipped one is the issue's table; what is refused says file, rule, field, value and what to do."""

import datetime as dt

import pytest

from voltd import errors, resources
from voltd.rules import charging_status, hours, load, model, scope

RULE = '[rules.hot]\nmetric = "battery_temp_c"\napplies_to = ["vehicle"]\nfire_above = 80.0\n'


def test_shipped_rules_are_the_documented_ones():
    """config/rules.toml, shipped beside the code, holds the eight rules with their switch points and severities."""
    rules = load.load(resources.share("config") / "rules.toml")
    found = {
        one.name: (
            one.metric.value,
            one.fire_below,
            one.clear_above,
            one.fire_above,
            one.clear_below,
            one.severity.value,
        )
        for one in rules
    }
    assert found == {
        "soc_low": ("soc_pct", 15, 20, None, None, "warning"),
        "overspeed": ("speed_kmh", None, None, 120, 115, "warning"),
        "battery_overheat": ("battery_temp_c", None, None, 80, 75, "critical"),
        "stale": ("silence", None, None, 300, None, "warning"),
        "efficiency_low": ("efficiency_pct", 85, 86.99, None, None, "warning"),
        "clock_skew": ("clock_skew_s", None, None, 30, 5, "warning"),
        "unit_suspect": ("unit_factor", None, None, 1.5, None, "info"),
        "ingest_lag": ("ingest_lag_s", None, None, 30, 5, "critical"),
    }
    assert all(one.enabled for one in rules)


def test_shipped_words_on_charging_are_the_built_in_ones():
    """A file without [charging] goes by the same words and limits as the shipped one."""
    rules = load.load(resources.share("config") / "rules.toml")
    assert {one.charging for one in rules} == {charging_status.Charging()}


def test_shipped_rules_explain_every_key():
    """No key of a rule is missing from the comments of config/rules.toml."""
    text = (resources.share("config") / "rules.toml").read_text()
    comments = "\n".join(line for line in text.splitlines() if line.startswith("##"))
    keys = {*model.Rule.model_fields, *hours.ActiveHours.model_fields} - {"name", "fire_above", "clear_below"}
    assert [key for key in sorted(keys) if key not in comments] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (RULE + "fire_abvoe = 1", "rule hot: fire_abvoe = 1: no such key, fire_above is one"),
        (RULE + "clear_below = 90", "clear_below = 90.0 is above fire_above = 80.0"),
        (RULE + "clear_above = 90", "a rule with fire_above clears with clear_below"),
        (RULE + "fire_below = 90", "set either fire_below or fire_above"),
        (RULE + "for_s = -1", "for_s = -1"),
        (RULE + "for_s = nan", "for_s = nan"),
        (RULE + "min_count = 0", "min_count = 0"),
        (RULE + 'severity = "fatal"', "severity = 'fatal'"),
        (RULE + 'severity_steps = [{severity = "critical", below = 5}]', "critical needs 'above' alone"),
        (RULE + 'severity_steps = [{severity = "critical", above = 70}]', "reached as soon as the rule fires"),
        (RULE + 'severity_steps = [{severity = "info", above = 90}]', "info is not above severity = warning"),
        (RULE + 'fleets = "north"', "should be a list"),
        (RULE + 'active_hours = {hours = "22-6"}', "active_hours.hours = '22-6': should be"),
        (RULE + 'active_hours = {timezone = "Mars/Olympus"}', "active_hours.timezone = 'Mars/Olympus': no such"),
        (RULE + 'active_hours = {days = ["monday"]}', "active_hours.days[0] = 'monday'"),
        (RULE + "[[rules.hot.overrides]]\nfire_above = 70", "name the fleets, models, vehicles or meters"),
        (RULE + '[[rules.hot.overrides]]\nfleets = ["a"]', "changes nothing"),
        (RULE + '[[rules.hot.overrides]]\nfleets = ["a"]\nclear_below = 85', "overrides[0]: clear_below = 85.0"),
        (RULE + '[[rules.hot.overrides]]\nfleets = ["a"]\nfire_abvoe = 85', "overrides[0].fire_abvoe = 85: no such"),
        (RULE + '[[rules.hot.overrides]]\nfleets = ["a", "b"]\nfor_s = 1\n'
         + '[[rules.hot.overrides]]\nfleets = ["b"]\nfor_s = 2', "an earlier override is for the same devices"),
        ('[rules.x]\nmetric = "soc_pct"\napplies_to = ["meter"]\nfire_below = 1', "'meter' has no soc_pct"),
        ('[rules.x]\nmetric = "silence"\napplies_to = ["meter"]\nfire_above = 9\nfor_s = 5', "for_s = 5.0 means no"),
        ('[rules.x]\nmetric = "silence"\napplies_to = ["meter"]\nfire_below = 9', "silence' needs fire_above"),
        ('[rules.x]\napplies_to = ["meter"]\nfire_below = 9', "metric is missing"),
        ("[rules.Big-Name]\nfire_below = 9", "rule Big-Name: name = 'Big-Name'"),
        ("[rule.x]\nfire_below = 9", "'rule' belongs to no rule"),
        ("[charging]\ncharging_word = []", "charging: charging_word = []: no such key, charging_words is one"),
        ("[charging]\ncharging_stale_s = 0", "charging: charging_stale_s = 0"),
        ("[charging]\ncharging_words = [3]", "charging: charging_words[0] = 3: "),
        ("charging = 3", "charging = 3 is no table"),
        (RULE + "fire_above_parked = 900", "fire_above_parked = 900.0 means nothing but for metric = 'silence'"),
        (RULE + "charging = {}", "rule hot: charging = {}: no such key"),
        ("rules = 3", "rules = 3"),
        ("not toml", "is not TOML"),
    ],
)  # fmt: skip
def test_broken_file_is_refused_with_file_rule_field_and_value(tmp_path, text, said):
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(errors.ConfigurationError) as caught:
        load.load(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.hint
    assert caught.value.exit_code == 78


def test_missing_file_that_was_named_is_refused(tmp_path):
    with pytest.raises(errors.ConfigurationError, match=r"absent\.toml"):
        load.load(tmp_path / "absent.toml")


def _overridden():
    return load.parse(
        RULE
        + 'fleets = ["north", "south"]\n'
        + '[[rules.hot.overrides]]\nvehicles = ["v1"]\nenabled = false\n'
        + '[[rules.hot.overrides]]\nfleets = ["north"]\nfire_above = 70\n'
        + '[[rules.hot.overrides]]\nmodels = ["Van"]\nfire_above = 60\nseverity = "critical"\n',
        source="test",
    )[0]


@pytest.mark.parametrize(
    ("device", "limit"),
    [
        (scope.Device("vehicle", "v9", "south", "City"), 80),
        (scope.Device("vehicle", "v9", "north", "City"), 70),
        (scope.Device("vehicle", "v9", "north", "Van"), 60),
        (scope.Device("vehicle", "v1", "north", "Van"), None),
        (scope.Device("vehicle", "v9", "east", "Van"), None),
        (scope.Device("vehicle", "v9", "south", "Van", "retired"), None),
        (scope.Device("vehicle", "v9", "south", "Van", "maintenance"), None),
        (scope.Device("meter", "v9", "south"), None),
        (scope.Device("vehicle", "v9"), None),
    ],
)
def test_most_specific_override_alone_holds(device, limit):
    """Vehicle over model over fleet; a device out of scope, retired or in maintenance is not evaluated."""
    rule = _overridden().for_device(device)
    assert (rule.fire_above if rule else None) == limit


def test_meters_and_vehicles_of_a_scope_are_one_list():
    both = scope.Scope(vehicles=("v1",), meters=("m1",))
    ids = [scope.Device("vehicle", "v1"), scope.Device("meter", "m1"), scope.Device("meter", "v1")]
    assert [both.includes(one) for one in ids] == [True, True, False]


@pytest.mark.parametrize(
    ("at", "within"),
    [
        ("2026-11-20T20:59:00", False),  # Friday, 21:59 in Berlin
        ("2026-11-20T21:00:00", True),
        ("2026-11-21T04:59:59", True),  # Saturday morning belongs to Friday's night
        ("2026-11-21T05:00:00", False),
        ("2026-11-21T22:00:00", False),  # Saturday night
        ("2026-07-03T20:00:00", True),  # Friday 22:00 in summer time
    ],
)
def test_hours_over_midnight_belong_to_the_day_they_begin_on(at, within):
    night = hours.ActiveHours(hours="22:00-06:00", days=("fri",), timezone="Europe/Berlin")
    assert night.contain(dt.datetime.fromisoformat(at).replace(tzinfo=dt.UTC)) is within
