"""A path of an own description that never matches is said: by the daemon's status and log, and by the doctor."""

from __future__ import annotations

import pytest

from support import families as support
from support import sparkplug as sp
from voltd import metrics
from voltd.daemon import status
from voltd.doctor import listen, report, survey
from voltd.pipeline.decode import decoder
from voltd.pipeline.decode.devices import catalogue, families

MINE = """
title = "Mine"
topics = ["mine/{id}"]
device = "meter"

[[document]]
topic = "state"
time = "meta.at"
others = "pass"
[document.fields]
power = { path = "power", unit = "W" }
voltage = { path = ["phases.l1", "phases.l2"], take = "mean", unit = "V" }
current = { path = "i", unit = "A" }
kwhConsumedAcTotal = { path = "e", unit = "kWh" }

[[value]]
topic = "returned"
field = "kwhReturnedAcTotal"
path = "total"
unit = "Wh"

[[value]]
topic = "l1"
field = "current"
unit = "A"
part = 1
parts = 2

[[value]]
topic = "l2"
field = "current"
unit = "A"
part = 2
parts = 2

[[special]]
reader = "sparkplug"
[special.fields]
power = { path = ["P", "Power"], unit = "W" }
voltage = { path = "U", unit = "V" }
"""
STATE = '{"power":5,"voltage":{"l1":230},"i":"much","e":-5}'


def own(directory, limits=None):
    (directory / "mine.toml").write_text(MINE)
    return support.settings(directory, limits=limits, mine={}, tasmota={})


def of(given):
    known = families.of(given)
    return known, decoder.Decoder(given.mqtt.topics, given.limits, 90, given.timestamps, known)


def test_fields_without_a_value_and_no_others(tmp_path):
    """A refused value is one, as is one that counts for its twin, and a part of a sum."""
    known, reader = of(own(tmp_path, {"negative_is_returned": True}))
    for number in range(5):
        sent = [("mine/m/state", STATE), ("mine/m/returned", '{"total":null}'), ("mine/m/l1", "3"), ("mine/m/l2", "4")]
        for topic, payload in [*sent, ("tele/t/SENSOR", '{"ENERGY":{"Power":1}}')]:
            reader.decode([support.message(topic, payload, number)])
        for kind in ("NBIRTH/n", "DBIRTH/n/d"):
            reader.decode([support.message(f"mine/m/{kind}", sp.birth(sp.metric("Power", 5.0)), number)])
    assert known.silent(6) != []
    assert known.silent(11) == []
    assert sorted(map(str, known.silent(5))) == [
        "mine: kwhReturnedAcTotal (path total) has had no value in 5 messages",
        "mine: time (path meta.at) has had no value in 5 messages",
        "mine: voltage (path U) has had no value in 10 messages",
        "mine: voltage (path phases.l1, phases.l2) has had no value in 5 messages",
    ]


def test_a_field_that_has_a_value_is_not_said_any_more(tmp_path):
    known, reader = of(own(tmp_path))
    for _ in range(5):
        reader.decode([support.message("mine/m/state", STATE)])
    reader.decode([support.message("mine/m/state", '{"phases":{"l1":230},"meta":{"at":"2026-05-01T11:59:58Z"}}')])
    assert known.silent(5) == []


@pytest.mark.parametrize(("messages", "said"), [(99, 0), (100, 1)])
def test_the_status_names_it_and_the_log_once(tmp_path, capsys, messages, said):
    given = own(tmp_path)
    known, reader = of(given)
    reporter = status.Reporter(given, metrics.Metrics(), known.silent)
    for _ in range(messages):
        reader.decode([support.message("mine/m/state", '{"power":5,"i":1,"e":1,"meta":{"at":1777636790}}')])
    built = [reporter.build() for _ in range(3)][-1]
    words = "mine: voltage (path phases.l1, phases.l2) has had no value in 100 messages"
    assert built["fields_silent"] == [words] * said
    assert (words in status.show(built), capsys.readouterr().out.count("field.silent")) == (bool(said), said)


@pytest.mark.parametrize("enabled", [True, False])
def test_the_doctor_names_it(tmp_path, enabled):
    given = own(tmp_path)
    if not enabled:
        given = support.settings(tmp_path)
    heard = listen.Heard(10)
    for number in range(4):
        heard.add(support.message("mine/m/state", STATE, number))
        heard.add(support.message("mine/m/l1", "3", number))
    groups = survey.survey(heard, given, catalogue.described(given.devices_directory))
    lines = [line.strip() for line in report.lines(groups, 10, None)]
    assert "mine: voltage (path phases.l1, phases.l2) has had no value in 4 messages: is the path right?" in lines


def test_descriptions_that_voltd_brings_are_for_many_devices(tmp_path):
    """Most have fields that one device does not have."""
    known, reader = of(own(tmp_path))
    for _ in range(5):
        reader.decode([support.message("tele/t/SENSOR", '{"ENERGY":{"Power":1}}')])
    assert known.silent(0) == [one for one in known.silent(0) if one.family == "mine"]
    assert known.silent(5) == []
