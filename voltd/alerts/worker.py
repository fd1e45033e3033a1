"""One thread a channel: waits for news in the outbox, sends, puts down what came of it.

Started by ``deliver``. It has a connection of its own, opened only while this daemon leads, and waits out a database
that is away. Whatever its channel does, it holds up nobody but itself.
"""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import structlog

from voltd import backoff
from voltd.alerts import channels, counters, message, outbox, pacing
from voltd.alerts.senders import sender
from voltd.database import session

_log = structlog.get_logger()

_LOOK_S = 5.0  # without news: silences end, groups are complete, an hour is over
_REPEATS_EVERY_S = 30.0
_SHOW_EVERY_S = 60.0
# A service may refuse anything for a moment, or an admin may be at it: a message that is refused is dropped, so that
# what comes after it is told, but not before so many attempts, two minutes. What shows a state says it again anyway.
_REFUSALS = 8
_DATABASE_FIRST_S, _DATABASE_LONGEST_S = 0.5, 10.0


class Worker:
    """Tells one channel; ``start``, ``stop``, ``wake`` and ``lead`` come from other threads and do not block.

    Args:
        channel: what it tells.
        connect: opens a connection in autocommit.
        counted: what is counted.
        using: held while something is sent on this channel.
        lease_s: see ``pacing.Limits``.
        told: whether this has been told on this channel from memory; asked with ``using`` held.
    """

    def __init__(
        self,
        channel: channels.Channel,
        connect: session.Connect,
        counted: counters.Counters,
        using: threading.Lock,
        *,
        lease_s: float,
        told: Callable[[message.AlertTransition], bool],
    ) -> None:
        self.channel = channel
        self._connect, self._counted, self._using, self._told = connect, counted, using, told
        self._box = outbox.Box(channel.name, shows_state=channel.shows_state)
        per_hour = None if channel.shows_state else channel.settings.max_per_hour
        self._limits = pacing.Limits(channel.group_s, per_hour, lease_s)
        self._news = threading.Event()
        self._stopping = self._leads = False
        self._fresh = True
        self._connection: psycopg.Connection[Any] | None = None
        self._unsettled: tuple[outbox.Claim, str | None, bool] | None = None
        self._delays = backoff.Backoff(_DATABASE_FIRST_S, _DATABASE_LONGEST_S)
        self._repeats_at = self._show_at = 0.0
        self.thread = threading.Thread(target=self._run, name=f"alerts-{channel.name}", daemon=True)

    def wake(self) -> None:
        """Something may wait."""
        self._news.set()

    def lead(self, *, leads: bool) -> None:
        """Whether it sends."""
        self._leads = leads
        self._news.set()

    def stop(self) -> None:
        """It ends as soon as it can; what is being sent is put down if that is soon."""
        self._stopping = True
        self._news.set()

    def _run(self) -> None:
        while not self._stopping:
            self._news.clear()
            wait_s = self._guarded()
            if not self._stopping:
                self._news.wait(None if wait_s == float("inf") else wait_s)
        with contextlib.suppress(psycopg.Error):
            self._settle()
        self._close()
        with self._using, contextlib.suppress(Exception):
            self.channel.sender.close()

    def _guarded(self) -> float:
        """A turn; seconds until the next one, if there is no news before."""
        if not self._leads and self._unsettled is None:
            self._close()
            return float("inf")
        try:
            wait_s = self._turn()
        except psycopg.errors.SerializationFailure:  # another daemon was faster
            return outbox.OVERTAKEN_S
        except psycopg.Error as error:
            self._close()
            if self._delays.attempts == 0 and not self._stopping:
                _log.warning("alerts.store_unavailable", channel=self.channel.name, error=str(error).strip())
            return self._delays.next_s()
        except Exception:  # noqa: BLE001 the thread goes on, whatever it was
            self._close()
            _log.exception("alerts.turn_failed", channel=self.channel.name)
            return self._delays.next_s()
        self._delays.reset()
        return wait_s

    def _turn(self) -> float:
        self._settle()
        if not self._leads:
            return 0.0
        connection = self._open()
        self._repeat(connection)
        turn = outbox.turn(connection, self._box, self._limits, fresh=self._fresh)
        self._fresh = False
        for result, count in collections.Counter(result for _alert_id, result in turn.dropped).items():
            log = _log.warning if result.startswith("gave up") else _log.info
            log("alerts.dropped", channel=self.channel.name, alerts=count, result=result)
        if turn.claim is None:
            if turn.wait_s == float("inf") or not self._counted.is_failing(self.channel.name):
                self._show(connection)
            return min(turn.wait_s, _LOOK_S)
        self._send(turn.claim)
        self._settle()
        return 0.0

    def _send(self, claim: outbox.Claim) -> None:
        name, problem, for_good = self.channel.name, None, False
        try:
            with self._using:
                rows = [row for row in claim.message.rows if not self._told(row)]
                if rows:
                    self.channel.sender.send(claim.message._replace(rows=rows))
        except sender.ChannelError as error:
            problem = str(error)
            for_good = error.permanent and (self.channel.shows_state or claim.attempt >= _REFUSALS)
        except Exception as error:  # noqa: BLE001 a sender's mistake must not end the thread; its text may be secret
            problem = type(error).__name__
        self._unsettled = (claim, problem, for_good)
        if problem is None:
            self._counted.sent(name, len(claim.message.rows))
            log = _log.debug if self.channel.shows_state else _log.info
            log("alerts.sent", channel=name, alerts=len(claim.message.rows), message_id=claim.message.message_id)
        else:
            self._counted.failed(name)
            broken = claim.attempt >= pacing.BROKEN_AFTER
            log = _log.error if broken or for_good else _log.warning
            log("channel.failed", channel=name, error=problem, attempt=claim.attempt, broken=broken, dropped=for_good)

    def _settle(self) -> None:
        """Puts down what came of the last attempt; while that fails nothing else is done."""
        if self._unsettled is None:
            return
        claim, problem, for_good = self._unsettled
        outbox.put_down(self._open(), self.channel.name, claim, problem, for_good=for_good)
        self._unsettled = None

    def _repeat(self, connection: psycopg.Connection[Any]) -> None:
        repeat_s = self.channel.settings.repeat_s
        if self.channel.shows_state or repeat_s == 0 or time.monotonic() < self._repeats_at:
            return
        outbox.repeat(connection, self.channel.name, self.channel.settings)
        self._repeats_at = time.monotonic() + min(_REPEATS_EVERY_S, repeat_s)

    def _show(self, connection: psycopg.Connection[Any]) -> None:
        """Says what is open again, where that is wanted."""
        if not self.channel.shows_state or time.monotonic() < self._show_at:
            return
        self._show_at = time.monotonic() + _SHOW_EVERY_S
        wants = self.channel.wants
        rows = [
            row
            for row in outbox.open_rows(connection)
            if wants(severity=row.severity, rule=row.rule, fleet_id=row.fleet_id, transition="fired", quiet=True)
        ]
        try:
            with self._using:
                said = self.channel.sender.show(rows)
        except sender.ChannelError as error:
            self._counted.failed(self.channel.name)
            _log.warning("channel.failed", channel=self.channel.name, error=str(error))
        else:
            if said:
                self._counted.worked(self.channel.name)

    def _open(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
            self._connection = None
