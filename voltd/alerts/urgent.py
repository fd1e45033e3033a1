"""What has to be told while there is no database: sent at once, from memory.

Part of ``deliver``, one a channel. Best effort: a thread lives while there is something to tell, tries again with
growing pauses, and gives up after an hour; a daemon that ends forgets it. No outbox, no silences, no gathering.
"""

from __future__ import annotations

import collections
import threading
import time
import uuid
from collections.abc import Sequence

import structlog

from voltd.alerts import channels, counters, message, pacing, send

_log = structlog.get_logger()

_MOST_WAITING = 200
_GIVE_UP_S = 3600.0


class Urgent:
    """Tells one channel; ``tell`` and ``stop`` do not block.

    Args:
        channel: what it tells.
        counted: what is counted.
        using: held while something is sent on this channel.
    """

    def __init__(self, channel: channels.Channel, counted: counters.Counters, using: threading.Lock) -> None:
        self._channel, self._counted, self._using = channel, counted, using
        self._lock = threading.Lock()
        self._waiting: collections.deque[message.Row] = collections.deque(maxlen=_MOST_WAITING)
        self._runs = False
        self._stop = threading.Event()

    def tell(self, rows: Sequence[message.Row]) -> None:
        """Sends these as soon as the channel takes them; of too many the oldest are forgotten."""
        with self._lock:
            self._waiting.extend(rows)
            if self._runs or self._stop.is_set() or not self._waiting:
                return
            self._runs = True
        threading.Thread(target=self._run, name=f"alerts-{self._channel.name}-now", daemon=True).start()

    def stop(self) -> None:
        """Sends nothing more."""
        self._stop.set()

    def _run(self) -> None:
        while True:
            with self._lock:
                if self._stop.is_set() or not self._waiting:
                    self._runs = False
                    return
                what = message.Message(str(uuid.uuid4()), list(self._waiting))
                self._waiting.clear()
            self._send(what)

    def _send(self, what: message.Message) -> None:
        name, attempts, ends = self._channel.name, 0, time.monotonic() + _GIVE_UP_S
        while not self._stop.is_set() and time.monotonic() < ends:
            try:
                with self._using:
                    self._channel.sender.send(what)
            except Exception as error:  # noqa: BLE001 best effort: no failure may end the thread while more waits
                attempts += 1
                self._counted.failed(name)
                problem = str(error) if isinstance(error, send.ChannelError) else type(error).__name__
                _log.warning("channel.failed", channel=name, error=problem, attempt=attempts)
                if isinstance(error, send.ChannelError) and error.permanent:
                    return
                self._stop.wait(pacing.pause_s(attempts, what.message_id))
            else:
                self._counted.sent(name, len(what.rows))
                _log.info("alerts.sent", channel=name, alerts=len(what.rows), message_id=what.message_id)
                return
        _log.warning("alerts.dropped", channel=name, alerts=len(what.rows), message_id=what.message_id)
