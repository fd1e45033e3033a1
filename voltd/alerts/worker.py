"""The thread of one channel: sends what is urgent from memory, then what waits in the outbox, and records the result.

Started by ``deliver``. It has a connection of its own, opened only while this daemon leads, and outlasts a database
that is away. A channel that is slow or down delays its own notifications only.
"""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg
import structlog

from voltd import backoff, metrics
from voltd.alerts import channels, notifications, outbox, pacing, urgent
from voltd.alerts.senders import sender
from voltd.database import connections

_log = structlog.get_logger()

_LOOK_S = 5.0  # unless woken: silences end, groups are complete, an hour has passed
_REPEATS_EVERY_S = 30.0
_SHOW_EVERY_S = 60.0
# A service may refuse anything for a moment, or an admin may be at work on it: a message that it refuses is dropped, so
# that later ones are sent, but only after so many attempts, two minutes. A channel that shows a state hears it again.
_REFUSALS = 8
_DATABASE_FIRST_S, _DATABASE_LONGEST_S = 0.5, 10.0


class _Result(NamedTuple):
    """What came of an attempt: problem is None if the channel took the message; dropped: it is not to be sent again."""

    problem: str | None
    dropped: bool


class Worker:
    """Notifies one channel; ``wake``, ``send_now``, ``lead`` and ``stop`` are for other threads and do not block.

    Args:
        channel: where it sends.
        connect: opens a connection in autocommit.
        counters: what it counts.
        queue: what is urgent.
        lease_s: see ``pacing.Pace``.
    """

    def __init__(
        self,
        channel: channels.Channel,
        connect: connections.Connect,
        counters: metrics.Metrics,
        queue: urgent.UrgentQueue,
        *,
        lease_s: float,
    ) -> None:
        self.channel = channel
        self._connect, self._counters, self._urgent = connect, counters, queue
        per_hour = None if channel.shows_state else channel.settings.max_per_hour
        self._pace = pacing.Pace(channel.group_s, per_hour, lease_s)
        self._refusals = 1 if channel.shows_state else _REFUSALS
        self._woken = threading.Event()
        self._stopping = self._leads = False
        self._fresh = True
        self._connection: psycopg.Connection[Any] | None = None
        self._unrecorded: tuple[outbox.Attempt, _Result] | None = None
        self._delays = backoff.Backoff(_DATABASE_FIRST_S, _DATABASE_LONGEST_S)
        self._repeats_at = self._show_at = 0.0
        self.thread = threading.Thread(target=self._run, name=f"alerts-{channel.name}", daemon=True)

    def wake(self) -> None:
        """There may be something to send."""
        self._woken.set()

    def send_now(self, rows: Sequence[notifications.AlertTransition]) -> None:
        """Sends those that the channel wants from memory.

        A query of a silent database is broken off. A connection that is just being opened is not: it may take twice
        ``database.connect_timeout_s``.
        """
        if wanted := [row for row in rows if self.channel.wants_row(row)]:
            self._urgent.put(wanted)
            connections.abandon(self._connection)
            self._woken.set()

    def lead(self, *, leads: bool) -> None:
        """Whether it sends what is in the outbox."""
        self._leads = leads
        self._woken.set()

    def stop(self) -> None:
        """The thread ends as soon as it can; it records what it is sending if that ends soon."""
        self._stopping = True
        self._woken.set()

    def _run(self) -> None:
        while not self._stopping:
            self._woken.clear()
            wait_s = min(self._send_urgent(), self._guarded(outbox_too=self._leads and not self._stopping))
            if not self._stopping:
                self._woken.wait(None if wait_s == float("inf") else wait_s)
        with contextlib.suppress(psycopg.Error):
            self._record()
        self._close()
        with contextlib.suppress(Exception):
            self.channel.sender.close()

    def _send_urgent(self) -> float:
        """Sends what is due from memory; seconds until the next attempt, inf if nothing is urgent."""
        while not self._stopping and (pending := self._urgent.next()) is not None:
            if (left_s := pending.due_at - time.monotonic()) > 0:
                return left_s
            result = self._attempt(pending.notification, pending.attempts + 1, refusals=1)
            if result.problem is None:
                self._urgent.sent(pending)
                continue
            pending.failed()
            if result.dropped or time.monotonic() > pending.give_up_at:
                self._urgent.drop(pending)
                count, hint = len(pending.notification.rows), "sent when the database is back"
                _log.warning("alerts.not_sent", channel=self.channel.name, alerts=count, hint=hint)
        return float("inf")

    def _guarded(self, *, outbox_too: bool) -> float:
        """A look into the outbox; seconds until the next one, unless woken."""
        if not outbox_too and self._unrecorded is None:
            self._close()
            return float("inf")
        try:
            self._record()
            wait_s = self._look() if outbox_too else 0.0
        except psycopg.errors.SerializationFailure:  # another daemon was faster
            return outbox.OVERTAKEN_S
        except psycopg.Error as error:
            self._close()
            if self._delays.attempts == 0 and not self._stopping:
                _log.warning("alerts.store_unavailable", channel=self.channel.name, error=str(error).strip())
            return self._delays.next_s()
        except Exception:  # noqa: BLE001 the thread continues, whatever it was
            self._close()
            _log.exception("alerts.turn_failed", channel=self.channel.name)
            return self._delays.next_s()
        self._delays.reset()
        return wait_s

    def _look(self) -> float:
        connection = self._open()
        self._repeat(connection)
        found = outbox.claim_next(connection, self.channel, self._pace, fresh=self._fresh)
        for result, count in collections.Counter(result for _alert_id, result in found.dropped).items():
            log = _log.warning if result.startswith("gave up") else _log.info
            log("alerts.dropped", channel=self.channel.name, alerts=count, result=result)
        if found.attempt is None:
            if found.wait_s == float("inf") or self.channel.name not in self._counters.channels_failing:
                self._show(connection)
            return min(found.wait_s, _LOOK_S)
        self._fresh = False  # until now an attempt of the channel as it was before may fail
        self._send(found.attempt)
        self._record()
        return 0.0

    def _send(self, attempt: outbox.Attempt) -> None:
        """Sends it, without what the channel has taken from memory meanwhile."""
        rows = [row for row in attempt.notification.rows if self._urgent.sent_at(urgent.key(row)) is None]
        result = _Result(None, dropped=False)
        if rows:
            notification = attempt.notification._replace(rows=rows)
            result = self._attempt(notification, attempt.number, refusals=self._refusals)
            if result.problem is None:
                self._urgent.sent_otherwise(rows)
        self._unrecorded = (attempt, result)

    def _attempt(self, notification: notifications.Notification, number: int, *, refusals: int) -> _Result:
        """Sends, counts and logs; a message that the service refuses is dropped at that many refusals."""
        name, problem, dropped = self.channel.name, None, False
        try:
            self.channel.sender.send(notification)
        except sender.ChannelError as error:
            problem, dropped = str(error), error.permanent and number >= refusals
        except Exception as error:  # noqa: BLE001 a sender's mistake must not end the thread; its text may be secret
            problem = type(error).__name__
        if problem is None:
            self._counters.count_delivery(name, len(notification.rows))
            log = _log.debug if self.channel.shows_state else _log.info
            log("alerts.sent", channel=name, alerts=len(notification.rows), message_id=notification.message_id)
        else:
            self._counters.count_failed_delivery(name)
            broken = number >= pacing.BROKEN_AFTER
            log = _log.error if broken or dropped else _log.warning
            log("channel.failed", channel=name, error=problem, attempt=number, broken=broken, dropped=dropped)
        return _Result(problem, dropped)

    def _record(self) -> None:
        """Records the result of the last attempt; until that succeeds nothing else is taken from the outbox."""
        if self._unrecorded is not None:
            attempt, result = self._unrecorded
            outbox.record(self._open(), self.channel.name, attempt, result.problem, dropped=result.dropped)
            self._unrecorded = None

    def _repeat(self, connection: psycopg.Connection[Any]) -> None:
        repeat_s = self.channel.settings.repeat_s
        if self.channel.shows_state or repeat_s == 0 or time.monotonic() < self._repeats_at:
            return
        outbox.repeat(connection, self.channel.name, self.channel.settings)
        self._repeats_at = time.monotonic() + min(_REPEATS_EVERY_S, repeat_s)

    def _show(self, connection: psycopg.Connection[Any]) -> None:
        """Shows every open episode again, on a channel that shows a state."""
        if not self.channel.shows_state or time.monotonic() < self._show_at:
            return
        self._show_at = time.monotonic() + _SHOW_EVERY_S
        rows = [row for row in outbox.open_episodes(connection) if self.channel.wants_row(row, quiet=True)]
        try:
            shown = self.channel.sender.show(rows)
        except sender.ChannelError as error:
            self._counters.count_failed_delivery(self.channel.name)
            _log.warning("channel.failed", channel=self.channel.name, error=str(error))
        else:
            if shown:
                self._counters.count_delivery(self.channel.name, 0)

    def _open(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
            self._connection = None
