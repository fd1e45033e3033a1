"""A recording replayed: what is read, when it goes out, under which time, and what is reported."""

import csv
import datetime as dt
import gzip
import json
import pathlib
import threading

import pytest

from voltd import errors
from voltd.simulate import recording
from voltd.simulate.publish import MqttTarget, Tally
from voltd.simulate.replay import Plan, Replay, ReplayOptions, prepare

TWIZY = pathlib.Path(__file__).resolve().parents[2].parent / "shared" / "data" / "twizy_trips.csv.gz"
NOW = dt.datetime(2026, 5, 1, 8, 0, 0, 500_000, tzinfo=dt.UTC)
CSV = """vehicleId,timestamp,soc,speed,chargingStatus,odometer,firmware
EV-1,2021-03-29T11:00:00Z,87.50,0,007,,4.2
EV-1,2021-03-29T11:00:10+00:00,87.4,,"idle, warm",12.5,v4

EV-2,2021-03-29T12:00:20+01:00,nan,1e2,,,
"""


class _Broker:
    """Acknowledges everything at once; remembers when it came, by the same clock that waiting moves."""

    def __init__(self, stop_after=None):
        self.now_s = 0.0
        self.sent = []
        self.stop = _Stop(self)
        self._stop_after = stop_after

    def publish(self, publication, *, stop=None, timeout_s=None):  # noqa: ARG002
        self.sent.append((self.now_s, publication))
        if len(self.sent) == self._stop_after:
            stop.set()
        return True

    def drain(self, timeout_s):  # noqa: ARG002
        return True

    def tally(self):
        return Tally(sum(p.vehicle for _, p in self.sent), sum(p.meter for _, p in self.sent), messages=len(self.sent))


class _Stop(threading.Event):
    """Waiting moves the clock instead of taking time."""

    def __init__(self, broker):
        super().__init__()
        self._broker = broker

    def wait(self, timeout=None):
        self._broker.now_s += timeout
        return self.is_set()


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="recording"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


def _replay(path, *, broker=None, at=NOW, **options):
    made = ReplayOptions(MqttTarget(), path, **{"speed": 0.0, **options})
    broker = broker or _Broker()
    faults = []
    plan = prepare(made, at)
    tally = Replay(made, plan, broker, stop=broker.stop, on_fault=faults.append, monotonic=lambda: broker.now_s).run()
    return broker.sent, tally, faults


def _payloads(sent):
    return [json.loads(publication.payload) for _, publication in sent]


def test_csv_as_recorded(write):
    """Numbers become numbers, texts stay texts, blanks are left out, unknown columns pass, times are untouched."""
    sent, tally, faults = _replay(write(CSV))
    assert [publication.topic for _, publication in sent] == [
        "volt/vehicle/EV-1/telemetry", "volt/vehicle/EV-1/telemetry", "volt/vehicle/EV-2/telemetry",
    ]  # fmt: skip
    assert _payloads(sent) == [
        {"vehicleId": "EV-1", "timestamp": "2021-03-29T11:00:00Z", "soc": 87.5, "speed": 0, "chargingStatus": "007",
         "firmware": 4.2},
        {"vehicleId": "EV-1", "timestamp": "2021-03-29T11:00:10+00:00", "soc": 87.4, "chargingStatus": "idle, warm",
         "odometer": 12.5, "firmware": "v4"},
        {"vehicleId": "EV-2", "timestamp": "2021-03-29T12:00:20+01:00", "soc": "nan", "speed": 100.0},
    ]  # fmt: skip
    assert (tally.published.vehicle, tally.published.meter, tally.unpublishable, faults) == (3, 0, 0, [])


@pytest.mark.parametrize("packed", [False, True])
def test_same_reading_in_every_format(write, packed):
    """CSV and NDJSON, gzip or not, are told apart by content whatever the name, a byte order mark notwithstanding."""
    row = {"meterId": "M-1", "timestamp": "2021-03-29T11:00:00Z", "kwhConsumedAc": 0.25}
    pack = gzip.compress if packed else bytes
    contents = [
        b"\xef\xbb\xbfmeterId,timestamp,kwhConsumedAc\r\nM-1,2021-03-29T11:00:00Z,0.25\r\n",
        b"meterId;timestamp;kwhConsumedAc\nM-1;2021-03-29T11:00:00Z;0.25",
        b"\n" + json.dumps(row).encode() + b"\n\n",
    ]
    for content in contents:
        sent, tally, _ = _replay(write(pack(content), "odd.name"))
        assert _payloads(sent) == [row]
        assert sent[0][1].topic == "volt/meter/M-1/telemetry"
        assert tally.published.meter == 1


def test_lines_that_cannot_be_published(write):
    """Each is reported with its line number and its reason; the others go out."""
    content = (
        CSV.encode()
        + b'EV-3,\xff\xfe,1,,,,\nEV-4,one,two\nEV-5,"open,1,1,1,1,1\n'
        + b",2021-03-29T11:00:00Z,1,,,,\na/b,,1,,,,\n+,,1,,,,\nEV-6,,1,,,,\n"
    )
    sent, tally, faults = _replay(write(content))
    assert [fault.line for fault in faults] == [6, 7, 8, 9, 10, 11]
    assert tally.unpublishable == 6
    assert [fault.why.split()[0] for fault in faults] == ["not", "3", "not", "neither", "the", "the"]
    assert len(sent) == 4
    assert _payloads(sent)[-1] == {"vehicleId": "EV-6", "soc": 1}


def test_ndjson_lines_that_cannot_be_published(write):
    """A broken line, a line that is no object, one without id; values are passed on however odd."""
    lines = ['{"vehicleId":"EV-1","soc":NaN}', '{"vehicleId":', "[1]", '{"soc":1}', '{"vehicleId":7}', '{"meterId":"M","power":"x"}']  # fmt: skip # noqa: E501
    sent, tally, faults = _replay(write("\n".join(lines)))
    assert [fault.line for fault in faults] == [2, 3, 4, 5]
    assert [publication.payload for _, publication in sent] == [
        b'{"vehicleId":"EV-1","soc":NaN}', b'{"meterId":"M","power":"x"}',
    ]  # fmt: skip
    assert (tally.published.vehicle, tally.published.meter) == (1, 1)


def test_now(write):
    """The last reading is dated within the second before now, distances stay, and the shift is told."""
    sent, tally, _ = _replay(write(CSV), now=True)
    times = [dt.datetime.fromisoformat(payload["timestamp"]) for payload in _payloads(sent)]
    assert dt.timedelta() <= NOW - max(times) < dt.timedelta(seconds=1)
    assert [(time - times[0]).total_seconds() for time in times] == [0, 10, 20]
    assert tally.shift_s == int(tally.shift_s) > 0


def test_same_shift_again(write):
    """--shift with the number that --now told gives the same payloads, whatever the time is then."""
    path = write(CSV)
    first, tally, _ = _replay(path, now=True)
    again, _, _ = _replay(path, shift_s=tally.shift_s, at=NOW + dt.timedelta(days=3))
    assert [p for _, p in again] == [p for _, p in first]


def test_until(write):
    """--until dates the last reading."""
    sent, _, _ = _replay(write(CSV), until=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    assert _payloads(sent)[-1]["timestamp"] == "2026-01-01T01:00:00+01:00"


def test_times_that_are_none(write):
    """Missing and unreadable times go out as they are, shifted or not; a time without offset stays without one."""
    path = write(
        "vehicleId,createdAt,soc\nEV-1,,1\nEV-1,noon,2\nEV-1,2021-03-29T11:00:00,3\nEV-1,9999-12-31T23:59:59Z,4\n"
    )
    sent, _, _ = _replay(path, shift_s=3600.0)
    assert [payload.get("createdAt") for payload in _payloads(sent)] == [
        None, "noon", "2021-03-29T12:00:00", "9999-12-31T23:59:59+00:00",
    ]  # fmt: skip


def test_recorded_pace(write):
    """Readings go out as far apart as they were recorded, divided by the speed."""
    assert [at_s for at_s, _ in _replay(write(CSV), speed=1.0)[0]] == pytest.approx([0, 10, 20])
    assert [at_s for at_s, _ in _replay(write(CSV), speed=4.0)[0]] == pytest.approx([0, 2.5, 5])


def test_unsorted_file_at_recorded_pace(write):
    """The order of the file is kept; what is overdue goes out at once, nothing goes out early."""
    path = write(
        "vehicleId,timestamp,soc\nA,2021-03-29T11:00:10Z,1\nA,2021-03-29T11:00:00Z,2\nA,2021-03-29T11:00:30Z,3\n"
    )
    sent, _, _ = _replay(path, speed=1.0)
    assert [(at_s, payload["soc"]) for (at_s, _), payload in zip(sent, _payloads(sent), strict=True)] == [
        (pytest.approx(10), 1), (pytest.approx(10), 2), (pytest.approx(30), 3),
    ]  # fmt: skip


def test_arrays(write):
    """Up to N consecutive readings of one device go in one array; a lone one is no array; none is lost."""
    lines = ["vehicleId,timestamp,soc"] + [
        f"{device},2021-03-29T11:00:00Z,{index}" for index, device in enumerate("AAAAABBA")
    ]
    sent, tally, _ = _replay(write("\n".join(lines)), array=3)
    contents = _payloads(sent)
    assert [len(content) if isinstance(content, list) else 0 for content in contents] == [3, 2, 2, 0]
    assert tally.published.vehicle == 8


def test_arrays_of_long_readings(write):
    """An array stays well below the payload limit."""
    note = "x" * 50_000
    lines = ["vehicleId,timestamp,note"] + [f"A,2021-03-29T11:00:00Z,{note}"] * 10
    sent, _, _ = _replay(write("\n".join(lines)), array=100)
    assert all(len(publication.payload) < 250_000 for _, publication in sent)
    assert sum(publication.vehicle for _, publication in sent) == 10


def test_stopped(write):
    """A stop ends it after the message under way, with a tally."""
    sent, tally, _ = _replay(write(CSV), broker=_Broker(stop_after=2))
    assert len(sent) == tally.published.vehicle == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("device,time,soc\n1,2,3\n", "neither a column"),
        ('[{"vehicleId":"EV-1"}]', "JSON array"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "UTF-8"),
    ],
)
def test_no_recording(write, content, words):
    """What is no recording is refused with the reason and a hint."""
    with pytest.raises(errors.UsageError, match=words) as refused:
        _replay(write(content))
    assert refused.value.hint


def test_no_such_file(tmp_path):
    """A missing file is the user's to correct."""
    with pytest.raises(errors.UsageError, match="No such file"):
        _replay(tmp_path / "absent.csv")


def test_damaged_gzip(write):
    """A truncated file is an error after what could be read went out."""
    broker = _Broker()
    lines = "\n".join(f"EV-1,2021-03-29T11:00:00Z,{index * 7919 % 100}" for index in range(20_000))
    packed = gzip.compress(f"vehicleId,timestamp,soc\n{lines}".encode())
    with pytest.raises(errors.VoltdError, match="damaged"):
        _replay(write(packed[: len(packed) // 2]), broker=broker)
    assert broker.sent


def test_no_times_to_go_by(write):
    """Pace and --now need times; --fast does not."""
    path = write("vehicleId,soc\nEV-1,5\n")
    assert len(_replay(path)[0]) == 1
    with pytest.raises(errors.UsageError, match="no readable times"):
        _replay(path, speed=1.0)


@pytest.mark.parametrize("wrong", [{"now": True, "shift_s": 1.0}, {"speed": -1.0}, {"array": 0}, {"array": 10_001}])
def test_impossible_options(wrong):
    """Options that contradict each other are refused before anything is read."""
    with pytest.raises(errors.UsageError):
        ReplayOptions(MqttTarget(), pathlib.Path("any"), **wrong)


@pytest.mark.skipif(not TWIZY.exists(), reason="the recorded trips are not beside this checkout")
def test_recorded_trips():
    """All 55,475 rows of the recorded trips become publications, three of them with an impossible longitude."""
    sent, tally, _ = _replay(TWIZY, now=True)
    assert (tally.published.vehicle, tally.unpublishable) == (55_475, 0)
    payloads = _payloads(sent)
    assert sum(not -180 <= payload.get("longitude", 0) <= 180 for payload in payloads) == 3
    assert max(payload["timestamp"] for payload in payloads) <= NOW.isoformat()
    with gzip.open(TWIZY, "rt") as file:
        first = next(csv.DictReader(file))
    assert payloads[0]["soc"] == float(first["soc"])


def test_plan_without_a_need(write):
    """As fast as it goes and unshifted, the file is read once only."""
    assert prepare(ReplayOptions(MqttTarget(), write("no recording"), speed=0.0), NOW) == Plan(0.0)


def test_rows_are_streamed(write):
    """Reading is lazy: the first row is there before the second is looked at."""
    rows = recording.read(write(CSV))
    assert next(rows).device_id == "EV-1"
    rows.close()
