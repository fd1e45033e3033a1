"""The registry of faults, and those of the daemon itself and of what devices send.

A fault is a function of stage, oracle and a duration: it injects, waits and recovers, while the publisher continues.
On return the stage can become healthy by itself; the oracle's check waits for that. ``faults.everything`` names the
files of the others.
"""

import contextlib
import dataclasses
import datetime as dt
import signal
import time
from collections.abc import Callable

from faults.publisher import DAY
from support import harness

REGISTRY = {}


@dataclasses.dataclass(frozen=True)
class Fault:
    """A fault by its name; its docstring is its claim."""

    name: str
    inject: Callable


def fault(function):
    """Registers a fault under its name with spaces."""
    name = function.__name__.replace("_", " ")
    REGISTRY[name] = Fault(name, function)
    return function


def hold(seconds):
    """Waits; how long a fault lasts is part of the fault."""
    time.sleep(seconds)


def exits(daemon, within_s=45.0):
    """Waits for the end of a daemon; its exit code."""
    harness.wait_for(lambda: daemon.process.poll() is not None, within_s, "the daemon's exit")
    return daemon.process.returncode


@fault
def daemon_killed(stage, oracle, hold_s):
    """Kill -9 in the stream: unacked messages are redelivered, committed ones are duplicates."""
    oracle.publisher.await_acked(200)
    stage.daemon.kill()
    hold(hold_s / 2)
    stage.start()


@fault
def daemon_killed_thrice(stage, oracle, hold_s):
    """Kill -9 again while the redelivered messages of the first are in flight."""
    for _ in range(3):
        oracle.publisher.await_acked(100)
        stage.daemon.kill()
        stage.start(wait=False)
        hold(hold_s / 6)
    harness.wait_for(lambda: stage.daemon.status().get("status") == "online", what="the daemon")


@fault
def second_daemon_with_the_client_id(stage, oracle, hold_s):
    """It finds the other one, names it and exits with 78, each time; the other is not disturbed."""
    second = stage.another_daemon(mqtt__client_id=f"voltd-{stage.daemon.name}")
    second.env["VOLTD_SPOOL__DIRECTORY"] += "-second"
    _turned_away(second, stage, oracle, hold_s)


@fault
def second_daemon_with_the_instance(stage, oracle, hold_s):
    """The same service started twice on one machine: likewise, although they share the spool, too."""
    second = stage.another_daemon()
    second.env["VOLTD_INSTANCE"] = stage.daemon.name
    _turned_away(second, stage, oracle, hold_s)


def _turned_away(second, stage, oracle, hold_s):
    oracle.publisher.await_acked(100)
    connected, first = stage.connected(), stage.daemon.process
    ends = time.monotonic() + hold_s
    for _ in range(5):
        second.start(wait=False)
        assert exits(second) == 78
        if time.monotonic() > ends:
            break
    assert f", pid {first.pid}, started " in second.log()
    assert first.poll() is None
    assert stage.connected() == connected


@fault
def daemon_stopped_and_replaced(stage, oracle, hold_s):
    """It does not answer for a while and another one takes its place: one of the two continues, and nothing is lost."""
    oracle.publisher.await_acked(100)
    second = stage.another_daemon(mqtt__client_id=f"voltd-{stage.daemon.name}")
    second.env["VOLTD_SPOOL__DIRECTORY"] += "-second"
    both = (stage.daemon, second)
    connected = second.events("broker.connected")
    stage.daemon.process.send_signal(signal.SIGSTOP)
    try:
        second.start(wait=False)
        harness.wait_for(lambda: second.events("broker.connected") > connected, 30, "another one taking its place")
        hold(hold_s / 4)
    finally:
        stage.daemon.process.send_signal(signal.SIGCONT)
    harness.wait_for(lambda: any(one.process.poll() is not None for one in both), 30, "the end of one of them")
    hold(hold_s / 4)
    assert sorted(one.process.poll() or 0 for one in both) == [0, 78]
    if second.process.poll() is None:
        assert second.terminate() == 0
        stage.start()
    else:
        stage.forget_start()  # both wrote


@fault
def receive_maximum_of_one(stage, oracle, hold_s):
    """The smallest window: one message at a time, all of them in the end."""
    before = stage.restart(mqtt__receive_maximum=1)
    oracle.publisher.await_acked(50)
    hold(hold_s / 2)
    stage.restart(**before)


@fault
def device_clock_a_day_ahead(stage, oracle, hold_s):
    """Dead letters for the future, and the stream continues."""
    with clock(oracle, DAY + dt.timedelta(hours=6)):
        oracle.publisher.await_acked(100)
        hold(hold_s / 4)
    harness.wait_for(
        lambda: stage.daemon.status()["messages_dead_lettered_total"].get("in_future", 0) > 0, what="dead letters"
    )


@fault
def device_clock_a_day_behind(stage, oracle, hold_s):  # noqa: ARG001 all faults have one signature
    """Stored: a device that was offline sends old readings."""
    with clock(oracle, -DAY):
        oracle.publisher.await_acked(100)
        hold(hold_s / 4)


@fault
def readings_published_twice(stage, oracle, hold_s):  # noqa: ARG001 all faults have one signature
    """A device that missed the broker's ack publishes again: duplicates, stored once."""
    oracle.publisher.await_acked(300)
    oracle.publisher.publish_again(200)
    hold(hold_s / 4)


@contextlib.contextmanager
def clock(oracle, offset):
    """The devices' clocks are off by so much meanwhile."""
    oracle.publisher.offset = offset
    try:
        yield
    finally:
        oracle.publisher.offset = dt.timedelta(0)
