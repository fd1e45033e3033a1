"""Where a recording comes from: files, pipes, gzip, and what is damaged."""

import gzip
import os
import threading
from typing import Any

import pytest

from support.replaying import CSV, NOW, Broker, replay
from voltd import errors
from voltd.simulate.publish.target import MqttTarget
from voltd.simulate.replay import recording
from voltd.simulate.replay.plan import ReplayOptions, ReplayPlan, prepare
from voltd.simulate.replay.run import Replay
from voltd.simulate.replay.source import Source


def test_no_such_file(tmp_path):
    """A missing file is the user's to correct."""
    with pytest.raises(errors.UsageError, match="No such file"):
        replay(tmp_path / "absent.csv")


def test_damaged_gzip(write):
    """A truncated file is an error after what could be read went out."""
    broker = Broker()
    lines = "\n".join(f"EV-1,2021-03-29T11:00:00Z,{index * 7919 % 100}" for index in range(20_000))
    packed = gzip.compress(f"vehicleId,timestamp,soc\n{lines}".encode())
    with pytest.raises(errors.VoltdError, match="damaged"):
        replay(write(packed[: len(packed) // 2]), broker=broker)
    assert broker.sent


@pytest.fixture
def pipe(tmp_path):
    """A function that makes a named pipe through which content comes once."""
    writers = []

    def make(content):
        path = tmp_path / "pipe"
        os.mkfifo(path)
        writers.append(threading.Thread(target=path.write_bytes, args=[content]))
        writers[-1].start()
        return path

    yield make
    for writer in writers:
        writer.join(10)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_pipe(pipe, pack):
    """A pipe is read once and published as it comes, gzip or not."""
    sent, tally, _ = replay(pipe(pack(CSV.encode())))
    assert (len(sent), tally.complete) == (3, True)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_buffered_pipe(pipe, pack):
    """A pipe that was copied can be read again and again: for its times, and for its rows."""
    path = pipe(pack(CSV.encode()))
    options = ReplayOptions(MqttTarget(), path, now=True)
    broker = Broker()
    with Source(path, broker.stop) as source:
        source.buffer()
        plan = prepare(options, NOW, source)
        Replay(options, plan, broker, stop=broker.stop, source=source, monotonic=lambda: broker.now_s).run()
    assert [round(at_s) for at_s, _ in broker.sent] == [0, 10, 20]


def test_stopped_while_a_pipe_is_silent(tmp_path):
    """Each row of a pipe goes out as it comes; a stop ends the wait for the next, and what came before counts."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    broker = Broker(stop_after=3)
    descriptor = os.open(path, os.O_RDWR)  # a writer that never leaves
    try:
        os.write(descriptor, CSV.encode())
        options = ReplayOptions(MqttTarget(), path, speed=0.0)
        with Source(path, broker.stop) as source:
            tally = Replay(options, ReplayPlan(0.0), broker, stop=broker.stop, source=source).run()
    finally:
        os.close(descriptor)
    assert (tally.published.vehicle, tally.complete) == (3, False)


def test_rows_are_streamed(write):
    """Reading is lazy: the first row is there before the second is looked at."""
    rows: Any = recording.read(write(CSV))
    assert next(rows).device_id == "EV-1"
    rows.close()
