"""All channels as one thing for ``service`` and the evaluation cycle: a worker for each, and the tidying.

The cycle calls ``wake`` after a commit that put something into the outbox, ``send_now`` while the database is away, and
``sent_at`` and ``withdraw`` when it is back; the jobs call ``lead``. None of these blocks.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Sequence

import psycopg
import structlog

from voltd import config, metrics
from voltd.alerts import channels, notifications, outbox, urgent, worker
from voltd.database import connections
from voltd.rules.cycle import interfaces

_log = structlog.get_logger()

_TIDY_EVERY_S = 60.0
_STOP_WITHIN_S = 2.0


class Deliverer:
    """Notifies every channel of the settings.

    Args:
        settings: its channels, and the broker.
        connect: opens a connection of the writer's role, in autocommit; called by the workers' own threads.
        counters: what is counted.
        lease_s: how long an attempt whose result nobody knows is left alone.

    Raises:
        ConfigurationError: a channel cannot work.
    """

    def __init__(
        self,
        settings: config.Settings,
        connect: connections.Connect,
        counters: metrics.Metrics,
        *,
        lease_s: float = 30.0,
    ) -> None:
        self.counters = counters
        self._connect, self._lease_s = connect, lease_s
        self._leads = self._started = False
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._tidy_now = threading.Event()
        self._urgent: dict[str, urgent.UrgentQueue] = {}  # also of channels that are gone, for ``sent_at``
        self._old: list[worker.Worker] = []
        self._workers = {channel.name: self._worker(channel) for channel in channels.make(settings)}
        self._tidier = threading.Thread(target=self._tidy, name="alerts-tidy", daemon=True)

    @property
    def every_channel(self) -> list[channels.Channel]:
        """The channels as they are now: the evaluation cycle asks them who wants what."""
        with self._lock:
            return [channel_worker.channel for channel_worker in self._workers.values()]

    def start(self) -> None:
        """Starts the threads; the outbox is left alone before ``lead``."""
        with self._lock:
            self._started = True
            for channel_worker in self._workers.values():
                channel_worker.thread.start()
        self._tidier.start()

    def stop(self, within_s: float = _STOP_WITHIN_S) -> None:
        """Ends the threads; those that still wait for a service after so long in all are left. May be called again."""
        self._stop.set()
        self._tidy_now.set()
        with self._lock:
            workers = [*self._workers.values(), *self._old]
        for channel_worker in workers:
            channel_worker.stop()
        if not self._started:
            return
        ends = time.monotonic() + within_s
        for thread in (*(channel_worker.thread for channel_worker in workers), self._tidier):
            thread.join(max(0.0, ends - time.monotonic()))

    def wake(self) -> None:
        """Something was put into the outbox, and committed."""
        with self._lock:
            self._wake()

    def lead(self, leads: bool) -> None:
        """Whether this daemon is the one that sends what is in the outbox."""
        with self._lock:
            self._leads = leads
            for channel_worker in self._workers.values():
                channel_worker.lead(leads=leads)
        self._tidy_now.set()

    def reload(self, settings: config.Settings) -> None:
        """Takes over changed channels; those that stay as they are continue undisturbed.

        Raises:
            ConfigurationError: a channel cannot work; nothing has changed.
        """
        fresh = channels.make(settings)
        with self._lock:
            before = self._workers
            self._workers = {
                channel.name: same
                if (same := before.get(channel.name)) is not None and same.channel.settings == channel.settings
                else self._worker(channel)
                for channel in fresh
            }
            for name, old in before.items():
                if self._workers.get(name) is not old:
                    old.stop()
                    self._old.append(old)
                    self.counters.count_delivery(name, 0)
                    self._hand_over(name)
            self._old = [old for old in self._old if old.thread.is_alive()]
            if self._started:
                for name, new in self._workers.items():
                    if before.get(name) is not new:
                        new.lead(leads=self._leads)
                        new.thread.start()
        self._tidy_now.set()

    def send_now(self, rows: Sequence[interfaces.OfflineNotice]) -> None:
        """Sends these from memory, best effort: there is no database, so there is no outbox."""
        transitions = [
            notifications.AlertTransition(
                row.transition, row.severity, row.message, row.rule, row.device_type, row.device_id, None,
                row.opened_at, resolved_at=row.resolved_at,
            )
            for row in rows
        ]  # fmt: skip
        with self._lock:
            for channel_worker in [] if self._stop.is_set() else self._workers.values():
                channel_worker.send_now(transitions)

    def sent_at(self, channel: str, what: interfaces.TransitionKey) -> dt.datetime | None:
        """When the channel took this transition from memory; None: it has not, as far as is known."""
        queue = self._urgent.get(channel)
        return None if queue is None else queue.sent_at(what)

    def withdraw(self) -> None:
        """What ``send_now`` was given is in the outbox now, but for what the channels took already."""
        with self._lock:
            for queue in self._urgent.values():
                queue.withdraw()
            self._wake()

    def _wake(self) -> None:
        for channel_worker in self._workers.values():
            channel_worker.wake()

    def _worker(self, channel: channels.Channel) -> worker.Worker:
        queue = self._urgent.setdefault(channel.name, urgent.UrgentQueue())
        return worker.Worker(channel, self._connect, self.counters, queue, lease_s=self._lease_s)

    def _hand_over(self, name: str) -> None:
        """What a channel that has changed was about to send from memory."""
        changed = self._workers.get(name)
        if changed is None:
            self._urgent[name].withdraw()
        else:
            self._urgent[name].retry(changed.channel.wants_row)

    def _tidy(self) -> None:
        """Now and then, while leading: drops what waits for channels that are no longer there."""
        while not self._stop.is_set():
            self._tidy_now.clear()
            if self._leads:
                try:
                    with self._connect() as connection:
                        for name in outbox.drop_unknown(connection, [channel.name for channel in self.every_channel]):
                            _log.warning("channel.unknown", channel=name, hint="what waited for it has been dropped")
                except psycopg.Error as error:
                    _log.debug("alerts.not_tidied", error=str(error).strip())
            self._tidy_now.wait(_TIDY_EVERY_S)
