"""OpenEVSE's gateway: one plain value a topic, units as its code scales them."""

from __future__ import annotations

import pytest

from support import families as support
from voltd.models import Reason
from voltd.pipeline.decode.devices import families

SETTINGS = support.settings(openevse={"topics": ["{id}"]})


def evse(topic, payload, after_s=0.0, **more):
    return support.message(f"openevse-7b2c/{topic}", payload, after_s, **more)


def test_a_charge():
    batch = support.decode(
        SETTINGS, evse("amp", "31720"), evse("power", "7612.8"), evse("total_energy", "1204.378", 0.2)
    )
    (reading,) = batch.meters
    assert support.values(reading) == {
        "meter_id": "openevse-7b2c", "recorded_at": support.NOW, "current_a": 31.72, "power_kw": 7.6128,
        "ac_register_kwh": 1204.378, "time_source": "arrival",
    }  # fmt: skip
    assert batch.dead_letters == []


def test_milliamperes_and_watts_at_rest():
    (reading,) = support.decode(SETTINGS, evse("amp", "0"), evse("power", "0")).meters
    assert (reading.current_a, reading.power_kw) == (0.0, 0.0)


@pytest.mark.parametrize("topic", ["amp", "power", "total_energy"])
def test_false_is_no_number(topic):
    """The firmware writes it for temperatures that it has no sensor for; here it would be an error."""
    batch = support.decode(SETTINGS, evse(topic, "false"))
    assert [letter.reason for letter in batch.dead_letters] == [Reason.WRONG_TYPE]
    assert batch.meters == []


def test_what_is_not_read_is_not_subscribed_to():
    """Temperatures (tenths of a degree, or false), a configured voltage, registers that begin anew, deprecated ones."""
    found = families.of(SETTINGS)
    for topic in ("temp", "temp_max", "temp1", "temp4", "voltage", "pilot", "state", "vehicle", "battery_level",
                  "session_energy", "total_day", "total_year", "wattsec", "watthour", "wh", "elapsed", "frequency",
                  "time"):  # fmt: skip
        assert found.find(f"openevse-7b2c/{topic}") is None
    assert found.find("openevse/announce/c44f") is None


def test_what_is_retained_is_passed_over():
    batch = support.decode(SETTINGS, evse("amp", "31720", retained=True), evse("total_energy", "1204", retained=True))
    assert (batch.meters, batch.alive, batch.dead_letters) == ([], [], [])


@pytest.mark.parametrize(
    ("more", "topic"),
    [
        ({}, "openevse/garage/power"),
        ({"topics": ["emon/{id}"]}, "emon/garage/power"),
        ({"topics": ["openevse-7b2c"], "id": "garage"}, "openevse-7b2c/power"),
        ({"topics": ["{id}"], "ids": {"openevse-7b2c": "garage"}}, "openevse-7b2c/power"),
    ],
)
def test_base_topics(more, topic):
    batch = support.decode(support.settings(openevse=more), support.message(topic, "1400"))
    assert [(reading.meter_id, reading.power_kw) for reading in batch.meters] == [("garage", 1.4)]
