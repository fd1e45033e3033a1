"""Counters and the latency histogram."""

import dataclasses
import json

import pytest

from voltd import metrics


@pytest.mark.parametrize("seconds", [0.0005, 0.012, 1.0, 60.0])
def test_percentiles_are_within_ten_percent(seconds):
    latency = metrics.Latency()
    latency.add(seconds, 99)
    latency.add(seconds * 10, 1)
    half, most = latency.percentiles_ms(0.5, 0.995)
    assert half == pytest.approx(seconds * 1000, rel=0.11)
    assert most == pytest.approx(seconds * 10_000, rel=0.11)


def test_no_messages_no_latency():
    assert metrics.Latency().percentiles_ms(0.5, 0.99) == [0.0, 0.0]


def test_snapshot_has_every_counter_and_is_json_ready():
    counters = metrics.Metrics()
    counters.messages_dead_lettered_total["not_json"] += 1
    snapshot = json.loads(json.dumps(counters.snapshot()))
    assert snapshot["messages_dead_lettered_total"] == {"not_json": 1}
    counted = {field.name for field in dataclasses.fields(counters) if field.name.endswith("_total")}
    assert counted <= set(snapshot)
