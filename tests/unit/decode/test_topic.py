"""Topics by the filters of the settings: the same matches as MQTT's own rules, and the id in the right level."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import client as paho

from voltd import config, models
from voltd.pipeline.decode import topic as decode_topic

LEVEL = st.sampled_from(["a", "b", "", "x.y", "c d"])
TOPIC = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
FILTER = st.lists(st.sampled_from(["a", "b", "", "+", "x.y"]), min_size=1, max_size=4).map("/".join).filter(bool)


def table(*filters):
    return decode_topic.TopicTable(config.Topics(vehicle=filters, meter=(), ingest=()))


@given(topic=TOPIC, topic_filter=FILTER, ending=st.sampled_from(["", "/#"]))
def test_matches_like_mqtt(topic, topic_filter, ending):
    """Invariant of MQTT 5, 4.7: + is one level, # the rest and the level above it."""
    found = table(topic_filter + ending).route(topic)
    assert (found is not None) == paho.topic_matches_sub(topic_filter + ending, topic)


@pytest.mark.parametrize(
    ("topic_filter", "topic", "device_id"),
    [
        ("volt/vehicle/+/telemetry", "volt/vehicle/V1/telemetry", "V1"),
        ("fleet/+/car/+/#", "fleet/F/car/C/soc/now", "C"),
        ("#", "any/thing", None),
        ("$share/g/cars/+", "cars/C", "C"),
    ],
)
def test_the_last_plus_is_the_id(topic_filter, topic, device_id):
    assert table(topic_filter).route(topic) == (models.DeviceType.VEHICLE, device_id, None)


def test_nul_in_a_topic_is_no_device():
    """MQTT forbids it, and PostgreSQL could not hold the id: one such topic must not send its batch the slow way."""
    assert table("volt/vehicle/+").route("volt/vehicle/a\0b") is None
