"""Topic patterns and paths into documents."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import client as paho

from voltd.pipeline.decode.devices import path, pattern

ENDING = st.sampled_from(["", "/#"])
LEVEL = st.sampled_from(["a", "b", "", "tele", "{id}", "{area}", "+"])
TOPIC = st.lists(st.sampled_from(["a", "b", "", "tele", "x y"]), min_size=1, max_size=4).map("/".join)


@given(
    levels=st.lists(LEVEL, min_size=1, max_size=4, unique_by=lambda level: level if "{" in level else object()),
    ending=ENDING,
    topic=TOPIC,
)
def test_matches_what_its_filter_matches(levels, ending, topic):
    text = "/".join(levels) + ending
    if not text:
        return
    found = pattern.Pattern(text)
    assert (found.levels(topic) is not None) == paho.topic_matches_sub(found.topic_filter, topic)


def test_names_the_levels():
    topic = pattern.Pattern("ovms/{user}/{id}").under("metric/v/b/soc")
    assert topic.topic_filter == "ovms/+/+/metric/v/b/soc"
    assert topic.levels("ovms/alice/EV1/metric/v/b/soc") == {"user": "alice", "id": "EV1"}
    assert pattern.fill("{user}-{id}", {"user": "alice", "id": "EV1"}) == "alice-EV1"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "1 to 1024 characters"),
        ("a/{id}/{id}", "{id} is there twice"),
        ("a/{Id}", "not '{Id}'"),
        ("a/#/b", "not '#'"),
        ("a/x+", "not 'x+'"),
        ("a/x{id}", "not 'x{id}'"),
    ],
)
def test_refuses_what_is_no_pattern(text, says):
    with pytest.raises(ValueError, match="pattern") as refused:
        pattern.Pattern(text)
    assert says in str(refused.value)


def test_says_which_level_an_id_needs():
    topic = pattern.Pattern("tele/{id}/SENSOR")
    assert topic.template_error("{id}-x") is None
    assert topic.template_error("{name}") == "'{name}' needs the level {name} of the topic; 'tele/{id}/SENSOR' has {id}"
    assert topic.template_error("{id") == "'{id': a brace belongs to no name"


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("ENERGY.Total", ("ENERGY", "Total")),
        ("em:0.a_voltage", ("em:0", "a_voltage")),
        ('"a.b".c', ("a.b", "c")),
        (r'"a\"b"', ('a"b',)),
        ("sensors.0.value", ("sensors", 0, "value")),
        ("0", ("0",)),
        ('a."0"', ("a", "0")),
    ],
)
def test_parses_paths(text, steps):
    assert path.parse(text) == steps


@pytest.mark.parametrize("text", ["", ".", "a.", "a..b", '"a', '"a"b', ".".join("abcdefghijklm")])
def test_refuses_what_is_no_path(text):
    with pytest.raises(ValueError, match="is no path"):
        path.parse(text)


@pytest.mark.parametrize("document", [None, 1, "text", [], {}, {"a": None}, {"a": []}, {"a": {"b": 1}}, {"a": [1]}])
def test_nothing_there(document):
    assert path.look_up(document, ("a", 1)) is path.MISSING
