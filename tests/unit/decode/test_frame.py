"""What stands around the JSON: taken, or refused by its name; and what a day's backlog weighs."""

import datetime as dt
import gzip
import json
import zlib

import pytest

from voltd import config, models
from voltd.models import Reason
from voltd.pipeline.consume import window
from voltd.pipeline.decode import decoder

NOW = dt.datetime(2026, 5, 1, 12, 0, 0, tzinfo=dt.UTC)
TOPIC = "volt/vehicle/V1/telemetry"


def text(minutes_ago, soc=64):
    at = (NOW - dt.timedelta(minutes=minutes_ago)).isoformat()
    return json.dumps({"timestamp": at, "soc": soc}).encode()


def decoded(payload, **limits):
    message = models.Message(TOPIC, payload, 1, NOW, size=len(payload))
    return decoder.Decoder(config.Topics(), config.Limits(**limits), 90).decode([message])


@pytest.mark.parametrize(
    "payload",
    [text(1) + b"\0", text(1) + b"\0\0\0", b"\xef\xbb\xbf" + text(1), b"\xef\xbb\xbf" + text(1) + b"\0",
     b"\xef\xbb\xbf[" + text(1) + b"]\0", b"\r\n" + text(1) + b"\r\n", text(1) + b"\n\0"],
)  # fmt: skip
def test_a_frame_that_says_nothing_is_taken_off(payload):
    """A byte order mark, C's end of a text, white space."""
    batch = decoded(payload)
    assert ([reading.soc_pct for reading in batch.vehicles], batch.dead_letters) == ([64.0], [])


@pytest.mark.parametrize("between", [b"\n", b"\r\n", b"\n\n", b" \n\t"])
def test_objects_one_a_line_are_an_array(between):
    """NDJSON: each line has its own fate, and its index from 0."""
    batch = decoded(between.join([text(1, 1), text(2, 200), text(3, 3), b'{"timestamp":']) + between)
    assert ([reading.soc_pct for reading in batch.vehicles], batch.vehicle_sources) == ([1.0, 3.0], [(0, 0), (0, 2)])
    assert [(letter.reason, letter.element) for letter in batch.dead_letters] == [
        (Reason.OUT_OF_RANGE, 1), (Reason.NOT_JSON, 3),
    ]  # fmt: skip
    assert batch.dead_letters[0].payload == text(2, 200)
    assert bytes(decoder.elements(batch.messages[0].payload)[2]) == text(3, 3)


def test_an_object_over_several_lines_is_one():
    assert decoded(json.dumps(json.loads(text(1)), indent=1).encode()).readings == 1


def test_many_lines_are_as_bounded_as_a_long_array():
    batch = decoded(b"\n".join([text(1)] * 11), max_array_readings=10)
    assert [letter.reason for letter in batch.dead_letters] == [Reason.TOO_MANY]
    assert window.parts(b"{}\n" * 5000) == 5000
    assert window.parts(text(1)) == 0


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (gzip.compress(text(1), mtime=0), "gzip"),
        (zlib.compress(text(1)), "zlib"),
        (b"\x28\xb5\x2f\xfd\x04\x00", "zstd"),
        (text(1).decode().encode("utf-16"), "UTF-16"),
        (text(1).decode().encode("utf-16-le"), "UTF-16"),
        (text(1).decode().encode("utf-16-be"), "UTF-16"),
        (bytes(range(8, 60)), "binary data that begins with 08 09 0a"),
        (b"\xa2\x63soc\x18\x40", "binary data that begins with a2"),
        (b"", "an empty payload"),
        (b" \n", "an empty payload"),
        (b"\0", "nothing but NUL bytes"),
        (text(1) + b"\0x", "a NUL byte at byte"),
        (text(1)[:-1], "cut short"),
        (text(1)[:20], "cut short"),
        (text(1) + b"}", "something follows the JSON value at character"),
        (text(1) + b" OK", "something follows the JSON value at character"),
        (text(1) + text(2), "more than one JSON value"),
        (b"[" + text(1) + b"][" + text(2) + b"]", "more than one JSON value"),
        (b"{'soc':1}", "not JSON at character 2"),
        (b"V1,2026-05-01T12:00:00Z,64", "not JSON at character 1: expecting value"),
        (b'{"soc":1,"note":"\xe9"}', "not UTF-8: the byte 0xe9 at byte 17"),
        (b'{"soc":1,"note":"\\ud800"}', "surrogate"),
    ],
)
def test_what_is_no_json_is_refused_by_name(payload, said):
    """Never "trailing characters at column 46"."""
    (letter,) = decoded(payload).dead_letters
    assert letter.reason is Reason.NOT_JSON
    assert said in letter.detail
    assert "trailing characters" not in letter.detail
    assert letter.payload == payload


def test_a_day_of_readings_every_minute_is_taken():
    """1,440 readings of 219 bytes, and what limits.max_array_readings promises, fit into the default."""
    body = json.loads(text(0)) | {"note": "x" * 155}
    for count in (1440, 10_000):
        readings = [body | {"timestamp": (NOW - dt.timedelta(seconds=number)).isoformat()} for number in range(count)]
        payload = json.dumps(readings).encode()
        assert len(payload) > 219 * count
        batch = decoded(payload)
        assert (batch.readings, batch.dead_letters) == (count, [])


def test_what_is_too_large_is_kept_whole():
    """So that it can be replayed once the limit is raised."""
    payload = b"[" + b",".join([text(number) for number in range(1440)]) + b"]"
    (letter,) = decoded(payload, max_payload_bytes=4096).dead_letters
    assert (letter.reason, letter.payload) == (Reason.TOO_LARGE, payload)
    assert letter.detail.startswith(f"payload of {len(payload)} bytes ")
