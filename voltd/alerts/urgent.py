"""What has to be told while there is no database: sent at once, from memory.

Part of ``deliver``, one ``Urgent`` a channel. Best effort: a thread lives while there is something to tell, tries again
with growing pauses, and gives up after an hour; a daemon that ends forgets it. No outbox, no silences, no gathering.
When the database is back the outbox takes over: the ``Ledger`` says what it need not tell again.
"""

from __future__ import annotations

import collections
import datetime as dt
import threading
import time
import uuid
from collections.abc import Sequence
from typing import Protocol

import structlog

from voltd.alerts import channels, counters, message, pacing
from voltd.alerts.senders import sender

_log = structlog.get_logger()

_MOST_WAITING = 200
_MOST_REMEMBERED = 2000
_GIVE_UP_S = 3600.0

# rule, device_type, device_id, opened_at, transition, severity: a transition where nothing has a number
Key = tuple[str, str, str, dt.datetime, str, str]


class Transition(Protocol):
    """What has a key."""

    @property
    def rule(self) -> str: ...  # noqa: D102 as in volt.alert, as all of these
    @property
    def severity(self) -> str: ...  # noqa: D102
    @property
    def device_type(self) -> str: ...  # noqa: D102
    @property
    def device_id(self) -> str: ...  # noqa: D102
    @property
    def transition(self) -> str: ...  # noqa: D102
    @property
    def opened_at(self) -> dt.datetime: ...  # noqa: D102


def key(row: Transition) -> Key:
    """What it is known by, from memory as from the outbox."""
    return (row.rule, row.device_type, row.device_id, row.opened_at, row.transition, row.severity)


class Ledger:
    """What was told from memory, where and when: the last of it. Any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: collections.OrderedDict[tuple[str, Key], dt.datetime] = collections.OrderedDict()

    def put(self, channel: str, rows: Sequence[message.AlertTransition]) -> None:
        """The channel has taken these, just now."""
        now = dt.datetime.now(dt.UTC)
        with self._lock:
            self._told.update({(channel, key(row)): now for row in rows})
            while len(self._told) > _MOST_REMEMBERED:
                self._told.popitem(last=False)

    def told_at(self, channel: str, what: Key) -> dt.datetime | None:
        """When the channel took it; None: it has not, as far as is known."""
        return self._told.get((channel, what))


class Urgent:
    """Tells one channel; nothing here blocks.

    Args:
        channel: what it tells.
        counted: what is counted.
        using: held while something is sent on this channel, until the ledger knows.
        ledger: what was told.
    """

    def __init__(
        self, channel: channels.Channel, counted: counters.Counters, using: threading.Lock, ledger: Ledger
    ) -> None:
        self._channel, self._counted, self._using, self._ledger = channel, counted, using, ledger
        self._lock = threading.Lock()
        self._waiting: collections.deque[message.AlertTransition] = collections.deque(maxlen=_MOST_WAITING)
        self._current: message.Notification | None = None
        self._runs = False
        self._withdrawn = threading.Event()

    def tell(self, rows: Sequence[message.AlertTransition]) -> None:
        """Sends these as soon as the channel takes them; of too many the oldest are forgotten."""
        with self._lock:
            self._waiting.extend(rows)
            if self._runs or not self._waiting:
                return
            self._runs = True
        threading.Thread(target=self._run, name=f"alerts-{self._channel.name}-now", daemon=True).start()

    def withdraw(self) -> list[message.AlertTransition]:
        """Begins to send nothing of what it was given so far; returns that.

        An attempt that has begun goes on: whoever has ``using`` knows from the ledger what came of it.
        """
        with self._lock:
            rows = [*(self._current.rows if self._current else ()), *self._waiting]
            self._current = None
            self._waiting.clear()
            self._withdrawn.set()
        return rows

    def _run(self) -> None:
        while (what := self._next()) is not None:
            self._send(what)

    def _next(self) -> message.Notification | None:
        with self._lock:
            self._withdrawn.clear()
            self._runs = bool(self._waiting)
            self._current = message.Notification(str(uuid.uuid4()), list(self._waiting)) if self._waiting else None
            self._waiting.clear()
            return self._current

    def _holds(self, what: message.Notification) -> bool:
        with self._lock:
            return self._current is what

    def _send(self, what: message.Notification) -> None:
        name, attempts, ends = self._channel.name, 0, time.monotonic() + _GIVE_UP_S
        while time.monotonic() < ends:
            try:
                with self._using:
                    if not self._holds(what):
                        return
                    self._channel.sender.send(what)
                    self._ledger.put(name, what.rows)
            except Exception as error:  # noqa: BLE001 best effort: no failure may end the thread while more waits
                attempts += 1
                self._counted.failed(name)
                problem = str(error) if isinstance(error, sender.ChannelError) else type(error).__name__
                _log.warning("channel.failed", channel=name, error=problem, attempt=attempts)
                if isinstance(error, sender.ChannelError) and error.permanent:
                    break
                self._withdrawn.wait(pacing.pause_s(attempts, what.message_id))
            else:
                self._counted.sent(name, len(what.rows))
                _log.info("alerts.sent", channel=name, alerts=len(what.rows), message_id=what.message_id)
                return
        _log.warning("alerts.not_sent", channel=name, alerts=len(what.rows), hint="told when the database is back")
