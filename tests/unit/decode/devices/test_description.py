"""Descriptions and the settings that enable them: each mistake is named with file, field, value and hint."""

from __future__ import annotations

import datetime as dt
import pathlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import families as support
from voltd import errors, resources
from voltd.pipeline.decode import decoder
from voltd.pipeline.decode.devices import catalogue, description, families, units

GOOD = """
title = "Plugs"
topics = ["plugs/{id}"]
device = "meter"

[[document]]
topic = "state"
time = "at"
[document.fields]
power = { path = "p", unit = "W" }

[[value]]
topic = "energy"
field = "kwhConsumedAcTotal"
unit = "Wh"
"""


@pytest.fixture
def described(tmp_path: pathlib.Path) -> Callable[..., pathlib.Path]:
    def write(text: str, name: str = "plugs") -> pathlib.Path:
        file = tmp_path / f"{name}.toml"
        file.write_text(text)
        return file

    return write


def test_an_own_description_is_found_beside_those_of_voltd(described, tmp_path):
    described(GOOD)
    found = catalogue.enabled(support.settings(tmp_path, plugs={}, tasmota={}))
    assert [one.name for one in found] == ["plugs", "tasmota"]
    assert found[0].filters == ("plugs/+/state", "plugs/+/energy")


@pytest.mark.parametrize("name", support.shipped())
def test_those_of_voltd_are_right(name):
    """And say where their facts are from."""
    (one,) = catalogue.enabled(support.settings(**{name: {}}))
    assert one.filters
    file = pathlib.Path(catalogue.__file__).parent / "shipped" / f"{name}.toml"
    assert "# Facts: " in file.read_text()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('title = "Plugs"', "", "title is missing"),
        ('device = "meter"', 'device = "bike"', "device = 'bike': should be 'vehicle' or 'meter'"),
        ('"plugs/{id}"', '"plugs/#/{id}"', "is no topic pattern"),
        ('"plugs/{id}"', '"plugs/{name}"', "'{id}' needs the level {id} of the topic; 'plugs/{name}/state' has {name}"),
        ('unit = "W"', 'unit = "Watt"', "power: unit = 'Watt' is none for kW: kW, W, mW, MW"),
        ('unit = "W"', 'unit = "W", factor = 2', "factor = 2: a description has no such key"),
        ('unit = "Wh"', 'unit = "kwh"', "unit = 'kwh' is none for kWh: kWh, Wh, "),
        ('unit = "Wh"', 'unit = "kwh"', "did you mean kWh?"),
        ('unit = "W"', 'unit = "mw"', "did you mean mW or MW?"),
        ('unit = "W"', 'unit = "Watts"', "did you mean W?"),
        ('unit = "Wh"', "", "unit = '' is none for kWh: kWh, Wh, "),
        ("power = {", "soc = {", "soc is no field of a meter reading: kwhConsumedAc, "),
        ('"kwhConsumedAcTotal"', '"energy"', "energy is no field of a meter reading"),
        ('path = "p"', 'path = "p..q"', "'p..q' is no path"),
        ('path = "p"', 'path = ["p", "q"]', "several paths need take"),
        ('path = "p"', 'path = "p", take = "avg"', "take = 'avg': should be 'sum', 'first', 'max' or 'mean'"),
        ('time = "at"', 'time = ""', "should have at least 1 character"),
        ('topic = "state"', 'topic = "state/{id}"', "{id} is there twice"),
        ('field = "kwh', 'part = 2\nfield = "kwh', "part = 2 is above parts = 1"),
        ("[[document]]", "[[documents]]", "a description has no such key, document is one"),
        ("title =", "title", "is not TOML"),
    ],
)
def test_names_the_mistake(described, tmp_path, old, new, says):
    assert old in GOOD
    described(GOOD.replace(old, new))
    with pytest.raises(errors.ConfigurationError) as refused:
        catalogue.enabled(support.settings(tmp_path, plugs={}))
    assert says in str(refused.value)
    assert str(tmp_path / "plugs.toml") in str(refused.value)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("written", "target", "meant"),
    [("kwh", "kWh", ["kWh"]), ("MWH", "kWh", ["mWh", "MWh"]), ("celsius", "°C", ["°C"]), ("kmh", "km/h", ["km/h"]),
     ("percent", "%", ["%"]), ("°c", "°C", ["°C"]), ("hPa", "kW", []), ("", "kWh", []), ("percent", "kWh", [])],
)  # fmt: skip
def test_the_unit_that_was_meant(written, target, meant):
    assert units.near(written, units.UNITS[target]) == meant


@pytest.mark.parametrize(
    ("topics", "topic", "odd"),
    [
        ("/plugs/{id}", "state", ["devices.plugs: '/plugs/{id}' begins with a slash"]),
        ("plugs//{id}", "state", ["devices.plugs: 'plugs//{id}' has two slashes in a row"]),
        ("plugs/{id}", "/state", ["devices.plugs: topic = '/state' begins with a slash"]),
        ("plugs/{id}", "state/", ["devices.plugs: topic = 'state/' ends with a slash"]),
        ("plugs/{id}", "state", []),
    ],
)
def test_empty_levels_are_taken_and_said(described, tmp_path, topics, topic, odd):
    """Some devices really publish so."""
    described(GOOD.replace("plugs/{id}", topics).replace('"state"', f'"{topic}"'))
    (one,) = catalogue.enabled(support.settings(tmp_path, plugs={}))
    assert [words.rpartition(": a level")[0] for words in catalogue.odd_topics(one)] == odd


@pytest.mark.parametrize(
    ("devices", "says", "hint"),
    [
        ({"tasmotta": {}}, "devices.tasmotta: no description of this device family; did you mean tasmota?", "known: "),
        ({"tasmota": {"topics": ["tele/x{id}"]}}, "devices.tasmota.topics: 'tele/x{id}' is no topic", "'tele/{id}'"),
        ({"tasmota": {"topics": ["tele/+"]}}, "devices.tasmota: '{id}' needs the level {id}", "'tele/{id}'"),
        ({"tasmota": {"id": "{name}"}}, "devices.tasmota: '{name}' needs the level {name}", "'tele/{id}'"),
        (
            {"tasmota": {"topics": ["volt/{a}/{id}", "volt/{id}/{b}"]}},
            "devices.tasmota.topics: 'volt/{a}/{id}' and 'volt/{id}/{b}' match the same topics",
            "name each once",
        ),
        ({"tasmota": {"topics": ["volt/{id}", "+/{id}"]}}, "overlap", "different topics"),
    ],
)
def test_names_the_wrong_setting(devices, says, hint):
    with pytest.raises(errors.ConfigurationError) as refused:
        catalogue.enabled(support.settings(**devices))
    assert says in str(refused.value)
    assert hint in refused.value.hint


def test_a_file_that_cannot_be_read(described, tmp_path):
    described("x" * (1 << 20) + "y")
    with pytest.raises(errors.ConfigurationError, match="over 1 MiB"):
        catalogue.enabled(support.settings(tmp_path, plugs={}))
    described(GOOD).write_bytes(b"\xff\xfe")
    with pytest.raises(errors.ConfigurationError, match="is not TOML"):
        catalogue.enabled(support.settings(tmp_path, plugs={}))


WORDS = st.sampled_from(
    ["a", "a.b", "a.0", '"', "..", "{id}", "#", "+", "W", "kWh", "power", "soc", "sum", "", "é\0", "x" * 3000]
)
ANY = st.recursive(
    WORDS | st.integers(-3, 9) | st.booleans() | st.floats(allow_nan=True),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.sampled_from(
        ["title", "topics", "device", "document", "value", "alive", "topic", "fields", "path", "unit", "field", "take"]
    ), inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


@given(values=st.dictionaries(st.sampled_from(["title", "topics", "device", "id", "document", "value", "alive"]), ANY))
def test_any_description_is_taken_or_refused(values):
    """Nothing but a refusal that pydantic can explain comes out of a hostile description."""
    try:
        found = description.validated(values)
    except ValueError:
        return
    enabled = catalogue.Enabled("any", found, support.settings(any={}).devices["any"], own=True)
    compiled = families.Families([enabled])
    assert isinstance(catalogue.odd_topics(enabled), list)
    given_ = support.settings(any={})
    reader = decoder.Decoder(given_.mqtt.topics, given_.limits, 90, given_.timestamps, compiled)
    for topic_filter in compiled.filters:
        batch = reader.decode(
            [support.message(topic_filter.replace("+", "a-1").replace("#", "b"), '{"a":{"b":5},"p":1}')]
        )
        assert batch.readings + len(batch.alive_sources) + len(batch.dead_letters) >= 1
    assert all(one.messages for one in compiled.silent(1))


def test_the_example_of_the_documents_is_right(described, tmp_path):
    text = (resources.share("config").parent / "docs" / "devices.md").read_text()
    example = next(block.split("```")[0] for block in text.split("```toml\n") if block.startswith('title = "Depot'))
    described(example)
    given = support.settings(tmp_path, plugs={})
    batch = support.decode(
        given,
        support.message(
            "depot/c1/state",
            '{"meta":{"at":"2026-05-01T11:59:00Z"},"energy":{"total":5500,"exported":500},'
            '"phases":{"l1":1000,"l2":-1,"l3":500}}',
        ),
        support.message("depot/c1/voltage", "231500"),
        support.message("depot/c1/status", "online"),
    )
    assert [support.values(one) for one in batch.meters] == [
        {
            "meter_id": "c1",
            "recorded_at": support.NOW - dt.timedelta(minutes=1),
            "ac_register_kwh": 5.0,
            "power_kw": 1.5,
        },
        {"meter_id": "c1", "recorded_at": support.NOW, "voltage_v": 231.5, "time_source": "arrival"},
    ]
    assert [one.device_id for one in batch.alive] == ["c1"]
