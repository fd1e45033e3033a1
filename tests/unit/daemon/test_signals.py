"""What the main thread learns from signals."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from voltd.daemon import signals


@pytest.fixture
def made():
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    made = signals.Signals()
    made.listen()
    yield made
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def test_a_signal_in_the_midst_of_anything(made):
    """Whatever step of waiting and asking it comes between, the main thread never waits for itself."""

    def hang(*_):
        raise AssertionError("the main thread waits for a lock of its own")

    def interrupt(_frame, event, _argument):
        if event == "opcode":
            signal.raise_signal(signal.SIGHUP)
        return interrupt

    def everything(frame, *_):
        frame.f_trace_opcodes = True
        return interrupt

    alarm = signal.signal(signal.SIGALRM, hang)
    signal.setitimer(signal.ITIMER_REAL, 10)
    tracer = sys.gettrace()
    sys.settrace(everything)
    try:
        for _ in range(3):
            made.wait(0.01)
            made.reload_wanted()
    finally:
        sys.settrace(tracer)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, alarm)
    signal.raise_signal(signal.SIGHUP)
    assert made.reload_wanted()
    assert not made.reload_wanted()
    assert not made.stopping
    signal.raise_signal(signal.SIGTERM)
    assert made.wait(60)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_woken_while_waiting(made, number):
    """The wait ends at once."""
    threading.Timer(0.1, os.kill, (os.getpid(), number)).start()
    started = time.monotonic()
    assert made.wait(60)
    assert time.monotonic() - started < 10


def test_subscribed_while_waiting(made):
    """The wait ends at once, and a report is due, once."""
    threading.Timer(0.1, made.subscribed).start()
    started = time.monotonic()
    assert not made.wait(60)
    assert time.monotonic() - started < 10
    assert made.report_wanted()
    assert not made.report_wanted()


def test_a_second_signal_leaves_at_once():
    """Whoever is in a hurry need not wait for what hangs."""
    program = (
        "import os, signal, time; from voltd.daemon import signals; made = signals.Signals(); made.listen()\n"
        "os.kill(os.getpid(), signal.SIGTERM); assert made.wait(60)\n"
        "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=30, check=False).returncode == 1
