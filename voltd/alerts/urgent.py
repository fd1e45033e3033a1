"""What a channel is notified of from memory, because the database with its outbox is away.

The evaluation cycle puts transitions here through ``deliver``; the channel's ``worker`` sends them at once, tries again
with growing pauses, and gives up after an hour. No silences, no gathering; a daemon that ends forgets them. Once the
database is back the cycle writes the same transitions into the outbox, and asks here which were sent. Does no I/O.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import threading
import time
import uuid
from collections.abc import Callable, Container, Sequence

from voltd.alerts import notifications, pacing
from voltd.rules.cycle import interfaces

_MOST_WAITING = 200
_MOST_SENT = 2000
_GIVE_UP_S = 3600.0


def key(row: interfaces.OfflineNotice | notifications.AlertTransition) -> interfaces.TransitionKey:
    """Identifies a transition, from memory as from the outbox."""
    return (row.rule, row.device_type, row.device_id, row.opened_at, row.transition, row.severity)


@dataclasses.dataclass
class Pending:
    """A notification that is sent until the channel takes it; times are monotonic."""

    notification: notifications.Notification
    give_up_at: float
    attempts: int = 0
    due_at: float = 0.0

    def failed(self) -> None:
        """An attempt failed: the next one is due after a pause."""
        self.attempts += 1
        self.due_at = time.monotonic() + pacing.pause_s(self.attempts, self.notification.message_id)

    def remove(self, keys: Container[interfaces.TransitionKey]) -> None:
        """Takes these transitions out."""
        rows = [row for row in self.notification.rows if key(row) not in keys]
        self.notification = self.notification._replace(rows=rows)


class UrgentQueue:
    """The transitions of one channel; any thread may call, nothing blocks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: collections.deque[notifications.AlertTransition] = collections.deque(maxlen=_MOST_WAITING)
        self._pending: Pending | None = None
        self._sent: collections.OrderedDict[interfaces.TransitionKey, dt.datetime] = collections.OrderedDict()

    def put(self, rows: Sequence[notifications.AlertTransition]) -> None:
        """Adds these; of too many the oldest are forgotten."""
        with self._lock:
            self._waiting.extend(rows)

    def withdraw(self) -> None:
        """Forgets all that was put; an attempt that has begun goes on, and what the channel takes is recorded."""
        with self._lock:
            self._waiting.clear()
            self._pending = None

    def retry(self, wants: Callable[[notifications.AlertTransition], bool]) -> None:
        """The channel's settings have changed: what it still wants is due at once."""
        with self._lock:
            rows = [*(self._pending.notification.rows if self._pending else ()), *self._waiting]
            self._pending = None
            self._waiting.clear()
            self._waiting.extend(filter(wants, rows))

    def next(self) -> Pending | None:
        """What is to be sent before anything else; all that waits is one notification."""
        with self._lock:
            if self._pending is None and self._waiting:
                rows = list(self._waiting)
                self._waiting.clear()
                notification = notifications.Notification(str(uuid.uuid4()), rows)
                self._pending = Pending(notification, time.monotonic() + _GIVE_UP_S)
            return self._pending

    def sent(self, pending: Pending) -> None:
        """The channel has just taken it."""
        now = dt.datetime.now(dt.UTC)
        with self._lock:
            self._sent.update({key(row): now for row in pending.notification.rows})
            while len(self._sent) > _MOST_SENT:
                self._sent.popitem(last=False)
        self.drop(pending)

    def drop(self, pending: Pending) -> None:
        """It is sent no more."""
        with self._lock:
            if self._pending is pending:
                self._pending = None

    def sent_otherwise(self, rows: Sequence[notifications.AlertTransition]) -> None:
        """The channel has taken these from the outbox: they are not sent from here any more."""
        gone = {key(row) for row in rows}
        with self._lock:
            waiting = [row for row in self._waiting if key(row) not in gone]
            self._waiting.clear()
            self._waiting.extend(waiting)
            if self._pending is not None:
                self._pending.remove(gone)
                if not self._pending.notification.rows:
                    self._pending = None

    def sent_at(self, what: interfaces.TransitionKey) -> dt.datetime | None:
        """When the channel took this transition from here; None: it has not, as far as is known."""
        return self._sent.get(what)
