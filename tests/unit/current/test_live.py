"""The live topic: what a device or a fleet is called cannot break the daemon's own connection."""

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from voltd.pipeline.current import live


@pytest.mark.parametrize(
    ("vehicle_id", "level"),
    [("EV-1", "EV-1"), ("a/b+c#", "a_b_c_"), ("a\x01b\x7f", "a_b_"), ("\ufffe\U0001ffff", "__"), ("x" * 90, "x" * 64)],
)
def test_names_become_one_clean_topic_level(vehicle_id, level):
    """What MQTT forbids in a topic is replaced (MQTT 5, 1.5.4 and 4.7)."""
    sent = []
    live.LivePublisher(sent.append, 100, 1.0).publish(["vehicle_id", "soc_pct"], [(vehicle_id, 1.0)])
    assert sent[0].topic == f"voltd/live/unassigned/{level}"
    paho.Client(CallbackAPIVersion.VERSION2).publish(sent[0].topic, sent[0].payload)


def test_fleet_and_budget():
    """A registered vehicle is on its fleet's topic; beyond the budget another part goes out each time."""
    sent = []
    publisher = live.LivePublisher(sent.append, 2, 1.0)
    publisher.set_fleets({"V0": "F"})
    rows = [(f"V{number}",) for number in range(5)]
    for _ in range(4):
        publisher.publish(["vehicle_id"], rows[publisher.pick(len(rows))])
    assert [message.topic.removeprefix("voltd/live/") for message in sent] == [
        "F/V0", "unassigned/V1", "unassigned/V2", "unassigned/V3", "unassigned/V4", "F/V0", "unassigned/V1",
    ]  # fmt: skip
