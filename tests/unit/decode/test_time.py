"""Times as devices write them: RFC 3339, seconds or milliseconds since 1970, local time where its zone is set."""

import datetime as dt
import json

import pytest

from voltd import config, models
from voltd.models import Reason
from voltd.pipeline.decode import decoder

NOW = dt.datetime(2026, 5, 1, 12, 0, 0, tzinfo=dt.UTC)
VEHICLE, METER = "volt/vehicle/V1/telemetry", "volt/meter/M1/telemetry"
BERLIN = {"volt/vehicle/+/telemetry": "Europe/Berlin"}


def decoded(at, topic=VEHICLE, name="timestamp", received_at=NOW, *, limits=None, **timestamps):
    body = json.dumps({name: at, "soc": 1, "power": 1}).encode()
    message = models.Message(topic, body, 1, received_at, size=len(body))
    settings = config.Timestamps(**timestamps)
    return decoder.Decoder(config.Topics(), config.Limits(**(limits or {})), 90, settings).decode([message])


def taken(batch):
    (reading,) = batch.vehicles + batch.meters
    return reading.recorded_at


@pytest.mark.parametrize(
    ("at", "after"),
    [(1777636798, 0), (1777636798000, 0), (1777636798.25, 0.25), (1777636798250, 0.25), (1777636798250.5, 0.2505),
     ("1777636798", 0), ("1777636798.25", 0.25), ("1777636798250", 0.25), (1777636798.123456, 0.123456)],
)  # fmt: skip
@pytest.mark.parametrize("name", ["timestamp", "createdAt"])
def test_seconds_and_milliseconds_since_1970(at, after, name):
    """Distinguished by their size; whole, with a fraction, as text."""
    moment = dt.datetime(2026, 5, 1, 11, 59, 58, tzinfo=dt.UTC) + dt.timedelta(seconds=after)
    for topic in (VEHICLE, METER):
        assert taken(decoded(at, topic, name)) == moment


def test_numbers_are_refused_where_the_settings_say_so():
    (letter,) = decoded(1777636798, epoch=False).dead_letters
    assert (letter.reason, "timestamps.epoch" in letter.detail) == (Reason.BAD_TIME, True)
    (letter,) = decoded("1777636798", limits={"numbers_as_text": False}).dead_letters
    assert (letter.reason, "limits.numbers_as_text" in letter.detail) == (Reason.BAD_TIME, True)


@pytest.mark.parametrize("at", ["2026-05-01T13:59:58", "2026-05-01 13:59:58", "2026-05-01T13:59:58.000"])
def test_local_time_where_its_topic_has_a_zone(at):
    """Only on the topics that the filter matches; elsewhere the refusal names the setting."""
    assert taken(decoded(at, zone=BERLIN)) == dt.datetime(2026, 5, 1, 11, 59, 58, tzinfo=dt.UTC)
    (letter,) = decoded(at, METER, zone=BERLIN).dead_letters
    assert (letter.reason, "timestamps.zone" in letter.detail) == (Reason.BAD_TIME, True)


def test_an_offset_counts_more_than_the_zone():
    assert taken(decoded("2026-05-01T11:59:58Z", zone=BERLIN)).hour == 11


@pytest.mark.parametrize(
    ("local", "utc"),
    [("2026-03-29T01:59:59", "00:59:59"), ("2026-03-29T02:30:00", "01:30:00"), ("2026-03-29T03:00:00", "01:00:00"),
     ("2026-10-25T02:30:00", "00:30:00"), ("2026-10-25T03:00:00", "02:00:00")],
)  # fmt: skip
def test_the_nights_when_clocks_change(local, utc):
    """Of the hour that comes twice the first is meant; in the one that is left out time counts on."""
    day = dt.datetime.fromisoformat(local).replace(hour=12, tzinfo=dt.UTC)
    assert taken(decoded(local, received_at=day, zone=BERLIN)).strftime("%H:%M:%S") == utc


@pytest.mark.parametrize(
    ("received", "utc"),
    [("00:30:02", "00:30:00"), ("00:59:00", "00:30:00"), ("01:29:59", "01:30:00"), ("01:30:02", "01:30:00"),
     ("02:29:00", "01:30:00"), ("02:31:00", "00:30:00")],
)  # fmt: skip
def test_the_hour_that_comes_twice(received, utc):
    """The one that is nearer to the arrival; of a late message nothing says which, so the first."""
    received_at = dt.datetime.fromisoformat(f"2026-10-25T{received}Z")
    assert f"{taken(decoded('2026-10-25T02:30:00', received_at=received_at, zone=BERLIN)):%H:%M:%S}" == utc


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00", "9999-12-31T23:59:59"])
def test_a_local_time_at_the_end_of_the_calendar(at):
    """Refused, and nothing breaks."""
    zone = {"volt/vehicle/+/telemetry": "Pacific/Kiritimati" if at[0] == "0" else "Pacific/Midway"}
    (letter,) = decoded(at, zone=zone).dead_letters
    assert letter.reason in {Reason.BAD_TIME, Reason.TOO_OLD, Reason.IN_FUTURE}
