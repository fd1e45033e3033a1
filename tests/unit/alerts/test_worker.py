"""The thread of a channel: what is urgent first, whatever the database does, and everything once."""

import collections
import dataclasses
import datetime as dt

import psycopg
import pytest

from support import harness
from voltd import config, metrics
from voltd.alerts import channels, notifications, outbox, urgent, worker
from voltd.alerts.senders import sender

AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def _row(device="t", transition="fired"):
    return notifications.AlertTransition(transition, "critical", "m", "ingest_lag", "system", device, None, AT)


class Service:
    """A sender that keeps what it took, and refuses devices on demand."""

    def __init__(self):
        self.took = []
        self.tried = collections.Counter()
        self.down = set()
        self.permanent = False
        self.closed = False

    def send(self, what):
        devices = [row.device_id for row in what.rows]
        self.tried.update(devices)
        if self.down & set(devices):
            raise sender.ChannelError("down", permanent=self.permanent)
        self.took += devices

    def close(self):
        self.closed = True


class Outbox:
    """What waits in the database, and what was recorded of it."""

    def __init__(self):
        self.waits = []
        self.recorded = []

    def claim_next(self, *_args, fresh):  # noqa: ARG002 as the real one is called
        attempt = outbox.Attempt(notifications.Notification("m", self.waits.pop()), 1) if self.waits else None
        return outbox.Claimed((), attempt, 0.01)

    def record(self, _connection, _name, attempt, problem, *, dropped):
        self.recorded.append(([row.device_id for row in attempt.notification.rows], problem, dropped))


class Connection:
    closed = False

    def fileno(self):
        raise OSError

    def close(self):
        self.closed = True


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def rows(monkeypatch):
    """The outbox."""
    fake = Outbox()
    monkeypatch.setattr(outbox, "claim_next", fake.claim_next)
    monkeypatch.setattr(outbox, "record", fake.record)
    return fake


@pytest.fixture
def channel(service):
    settings = config.Settings(alerts={"mqtt": False, "channels": {"hook": {"url": "json://h", "repeat_s": 0}}})
    return dataclasses.replace(channels.make(settings)[0], sender=service)


@pytest.fixture
def start(channel):
    """A function that starts the worker with this way to connect."""
    made = []

    def begin(connect=Connection):
        one = worker.Worker(channel, connect, metrics.Metrics(), urgent.UrgentQueue(), lease_s=30.0)
        made.append(one)
        one.lead(leads=True)
        one.thread.start()
        return one

    yield begin
    for one in made:
        one.stop()
        one.thread.join(5.0)
        assert not one.thread.is_alive()


def _away():
    raise psycopg.OperationalError("away")


def test_while_the_database_cannot_be_reached(start, service):
    begun = start(_away)
    begun.send_now([_row()])
    harness.wait_for(lambda: service.took == ["t"], 5, "what is urgent")


def test_an_urgent_one_that_fails_holds_nothing_up(start, service, rows):
    """The outbox goes on in its pauses, and the urgent one is sent when the service takes it."""
    service.down = {"t"}
    begun = start()
    begun.send_now([_row()])
    harness.wait_for(lambda: service.tried["t"], 5, "the first attempt")
    rows.waits.append([_row("V1")])
    begun.wake()
    harness.wait_for(lambda: rows.recorded == [(["V1"], None, False)], 5, "the row of the outbox")
    service.down = set()
    harness.wait_for(lambda: service.took == ["V1", "t"], 5, "the urgent one")


def test_the_outbox_was_first(start, service, rows):
    """The same transition stands in the outbox: once it was sent from there, memory does not send it."""
    service.down = {"t"}
    begun = start()
    begun.send_now([_row(), _row("other")])
    harness.wait_for(lambda: service.tried["t"], 5, "the first attempt")
    service.down = set()
    rows.waits.append([_row()])
    begun.wake()
    harness.wait_for(lambda: "other" in service.took, 5, "the rest of what is urgent")
    assert sorted(service.took) == ["other", "t"]


def test_memory_was_first(start, service, rows):
    """The outbox records it as sent without sending it."""
    begun = start()
    begun.send_now([_row()])
    harness.wait_for(lambda: service.took, 5, "what is urgent")
    rows.waits.append([_row()])
    begun.wake()
    harness.wait_for(lambda: rows.recorded == [(["t"], None, False)], 5, "the record")
    assert service.took == ["t"]


@pytest.mark.usefixtures("rows")
def test_refused_for_good(start, service):
    """Memory gives it up at once: the outbox has it when the database is back, with attempts of its own."""
    service.down, service.permanent = {"t"}, True
    begun = start()
    begun.send_now([_row()])
    harness.wait_for(lambda: service.tried["t"], 5, "the attempt")
    begun.send_now([_row("later")])
    harness.wait_for(lambda: service.took == ["later"], 5, "the next one")
    assert service.tried["t"] == 1


def test_another_daemon_leads(start, service, rows):
    """The outbox is left alone."""
    begun = start()
    begun.lead(leads=False)
    begun.send_now([_row()])
    harness.wait_for(lambda: service.took == ["t"], 5, "what is urgent")
    rows.waits.append([_row("V1")])
    begun.wake()
    begun.send_now([_row("later")])
    harness.wait_for(lambda: service.took == ["t", "later"], 5, "the turn after")
    assert rows.waits


def test_stop(start, service, rows):
    """The service's connection is closed, and what was just sent is recorded."""
    begun = start()
    rows.waits.append([_row("V1")])
    begun.wake()
    harness.wait_for(lambda: service.took, 5, "the row")
    begun.stop()
    begun.thread.join(5.0)
    assert service.closed
    assert rows.recorded == [(["V1"], None, False)]
