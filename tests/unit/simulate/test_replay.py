"""A recording replayed: what is read, what is published, and what is reported."""

import csv
import gzip
import json
import pathlib

import pytest

from support.replaying import CSV, NOW, Broker, payloads, replay
from voltd import errors
from voltd.simulate.publish.target import MqttTarget
from voltd.simulate.replay.plan import ReplayOptions

TWIZY = pathlib.Path(__file__).resolve().parents[4] / "shared" / "data" / "twizy_trips.csv.gz"


def test_csv_as_recorded(write):
    """Numbers become numbers, texts stay texts, blanks are left out, unknown columns pass, times are untouched."""
    sent, tally, faults = replay(write(CSV))
    assert [publication.topic for _, publication in sent] == [
        "volt/vehicle/EV-1/telemetry", "volt/vehicle/EV-1/telemetry", "volt/vehicle/EV-2/telemetry",
    ]  # fmt: skip
    assert payloads(sent) == [
        {"vehicleId": "EV-1", "timestamp": "2021-03-29T11:00:00Z", "soc": 87.5, "speed": 0, "chargingStatus": "007",
         "firmware": 4.2},
        {"vehicleId": "EV-1", "timestamp": "2021-03-29T11:00:10+00:00", "soc": 87.4, "chargingStatus": "idle, warm",
         "odometer": 12.5, "firmware": "v4"},
        {"vehicleId": "EV-2", "timestamp": "2021-03-29T12:00:20+01:00", "soc": "nan", "speed": 100.0},
    ]  # fmt: skip
    assert (tally.published.vehicle, tally.published.meter, tally.unpublishable, faults) == (3, 0, 0, [])


@pytest.mark.parametrize("packed", [False, True])
def test_same_reading_in_every_format(write, packed):
    """CSV and NDJSON, gzip or not, are distinguished by content whatever the name, with or without byte order mark."""
    row = {"meterId": "M-1", "timestamp": "2021-03-29T11:00:00Z", "kwhConsumedAc": 0.25}
    pack = gzip.compress if packed else bytes
    contents = [
        b"\xef\xbb\xbfmeterId,timestamp,kwhConsumedAc\r\nM-1,2021-03-29T11:00:00Z,0.25\r\n",
        b"meterId;timestamp;kwhConsumedAc\nM-1;2021-03-29T11:00:00Z;0.25",
        b"sep=;\nmeterId;timestamp;kwhConsumedAc\nM-1;2021-03-29T11:00:00Z;0.25",
        b"\n" + json.dumps(row).encode() + b"\n\n",
    ]
    for content in contents:
        sent, tally, _ = replay(write(pack(content), "odd.name"))
        assert payloads(sent) == [row]
        assert sent[0][1].topic == "volt/meter/M-1/telemetry"
        assert tally.published.meter == 1


def test_lines_that_cannot_be_published(write):
    """Each is reported with its line number and its reason; the others go out."""
    content = (
        CSV.encode()
        + b'EV-3,\xff\xfe,1,,,,\nEV-4,one,two\nEV-5,"open,1,1,1,1,1\n'
        + b",2021-03-29T11:00:00Z,1,,,,\na/b,,1,,,,\n+,,1,,,,\nEV-6,,1,,,,\n"
    )
    sent, tally, faults = replay(write(content))
    assert [fault.line for fault in faults] == [6, 7, 8, 9, 10, 11]
    assert tally.unpublishable == 6
    assert [fault.why.split()[0] for fault in faults] == ["not", "3", "not", "neither", "the", "the"]
    assert len(sent) == 4
    assert payloads(sent)[-1] == {"vehicleId": "EV-6", "soc": 1}


def test_ndjson_lines_that_cannot_be_published(write):
    """A broken line, a line that is no object, one without id; values are passed on however odd."""
    lines = ['{"vehicleId":"EV-1","soc":NaN}', '{"vehicleId":', "[1]", '{"soc":1}', '{"vehicleId":7}', '{"meterId":"M","power":"x"}']  # fmt: skip # noqa: E501
    sent, tally, faults = replay(write("\n".join(lines)))
    assert [fault.line for fault in faults] == [2, 3, 4, 5]
    assert [publication.payload for _, publication in sent] == [
        b'{"vehicleId":"EV-1","soc":NaN}', b'{"meterId":"M","power":"x"}',
    ]  # fmt: skip
    assert (tally.published.vehicle, tally.published.meter) == (1, 1)


def test_arrays(write):
    """Up to N consecutive readings of one device go in one array; a lone one is no array; none is lost."""
    lines = ["vehicleId,timestamp,soc"] + [
        f"{device},2021-03-29T11:00:00Z,{index}" for index, device in enumerate("AAAAABBA")
    ]
    sent, tally, _ = replay(write("\n".join(lines)), array=3)
    contents = payloads(sent)
    assert [len(content) if isinstance(content, list) else 0 for content in contents] == [3, 2, 2, 0]
    assert tally.published.vehicle == 8


def test_arrays_of_long_readings(write):
    """An array stays well below the payload limit."""
    note = "x" * 50_000
    lines = ["vehicleId,timestamp,note"] + [f"A,2021-03-29T11:00:00Z,{note}"] * 10
    sent, _, _ = replay(write("\n".join(lines)), array=100)
    assert all(len(publication.payload) < 250_000 for _, publication in sent)
    assert sum(publication.vehicle for _, publication in sent) == 10


def test_stopped(write):
    """A stop ends it after the message under way, with a tally."""
    sent, tally, _ = replay(write(CSV), broker=Broker(stop_after=2))
    assert len(sent) == tally.published.vehicle == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("device,time,soc\n1,2,3\n", "neither a column"),
        ('[{"vehicleId":"EV-1"}]', "JSON array"),
        ("vehicleId,timestamp,soc\n".encode("utf-16"), "UTF-8"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "UTF-8"),
    ],
)
def test_no_recording(write, content, words):
    """What is no recording is refused with the reason and a hint."""
    with pytest.raises(errors.UsageError, match=words) as refused:
        replay(write(content))
    assert refused.value.hint


@pytest.mark.parametrize(
    "wrong",
    [
        {"now": True, "shift_s": 1.0}, {"now": True, "from_now": True}, {"speed": -1.0}, {"speed": float("nan")},
        {"array": 0}, {"array": 10_001}, {"connections": 0}, {"connections": -1}, {"connections": 100_000},
        {"shift_s": float("nan")}, {"shift_s": float("inf")}, {"shift_s": 1e300},
    ],
)  # fmt: skip
def test_impossible_options(wrong):
    """Options that contradict each other are refused before anything is read."""
    with pytest.raises(errors.UsageError):
        ReplayOptions(MqttTarget(), pathlib.Path("any"), **wrong)


def test_row_with_vehicle_and_meter(write):
    """It makes two readings, each with what belongs to it; a half without a measurement is none."""
    path = write(
        "vehicleId,meterId,timestamp,soc,power,firmware\n"
        "EV-1,M-1,2021-03-29T11:00:00Z,64,7.2,v4\nEV-1,M-1,2021-03-29T11:01:00Z,,7.1,v4\n"
        "EV-1,,2021-03-29T11:02:00Z,65,,\nEV-1,M-1,2021-03-29T11:03:00Z,,,\n"
    )
    sent, tally, faults = replay(path)
    assert payloads(sent) == [
        {"vehicleId": "EV-1", "timestamp": "2021-03-29T11:00:00Z", "soc": 64, "firmware": "v4"},
        {"meterId": "M-1", "timestamp": "2021-03-29T11:00:00Z", "power": 7.2},
        {"meterId": "M-1", "timestamp": "2021-03-29T11:01:00Z", "power": 7.1, "firmware": "v4"},
        {"vehicleId": "EV-1", "timestamp": "2021-03-29T11:02:00Z", "soc": 65},
        {"vehicleId": "EV-1", "timestamp": "2021-03-29T11:03:00Z"},
    ]
    assert [p.topic.split("/")[2] for _, p in sent] == ["EV-1", "M-1", "M-1", "EV-1", "EV-1"]
    assert (tally.published.vehicle, tally.published.meter, faults) == (3, 2, [])


def test_json_row_with_vehicle_and_meter(write):
    """NDJSON alike, and null ids are none."""
    sent, _, _ = replay(write('{"vehicleId":"A","meterId":"M","soc":1,"power":2}\n{"vehicleId":"A","meterId":null}'))
    assert payloads(sent) == [{"vehicleId": "A", "soc": 1}, {"meterId": "M", "power": 2}, {"vehicleId": "A"}]


ODD = (
    "vehicleId,timestamp,soc\nA,2021-03-29T11:00:00Z,1\nA,2032-01-01T00:00:00Z,2\nA,1970-01-01T00:00:00Z,3\n"
    "A,2021-03-29T11:00:30Z,4\n"
)


def test_decimal_commas_and_na(write):
    """With --decimal-comma and --skip-na they are numbers and nothing; a text keeps its comma."""
    path = write(
        "vehicleId;timestamp;soc;odometer;chargingStatus\nA;2021-03-29T11:00:00Z;63,5;12.345,6;1,5\n"
        "A;2021-03-29T11:00:01Z;NA;n/a;N/A\nA;2021-03-29T11:00:02Z;-;1.5;none\n"
    )
    sent, _, _ = replay(path, decimal_comma=True, skip_na=True)
    assert [{**payload, "vehicleId": 0, "timestamp": 0} for payload in payloads(sent)] == [
        {"vehicleId": 0, "timestamp": 0, "soc": 63.5, "odometer": 12345.6, "chargingStatus": "1,5"},
        {"vehicleId": 0, "timestamp": 0},
        {"vehicleId": 0, "timestamp": 0, "odometer": 1.5, "chargingStatus": "none"},
    ]


def test_columns_of_another_name(write):
    """A file that names its id otherwise is refused with the name that is meant."""
    with pytest.raises(errors.UsageError, match="neither") as refused:
        replay(write("vehicle_id,recorded_at,soc_pct\nA,2021-03-29T11:00:00Z,5\n"))
    assert "vehicle_id: did you mean vehicleId?" in refused.value.hint


def test_two_columns_of_one_name(write):
    """Which of two columns of one name counts is not guessed."""
    with pytest.raises(errors.UsageError, match="two columns soc"):
        replay(write("vehicleId,timestamp,soc,soc\nA,2021-03-29T11:00:00Z,5,6\n"))


@pytest.mark.slow
@pytest.mark.skipif(not TWIZY.exists(), reason="the recorded trips are not beside this checkout")
def test_recorded_trips():
    """All 55,475 rows of the recorded trips become publications, three of them with an impossible longitude."""
    sent, tally, _ = replay(TWIZY, now=True)
    assert (tally.published.vehicle, tally.unpublishable) == (55_475, 0)
    published = payloads(sent)
    assert sum(not -180 <= payload.get("longitude", 0) <= 180 for payload in published) == 3
    assert max(payload["timestamp"] for payload in published) <= NOW.isoformat()
    with gzip.open(TWIZY, "rt") as file:
        first = next(csv.DictReader(file))
    assert published[0]["soc"] == float(first["soc"])
