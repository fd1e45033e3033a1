"""What is refused says field, value and what is allowed in voltd's own words, never in a library's."""

import datetime as dt
import re

import pydantic
import pytest

from voltd import config, errors, wording
from voltd.config import loading
from voltd.rules import load, model

LIBRARYS = re.compile(r"Input|String should|Value error|valid (?:integer|number|boolean|string)|pydantic|For further")
WRONG = ["", "?", "x" * 2000, "a\nb", -1, -1.5, 10**30, float("inf"), float("nan"), True, [], [3], [[]], {}, {"?": "?"},
         dt.date(2026, 1, 1)]  # fmt: skip


def _refused(section, names):
    """What is said of each wrong value under each name."""
    for name in names:
        for value in WRONG:
            try:
                section.model_validate({name: value})
            except pydantic.ValidationError as error:
                yield wording.describe(error, unknown="no such name")


def _sections(section):
    yield section
    for field in section.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, config.Section):
            yield from _sections(field.annotation)


@pytest.mark.parametrize("section", [*_sections(config.Settings), config.ChannelSettings], ids=lambda one: one.__name__)
def test_no_setting_is_refused_in_the_words_of_a_library(section):
    said = list(_refused(section, section.model_fields))
    assert said
    assert [text for text in said if LIBRARYS.search(text)] == []


@pytest.mark.parametrize("table", [model.Rule, model.Override, model.Step], ids=lambda one: one.__name__)
def test_no_rule_is_refused_in_the_words_of_a_library(table):
    said = list(_refused(table, table.model_fields))
    assert said
    assert [text for text in said if LIBRARYS.search(text)] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[mqtt]\nport = 70000", "mqtt.port = 70000: should be at most 65535"),
        ("[mqtt]\nport = 'x'", "mqtt.port = 'x': should be a whole number"),
        ("[mqtt]\ntransport = 'udp'", "mqtt.transport = 'udp': should be 'tcp' or 'websockets'"),
        ("[mqtt.topics]\nvehicle = [3]", "mqtt.topics.vehicle[0] = 3: should be a text"),
        ("[limits]\nignore = {soc = [true]}", "limits.ignore.soc[0] = True: should be a number or a text"),
        ("[dead_letters]\nmax_ratio = 0", "dead_letters.max_ratio = 0: should be more than 0"),
        ("[log]\nlevle = 'hunter2'", "log.levle: no such setting"),
        ("mqtt = 3", "mqtt = 3: should be a table"),
    ],
)
def test_a_setting_says_field_value_and_what_is_allowed(tmp_path, text, said):
    path = tmp_path / "voltd.toml"
    path.write_text(text)
    with pytest.raises(errors.ConfigurationError) as caught:
        loading.load(path, environ={})
    assert str(caught.value) == said


def test_a_variable_that_should_be_json_says_so(monkeypatch):
    monkeypatch.setenv("VOLTD_MQTT__TOPICS__VEHICLE", "volt/+/x")
    with pytest.raises(errors.ConfigurationError, match=r"^a variable VOLTD_MQTT\.\.\. is not JSON$") as caught:
        loading.load(environ={})
    assert "VOLTD_MQTT__TOPICS__VEHICLE='[" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("for_s = -1", "overrides[0].for_s = -1: should be at least 0"),
        ("min_count = 2", "overrides[0].min_count = 2: no such key here"),
        ("fire_abvoe = 2", "overrides[0].fire_abvoe = 2: no such key, fire_above is one"),
    ],
)
def test_an_override_is_refused_in_the_same_words(text, said):
    rule = '[rules.hot]\nmetric = "battery_temp_c"\napplies_to = ["vehicle"]\nfire_above = 80\n'
    with pytest.raises(errors.ConfigurationError) as caught:
        load.parse(f'{rule}[[rules.hot.overrides]]\nfleets = ["a"]\n{text}', source="rules.toml")
    assert str(caught.value) == f"rules.toml: rule hot: {said}"
