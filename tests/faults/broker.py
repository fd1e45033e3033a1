"""Faults of the broker and of the way to it."""

import time

from faults.registry import fault, hold
from support import harness


@fault
def broker_stopped(stage, oracle, hold_s):
    """Shut down cleanly and started again: it has saved everything, the daemon reconnects by itself."""
    oracle.publisher.await_acked(100)
    connected = stage.connected()
    stage.broker.stop()
    hold(hold_s / 2)
    stage.broker.start()
    harness.wait_for(lambda: stage.connected() > connected, 60, "reconnecting")


@fault
def broker_killed_with_persistence(stage, oracle, hold_s):
    """Kill -9 with messages that only the broker has: those it had saved are redelivered; no ack of the old connection.

    Mosquitto acks a publisher before it saves; what it had not saved yet would be its own loss. So the kill comes
    when it has saved, with the database locked, so that the messages are still unacked.
    """
    oracle.publisher.await_acked(100)
    connected = stage.connected()
    with stage.locked_tables():
        oracle.publisher.await_acked(200)
        oracle.publisher.settle()
        stage.await_saved()
        stage.broker.kill()
        oracle.publisher.go()
        hold(hold_s / 4)
        stage.broker.start()
        oracle.broker_repeats = True
        harness.wait_for(lambda: stage.connected() > connected, 60, "reconnecting")


@fault
def broker_killed_without_persistence(stage, oracle, hold_s):
    """What the daemon had taken is stored though its acks have nowhere to go; the loss of the session is reported.

    Without persistence the broker's own memory is gone: nothing is claimed for what only the broker had.
    """
    stage.broker_with("persistence false")
    _restart_broker_in_peace(stage, oracle)
    lost = _sessions_lost(stage)
    with stage.locked_tables():
        before = oracle.publisher.acked
        oracle.publisher.go()
        oracle.publisher.await_acked(200)
        oracle.publisher.settle()
        taken = oracle.publisher.acked - before
        harness.wait_for(lambda: stage.daemon.status()["in_flight"] == taken, what="the daemon having taken all")
        stage.broker.kill()
    stage.broker.start()
    harness.wait_for(lambda: _sessions_lost(stage) > lost, 60, "the loss of the session being reported")
    oracle.publisher.go()
    oracle.publisher.await_acked(200)
    stage.broker.kill()
    oracle.publisher.broker_forgot()
    stage.broker_with()
    stage.wipe_broker()
    hold(hold_s / 4)
    stage.broker.start()
    harness.wait_for(lambda: _sessions_lost(stage) > lost + 1, 60, "the loss of the session being reported again")
    assert stage.daemon.status()["session_lost_total"] > 0
    oracle.publisher.go()


@fault
def session_lost(stage, oracle, hold_s):
    """The broker has forgotten the session while the daemon was away: counted and logged."""
    lost = _sessions_lost(stage)
    oracle.publisher.settle()
    stage.at_rest()
    assert stage.daemon.terminate() == 0
    stage.forget_session()
    stage.start()
    assert stage.daemon.status()["session_lost_total"] == 1
    assert _sessions_lost(stage) == lost + 1
    oracle.publisher.go()
    hold(hold_s / 4)


@fault
def broker_connection_cut(stage, oracle, hold_s):
    """The connection breaks repeatedly: unacked messages are redelivered, acks of dead connections are dropped."""
    for _ in range(4):
        oracle.publisher.await_acked(100)
        connected = stage.connected()
        stage.to_broker.cut()
        harness.wait_for(lambda: stage.connected() > connected, 60, "reconnecting")  # noqa: B023
    hold(hold_s / 8)


@fault
def broker_in_a_black_hole(stage, oracle, hold_s):
    """Nothing passes and nothing is closed: closed after the keepalive, and a new connection made."""
    connected = stage.connected()
    dropped = stage.daemon.events("broker.disconnected")
    ends = time.monotonic() + hold_s
    stage.to_broker.fall_silent()
    oracle.publisher.await_acked(100)
    harness.wait_for(lambda: stage.daemon.events("broker.disconnected") > dropped, 60, "giving up")
    hold(max(0.0, ends - time.monotonic()))
    stage.to_broker.pass_on()
    harness.wait_for(lambda: stage.connected() > connected, 60, "reconnecting")


def _restart_broker_in_peace(stage, oracle):
    """With nothing in flight, so that a forgotten session costs nothing."""
    oracle.publisher.settle()
    stage.at_rest()
    lost = _sessions_lost(stage)
    stage.broker.stop()
    stage.broker.start()
    harness.wait_for(lambda: _sessions_lost(stage) > lost, 60, "the loss of the session being reported")


def _sessions_lost(stage):
    return stage.daemon.events("session.lost")
