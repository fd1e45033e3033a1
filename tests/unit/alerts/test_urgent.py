"""What a channel is notified of from memory: in order, until it is sent, withdrawn or given up."""

import datetime as dt

import pytest

from voltd.alerts import notifications, urgent

AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def _row(transition="fired", device="t"):
    return notifications.AlertTransition(transition, "critical", "m", "ingest_lag", "system", device, None, AT)


@pytest.fixture
def queue():
    return urgent.UrgentQueue()


def test_what_comes_while_a_notification_waits(queue):
    """It is a notification of its own, behind the first, and every attempt carries the same id."""
    queue.put([_row()])
    first = queue.next()
    queue.put([_row("resolved")])
    first.failed()
    assert queue.next() is first
    queue.sent(first)
    second = queue.next()
    assert [row.transition for row in second.notification.rows] == ["resolved"]
    assert second.notification.message_id != first.notification.message_id


def test_pauses_grow(queue):
    queue.put([_row()])
    pending = queue.next()
    due = []
    for _ in range(6):
        pending.failed()
        due.append(pending.due_at)
    assert due == sorted(due)
    assert pending.attempts == 6


def test_withdrawn_during_an_attempt(queue):
    """Nothing more is sent, and what the channel took all the same is known to the outbox."""
    queue.put([_row()])
    pending = queue.next()
    queue.put([_row("resolved")])
    queue.withdraw()
    queue.sent(pending)
    assert queue.next() is None
    assert queue.sent_at(urgent.key(_row())) is not None
    assert queue.sent_at(urgent.key(_row("resolved"))) is None


def test_sent_from_the_outbox(queue):
    """It is taken out of what is pending and of what waits; a notification without rows is none."""
    queue.put([_row(), _row(device="other")])
    pending = queue.next()
    queue.put([_row("resolved"), _row("resolved", device="other")])
    queue.sent_otherwise([_row(), _row("resolved")])
    assert [row.device_id for row in queue.next().notification.rows] == ["other"]
    assert queue.next() is pending
    queue.sent_otherwise([_row(device="other")])
    assert [(row.transition, row.device_id) for row in queue.next().notification.rows] == [("resolved", "other")]


def test_other_settings_of_a_channel_that_failed(queue):
    """What it still wants is due at once, in the same order; a late result of the old attempt changes nothing."""
    queue.put([_row(), _row(device="unwanted")])
    old = queue.next()
    old.failed()
    queue.put([_row("resolved")])
    queue.retry(lambda row: row.device_id != "unwanted")
    queue.drop(old)
    fresh = queue.next()
    assert [(row.transition, row.device_id) for row in fresh.notification.rows] == [("fired", "t"), ("resolved", "t")]
    assert fresh.due_at == 0.0


def test_more_than_memory_holds(queue):
    """The oldest are forgotten: the outbox has them once the database is back."""
    queue.put([_row(device=str(number)) for number in range(500)])
    assert [row.device_id for row in queue.next().notification.rows] == [str(number) for number in range(300, 500)]
