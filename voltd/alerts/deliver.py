"""Everything that tells alerts, as one thing for the composition root: a worker a channel, and the tidying.

The check of the rules calls ``wake`` after a commit that put something into the outbox, ``send_now`` while there is no
database, and ``sent_at`` and ``withdraw`` when it is back; the jobs call ``lead``. None of these blocks.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import psycopg
import structlog

from voltd import config
from voltd.alerts import channels, counters, message, outbox, urgent, worker
from voltd.database import session

_log = structlog.get_logger()

_TIDY_EVERY_S = 60.0
_STOP_WITHIN_S = 2.0


class Told(urgent.Transition, Protocol):
    """What ``send_now`` takes: a transition without a number, as there is no table to have it from."""

    @property
    def message(self) -> str: ...  # noqa: D102 as in volt.alert, as the other one
    @property
    def resolved_at(self) -> dt.datetime | None: ...  # noqa: D102


class _Line(NamedTuple):
    """A channel with those that send on it."""

    channel: channels.Channel
    worker: worker.Worker
    urgent: urgent.Urgent


class Deliverer:
    """Tells alerts on every channel of the settings.

    Args:
        settings: its channels, and the broker.
        connect: opens a connection of the writer's role, in autocommit; called by the workers' own threads.
        lease_s: how long an attempt of which nobody knows the end is left alone.

    Raises:
        ConfigurationError: a channel cannot work.
    """

    def __init__(self, settings: config.Settings, connect: session.Connect, *, lease_s: float = 30.0) -> None:
        self.counters = counters.Counters()
        self._connect, self._lease_s = connect, lease_s
        self._ledger = urgent.Ledger()
        self.sent_at = self._ledger.told_at
        self._leads = self._started = False
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._tidy_now = threading.Event()
        self._old: list[worker.Worker] = []
        self._lines = {one.name: self._line(one) for one in channels.make(settings)}
        self._tidier = threading.Thread(target=self._tidy, name="alerts-tidy", daemon=True)

    @property
    def every_channel(self) -> list[channels.Channel]:
        """The channels as they are now: what the check asks who wants what."""
        with self._lock:
            return [line.channel for line in self._lines.values()]

    def start(self) -> None:
        """Starts the threads; nothing is sent before ``lead``."""
        with self._lock:
            self._started = True
            for line in self._lines.values():
                line.worker.thread.start()
        self._tidier.start()

    def stop(self, within_s: float = _STOP_WITHIN_S) -> None:
        """Ends them; one whose channel hangs is left behind after so long in all. May be called again."""
        self._stop.set()
        self._tidy_now.set()
        with self._lock:
            lines, started = list(self._lines.values()), self._started
        for line in lines:
            line.urgent.withdraw()
            line.worker.stop()
        if not started:
            return
        ends = time.monotonic() + within_s
        for thread in (*(line.worker.thread for line in lines), *(old.thread for old in self._old), self._tidier):
            thread.join(max(0.0, ends - time.monotonic()))

    def wake(self) -> None:
        """Something was put into the outbox, and committed."""
        with self._lock:
            for line in self._lines.values():
                line.worker.wake()

    def lead(self, leads: bool) -> None:
        """Whether this daemon is the one that sends."""
        with self._lock:
            self._leads = leads
            for line in self._lines.values():
                line.worker.lead(leads=leads)
        self._tidy_now.set()

    def reload(self, settings: config.Settings) -> None:
        """Takes over changed channels; those that stay as they are go on undisturbed.

        Raises:
            ConfigurationError: a channel cannot work; nothing has changed.
        """
        fresh = {one.name: one for one in channels.make(settings)}
        with self._lock:
            before = self._lines
            self._lines = {
                name: before[name]
                if name in before and before[name].channel.settings == one.settings
                else self._line(one)
                for name, one in fresh.items()
            }
            for name, line in before.items():
                if self._lines.get(name) is not line:
                    line.worker.stop()
                    self._old.append(line.worker)
                    self.counters.forget(name)
                    _take_over(line.urgent.withdraw(), self._lines.get(name))
            self._old = [one for one in self._old if one.thread.is_alive()]
            if self._started:
                for name, line in self._lines.items():
                    if before.get(name) is not line:
                        line.worker.lead(leads=self._leads)
                        line.worker.thread.start()
        self._tidy_now.set()

    def send_now(self, rows: Sequence[Told]) -> None:
        """Tells these without an outbox, because there is no database: from memory, best effort."""
        what = [
            message.AlertTransition(
                one.transition, one.severity, one.message, one.rule, one.device_type, one.device_id, None,
                one.opened_at, resolved_at=one.resolved_at,
            )
            for one in rows
        ]  # fmt: skip
        with self._lock:
            lines = [] if self._stop.is_set() else list(self._lines.values())
        for line in lines:
            line.urgent.tell([row for row in what if _wants(line.channel, row)])

    def withdraw(self) -> None:
        """What ``send_now`` was given is in the outbox now, but for what was told already."""
        with self._lock:
            lines = list(self._lines.values())
        for line in lines:
            line.urgent.withdraw()

    def _line(self, channel: channels.Channel) -> _Line:
        using = threading.Lock()

        def told(row: message.AlertTransition) -> bool:
            return self._ledger.told_at(channel.name, urgent.key(row)) is not None

        return _Line(
            channel,
            worker.Worker(channel, self._connect, self.counters, using, lease_s=self._lease_s, told=told),
            urgent.Urgent(channel, self.counters, using, self._ledger),
        )

    def _tidy(self) -> None:
        """Now and then, while leading: what waits for channels that are no longer there."""
        while not self._stop.is_set():
            self._tidy_now.clear()
            if self._leads:
                try:
                    with self._connect() as connection:
                        self._drop_unknown(connection)
                except psycopg.Error as error:
                    _log.debug("alerts.not_tidied", error=str(error).strip())
            self._tidy_now.wait(_TIDY_EVERY_S)

    def _drop_unknown(self, connection: psycopg.Connection[Any]) -> None:
        for name in outbox.drop_unknown(connection, [one.name for one in self.every_channel]):
            _log.warning("channel.unknown", channel=name, hint="what waited for it has been dropped")


def _take_over(rows: Sequence[message.AlertTransition], line: _Line | None) -> None:
    """What a channel that has changed was about to tell from memory."""
    if line is not None:
        line.urgent.tell([row for row in rows if _wants(line.channel, row)])


def _wants(channel: channels.Channel, row: message.AlertTransition) -> bool:
    return channel.wants(
        severity=row.severity, rule=row.rule, fleet_id=row.fleet_id, transition=row.transition, quiet=False
    )
