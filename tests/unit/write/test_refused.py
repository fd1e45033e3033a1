"""Devices of which all is refused: by topic or payload, once in half a minute, whatever else the batch holds."""

import datetime as dt
import json

import pytest

from voltd import config, models
from voltd.pipeline.decode import decoder
from voltd.pipeline.write import refused as write_refused

T0 = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
BROKEN = {"timestamp": T0.isoformat(), "power": "much"}
SOUND = {"timestamp": T0.isoformat(), "power": 1.0}


def _found(*messages, refused=None, clock_s=100.0, topics=None, retained=False, not_stored=()):
    """Of (topic, payload) pairs, as they are decoded: who is to be recorded, with reason and detail."""
    topics = topics or config.Topics()
    received = [
        models.Message(
            topic, body if isinstance(body, bytes) else json.dumps(body).encode(), number,
            T0 + dt.timedelta(seconds=number), retained=retained,
        )
        for number, (topic, body) in enumerate(messages)
    ]  # fmt: skip
    batch = decoder.Decoder(topics, config.Limits(), 90).decode(received)
    result = models.WriteResult(dead_letters=list(batch.dead_letters))
    readings: list[models.Reading] = [*batch.vehicles, *batch.meters]
    for reading in readings:
        if reading[0] in not_stored:
            result.refused.append(reading)
            letter = models.DeadLetter(received[0], b"{}", models.Reason.REJECTED, "no")
            result.dead_letters.append(letter)
    return (refused or write_refused.Refused(topics)).find(batch, result, clock_s)


def test_the_topic_names_the_device():
    """With the first and the latest of its refused messages, and what was wrong with the latest."""
    topic = "volt/meter/M1/telemetry"
    found = _found((topic, b"malformed"), (topic, BROKEN), ("volt/vehicle/V1/telemetry", b"{}"))
    assert set(found) == {("meter", "M1"), ("vehicle", "V1")}
    one = found["meter", "M1"]
    assert (one.since, one.last_at) == (T0, T0 + dt.timedelta(seconds=1))
    assert (one.reason, one.detail.split(":")[0]) == ("wrong_type", "power")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"type": "METER", "payload": {"meterId": "M1", **BROKEN}}, {("meter", "M1")}),
        ([{"type": "VEHICLE", "payload": {"vehicleId": "V1", "soc": "full"}}], {("vehicle", "V1")}),
        ({"type": "METER", "payload": {"meterId": 7}}, set()),
        ({"type": "METER", "payload": {"meterId": "x" * 65}}, set()),
        ({"type": "TRUCK", "payload": {"meterId": "M1"}}, set()),
        ({"type": "METER", "payload": "M1"}, set()),
        (b"malformed", set()),
        (b'{"type": "METER", "payload": {"meterId": "M1", "power": NaN}}', set()),
    ],
)
def test_an_envelope_names_the_device_where_it_can_be_read(body, expected):
    """What cannot be read names nobody, and stops nothing."""
    assert set(_found(("volt/ingest", body))) == expected


def test_a_device_that_is_stored_too_is_not_refused():
    """A reading that is accepted in the same batch, in whichever message; one that the database refuses is none."""
    topic = "volt/meter/M1/telemetry"
    assert _found((topic, BROKEN), (topic, SOUND)) == {}
    assert _found((topic, [BROKEN, SOUND])) == {}
    assert set(_found((topic, SOUND), not_stored=("M1",))) == {("meter", "M1")}


def test_retained_messages_say_nothing_of_now():
    """The broker keeps them for years."""
    assert _found(("volt/meter/M1/telemetry", BROKEN), retained=True) == {}


def test_a_device_is_written_once_in_half_a_minute(monkeypatch):
    """However much it sends; what was not committed is written by the next batch."""
    refused, topic = write_refused.Refused(config.Topics()), "volt/meter/M1/telemetry"
    assert len(_found((topic, BROKEN), refused=refused)) == 1
    assert len(_found((topic, BROKEN), refused=refused)) == 1  # the first was not committed
    monkeypatch.setattr("time.monotonic", lambda: 100.0)
    refused.written([("meter", "M1")])
    assert _found((topic, BROKEN), refused=refused, clock_s=129.0) == {}
    assert len(_found((topic, BROKEN), ("volt/meter/M2/telemetry", b"x"), refused=refused, clock_s=131.0)) == 2


def test_of_bad_fields_alone_nothing_is_stored():
    """A device with one bad field in each message counts as refused; one with a good field beside it does not."""
    bad = {"timestamp": T0.isoformat(), "voltage": -1, "power": "much"}
    assert set(_found(("volt/meter/M1/telemetry", bad))) == {("meter", "M1")}
    assert not _found(("volt/meter/M1/telemetry", {**bad, "current": 1}))
