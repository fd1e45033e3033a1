"""A recording replayed: when its rows go out, and under which time."""

import datetime as dt
from typing import Any

import pytest

from support.replaying import CSV, NOW, Broker, payloads, replay
from voltd import errors
from voltd.simulate.publish.target import MqttTarget
from voltd.simulate.replay import cells
from voltd.simulate.replay.plan import ReplayOptions, ReplayPlan, prepare


def test_now(write):
    """The last reading is dated within the second before now, distances stay, and the shift is printed."""
    sent, tally, _ = replay(write(CSV), now=True)
    times = [dt.datetime.fromisoformat(payload["timestamp"]) for payload in payloads(sent)]
    assert dt.timedelta() <= NOW - max(times) < dt.timedelta(seconds=1)
    assert [(time - times[0]).total_seconds() for time in times] == [0, 10, 20]
    assert tally.shift_s == int(tally.shift_s) > 0


def test_same_shift_again(write):
    """--shift with the number that --now printed gives the same payloads, whatever the time is then."""
    path = write(CSV)
    first, tally, _ = replay(path, now=True)
    again, _, _ = replay(path, shift_s=tally.shift_s, at=NOW + dt.timedelta(days=3))
    assert [p for _, p in again] == [p for _, p in first]


def test_until(write):
    """--until dates the last reading."""
    sent, _, _ = replay(write(CSV), until=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    assert payloads(sent)[-1]["timestamp"] == "2026-01-01T01:00:00+01:00"


def test_times_that_are_none(write):
    """Missing and unreadable times go out as they are, shifted or not; a time without offset stays without one."""
    path = write(
        "vehicleId,createdAt,soc\nEV-1,,1\nEV-1,noon,2\nEV-1,2021-03-29T11:00:00,3\nEV-1,9999-12-31T23:59:59Z,4\n"
    )
    sent, _, _ = replay(path, shift_s=3600.0)
    assert [payload.get("createdAt") for payload in payloads(sent)] == [
        None, "noon", "2021-03-29T12:00:00", "9999-12-31T23:59:59+00:00",
    ]  # fmt: skip


def test_recorded_pace(write):
    """Readings go out as far apart as they were recorded, divided by the speed."""
    assert [at_s for at_s, _ in replay(write(CSV), speed=1.0)[0]] == pytest.approx([0, 10, 20])
    assert [at_s for at_s, _ in replay(write(CSV), speed=4.0)[0]] == pytest.approx([0, 2.5, 5])


def test_unsorted_file_at_recorded_pace(write):
    """The order of the file is kept; what is overdue goes out at once, nothing goes out early."""
    path = write(
        "vehicleId,timestamp,soc\nA,2021-03-29T11:00:10Z,1\nA,2021-03-29T11:00:00Z,2\nA,2021-03-29T11:00:30Z,3\n"
    )
    sent, _, _ = replay(path, speed=1.0)
    assert [(at_s, payload["soc"]) for (at_s, _), payload in zip(sent, payloads(sent), strict=True)] == [
        (pytest.approx(10), 1), (pytest.approx(10), 2), (pytest.approx(30), 3),
    ]  # fmt: skip


def test_no_times_to_go_by(write):
    """Pace and --now need times; --fast does not."""
    path = write("vehicleId,soc\nEV-1,5\n")
    assert len(replay(path)[0]) == 1
    with pytest.raises(errors.UsageError, match="no readable times"):
        replay(path, speed=1.0)


def test_from_now(write):
    """The first reading is dated now and each later one when it is published, wherever the file begins."""
    broker = Broker()
    sent, tally, _ = replay(write(CSV), broker=broker, from_now=True, speed=1.0)
    began = NOW.replace(microsecond=0)
    for (at_s, _), payload in zip(sent, payloads(sent), strict=True):
        assert dt.datetime.fromisoformat(payload["timestamp"]) == began + dt.timedelta(seconds=round(at_s))
    assert tally.complete


ODD = (
    "vehicleId,timestamp,soc\nA,2021-03-29T11:00:00Z,1\nA,2032-01-01T00:00:00Z,2\nA,1970-01-01T00:00:00Z,3\n"
    "A,2021-03-29T11:00:30Z,4\n"
)


@pytest.mark.parametrize(("how", "at"), [("now", 3), ("from_now", 0)])
def test_clocks_that_were_wrong(write, how, at):
    """Rows dated 2032 and 1970 decide neither the shift nor the pace; they are published without waiting, and named."""
    path = write(ODD)
    options: dict[str, Any] = {how: True}
    sent, _, _ = replay(path, speed=1.0, **options)
    assert [(round(at_s), payload["soc"]) for (at_s, _), payload in zip(sent, payloads(sent), strict=True)] == [
        (0, 1), (0, 2), (0, 3), (30, 4),
    ]  # fmt: skip
    assert payloads(sent)[at]["timestamp"] == "2026-05-01T08:00:00+00:00"
    plan = prepare(ReplayOptions(MqttTarget(), path, now=True), NOW)
    assert sorted(outlier.line for outlier in plan.outliers) == [3, 4]
    assert (plan.readings, plan.lasts_s(ReplayOptions(MqttTarget(), path, speed=2.0))) == (4, 15.0)


def test_times_without_offset_that_are_moved(write):
    """With --now they get one, so that the readings can be stored; the same again is --shift with --zone UTC."""
    path = write("vehicleId,timestamp,soc\nA,2026-03-29 11:00:00,1\nA,2026-03-29 11:00:30,2\n")
    sent, tally, _ = replay(path, now=True)
    assert [payload["timestamp"] for payload in payloads(sent)] == [
        "2026-05-01T07:59:30+00:00", "2026-05-01T08:00:00+00:00",
    ]  # fmt: skip
    again, _, _ = replay(path, shift_s=tally.shift_s, zone=dt.UTC)
    assert [p for _, p in again] == [p for _, p in sent]


def test_zone(write):
    """--zone says which clock it was: the offset of that day, with a shift or without one; others keep theirs."""
    path = write(
        "vehicleId,timestamp,soc\nA,2026-10-01 12:00:00,1\nA,2026-12-01T12:00:00,2\nA,2026-10-01T12:00:00Z,3\n"
    )
    berlin = cells.zone("Europe/Berlin")
    sent, _, _ = replay(path, zone=berlin)
    assert [payload["timestamp"] for payload in payloads(sent)] == [
        "2026-10-01T12:00:00+02:00", "2026-12-01T12:00:00+01:00", "2026-10-01T12:00:00Z",
    ]  # fmt: skip
    shifted, _, _ = replay(path, zone=berlin, shift_s=30 * 86400.0)
    assert payloads(shifted)[0]["timestamp"] == "2026-10-31T11:00:00+01:00"  # 720 h later, on another clock
    assert payloads(replay(path, zone=cells.zone("+05:30"))[0])[0]["timestamp"] == "2026-10-01T12:00:00+05:30"


@pytest.mark.parametrize("name", ["Europe/Berlim", "../etc/passwd", "", "+25:00"])
def test_no_such_zone(name):
    """A zone that nobody knows is a usage error."""
    with pytest.raises(errors.UsageError, match="zone"):
        cells.zone(name)


def test_epoch_times(write):
    """Seconds and milliseconds pace a replay, are shifted, and stay the numbers they are."""
    path = write("vehicleId,timestamp,soc\nA,1617012000,1\nA,1617012010500,2\nA,1617012020.25,3\n")
    sent, _, _ = replay(path, speed=1.0)
    assert [at_s for at_s, _ in sent] == pytest.approx([0, 10.5, 20.25])
    assert [payload["timestamp"] for payload in payloads(sent)] == [1617012000, 1617012010500, 1617012020.25]
    shifted, _, _ = replay(path, shift_s=60.0)
    assert [payload["timestamp"] for payload in payloads(shifted)] == [
        1617012060,
        1617012070500,
        1617012080.25,
    ]


def test_plan_without_a_need(write):
    """As fast as it goes and unshifted, the file is read once only."""
    assert prepare(ReplayOptions(MqttTarget(), write("no recording"), speed=0.0), NOW) == ReplayPlan(0.0)


@pytest.mark.parametrize(
    ("cell", "at"),
    [
        ("1617012000", "2021-03-29T10:00:00+00:00"), ("1617012000000", "2021-03-29T10:00:00+00:00"),
        ("5", "1970-01-01T00:00:05+00:00"), ("20261001", "2026-10-01T00:00:00"),
        ("1e15", None), ("-9e10", None), ("noon", None),
    ],
)  # fmt: skip
def test_digits(cell, at):
    """Seconds and milliseconds are distinguished by size; eight digits in a cell are a date; no more is guessed."""
    found = cells.time("timestamp", cell, cells.Reading()).at
    assert (found and found.isoformat()) == at
