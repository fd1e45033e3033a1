"""Faults of clocks that step: the devices', and the daemon's own (its host's stays alone: ``shifted_clock``).

The publisher dates its readings hours before now, so a device may step by some hours either way and is taken; a host
that is behind by more than that refuses all of them, unless it notices.
"""

import contextlib
import datetime as dt

from faults.publisher import DAY
from faults.registry import clock, fault, hold
from support import harness, shifted_clock

_HOUR = dt.timedelta(hours=1)
_BEHIND_S = -8 * 3600.0  # further than the publisher's readings are late


@fault
def clock_steps_of_devices(stage, oracle, hold_s):  # noqa: ARG001 all faults have one signature
    """Ahead, back, days back and right again: what can be true is stored as dated, each once."""
    for offset in (5 * _HOUR, -3 * DAY, 5.5 * _HOUR, -_HOUR):
        with clock(oracle, offset):
            oracle.publisher.await_acked(100)
            hold(hold_s / 8)


@fault
def clock_steps_of_devices_too_far(stage, oracle, hold_s):
    """A day ahead and back again, twice: dead letters for the future, and the stream continues."""
    for _ in range(2):
        with clock(oracle, DAY + 6 * _HOUR):
            oracle.publisher.await_acked(100)
            hold(hold_s / 8)
        oracle.publisher.await_acked(100)
    harness.wait_for(
        lambda: stage.daemon.status()["messages_dead_lettered_total"].get("in_future", 0) > 0, what="dead letters"
    )


@fault
def clock_steps_of_the_host(stage, oracle, hold_s):
    """An hour ahead, an hour back, and right again: nothing is refused."""
    with _shifted(stage) as host:
        for off_s in (3600.0, -3600.0, 0.0):
            oracle.publisher.await_acked(100)
            host.set(off_s)
            hold(hold_s / 4)


@fault
def host_far_behind(stage, oracle, hold_s):  # noqa: ARG001 likewise
    """Everything seems to be in the future: it waits, unacked, until the clock is right."""
    with _shifted(stage) as host:
        host.set(_BEHIND_S)
        harness.wait_for(lambda: stage.daemon.status().get("clock_hold"), what="the hold")
        hold(hold_s / 2)
        host.set(0.0)
        harness.wait_for(lambda: not stage.daemon.status().get("clock_hold"), what="its end")


@fault
def daemon_killed_while_the_host_is_behind(stage, oracle, hold_s):  # noqa: ARG001 all faults have one signature
    """And started again with the same clock: it still waits, at the broker."""
    with _shifted(stage) as host:
        host.set(_BEHIND_S)
        harness.wait_for(lambda: stage.daemon.status().get("clock_hold"), what="the hold")
        stage.daemon.kill()
        stage.start(wait=False)
        harness.wait_for(lambda: stage.daemon.status().get("clock_hold"), what="the hold")
        hold(hold_s / 2)


@contextlib.contextmanager
def _shifted(stage):
    """The daemon uses a shifted clock meanwhile."""
    host = shifted_clock.Clock(stage.folder / "clock")
    usual, stage.daemon.program = stage.daemon.program, host.program
    try:
        stage.restart()
        yield host
        stage.daemon.program = usual
        stage.restart()
    finally:
        stage.daemon.program = usual
