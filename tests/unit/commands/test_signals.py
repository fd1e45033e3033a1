"""Ctrl-C and SIGTERM in the commands that publish."""

import signal
import sys

import pytest

from voltd.commands import publishing


def _wait_interrupted_at(step):
    """Waits for the stop; SIGTERM comes at that step of the wait. Returns the count of steps, and whether it stopped.

    A step that the wait did not reach counts as stopped.
    """
    steps = 0

    def interrupt(_frame, event, _argument):
        nonlocal steps
        if event == "opcode":
            if steps == step:
                signal.raise_signal(signal.SIGTERM)
            steps += 1
        return interrupt

    def everything(frame, *_):
        frame.f_trace_opcodes = True
        return interrupt

    with publishing.signals() as stop:
        tracer = sys.gettrace()
        sys.settrace(everything)
        try:
            stop.wait(0.001)
        finally:
            sys.settrace(tracer)
        return steps, step is None or step >= steps or stop.wait(60)


def test_a_signal_in_the_midst_of_a_wait():
    """Whatever step of the wait it comes between, the main thread never waits for itself, and the event is set."""

    def hang(*_):
        raise AssertionError("the main thread waits for a lock of its own")

    alarm = signal.signal(signal.SIGALRM, hang)
    signal.setitimer(signal.ITIMER_REAL, 60)
    try:
        steps, _ = _wait_interrupted_at(None)
        assert steps > 20
        for step in range(steps):
            assert _wait_interrupted_at(step)[1], step
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, alarm)


def test_a_second_signal_ends_it_at_once():
    """As Ctrl-C does without voltd; afterwards the handlers are as before."""
    before = signal.getsignal(signal.SIGTERM)
    with publishing.signals() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.wait(60)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
