"""Counters and the latency histogram."""

import dataclasses
import datetime as dt
import json

import pytest

from voltd import config, metrics, models
from voltd.daemon import status
from voltd.pipeline.decode import decoder


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


def test_unknown_and_bad_fields_are_named_where_people_look():
    """Once a name, with what was probably meant; fields that were left out are counted apart from messages."""
    now = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
    bodies = [
        {"timestamp": now.isoformat(), "soc": 64, "kwhDeliveredDCTotal": 5, "firmware": "1"},
        {"timestamp": now.isoformat(), "soc": 64, "batteryTemp": -127, "firmware": "1"},
        {"timestamp": now.isoformat(), "batteryTemp": -127},
        {"timestamp": now.isoformat(), "soc": None},
    ]
    messages = [
        models.Message("volt/vehicle/V1/telemetry", json.dumps(body).encode(), number, now)
        for number, body in enumerate(bodies, 1)
    ]
    messages.append(models.Message("volt/vehicle/V1/telemetry", b"{", 5, now))
    batch = decoder.Decoder(config.Topics(), config.Limits(), 90).decode(messages)
    counters = metrics.Metrics()
    new = counters.note_decoded(batch)
    assert sorted(new) == [("firmware", ""), ("kwhDeliveredDCTotal", "kwhDeliveredDcTotal")]
    assert counters.note_decoded(batch) == [], "one line a name"
    counters.count(models.WriteResult(vehicles_written=2, dead_letters=batch.dead_letters))
    assert counters.messages_dead_lettered_total == {"not_json": 1}
    assert counters.fields_dead_lettered_total == {"out_of_range batteryTemp": 2}
    assert (counters.unknown_fields_total, counters.signs_of_life_total) == (6, 2)
    counters.note_decoded(models.Batch([], alive_sources=[(0, None), (1, None)], passed_over=1))
    assert (counters.signs_of_life_total, counters.passed_over_total) == (3, 1)
    shown = status.show(status.Reporter(config.Settings(), counters).build())
    assert "kwhDeliveredDCTotal: did you mean kwhDeliveredDcTotal?, firmware" in shown
    assert "2 out_of_range batteryTemp" in shown


def test_the_number_of_names_is_bounded():
    """A device that invents names fills neither memory nor status."""
    counters = metrics.Metrics()
    for start in range(0, 5000, 1000):
        batch = models.Batch([])
        batch.note_unknown(models.DeviceType.METER, [f"{number}-" + "x" * 500 for number in range(start, start + 1000)])
        counters.note_decoded(batch)
    assert counters.unknown_fields_total == 5000
    assert len(counters.unknown_names) == 200
    assert len(json.dumps(counters.snapshot())) < 5000


def test_status_says_how_many_devices_have_a_unit_in_doubt():
    counters = metrics.Metrics()
    assert "units         none in doubt" in status.show(status.Reporter(config.Settings(), counters).build())
    counters.units_in_doubt, counters.unit_in_doubt = 2, "meter M1: power says kW"
    shown = status.show(status.Reporter(config.Settings(), counters).build())
    assert "units         of 2 devices in doubt, such as meter M1: power says kW" in shown
