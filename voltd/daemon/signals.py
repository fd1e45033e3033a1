"""What the main thread waits for: SIGTERM and SIGINT end the daemon, SIGHUP has it read its files again.

Python runs a signal's handler in the main thread between any two of its steps, also within an Event's own ``wait``: the
handler's ``set`` would then wait for the lock of that Event for ever. So a handler sets plain flags, and wakes the main
thread through the one queue whose ``put`` is made for handlers (queue.SimpleQueue: "reentrant").
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
from types import FrameType


class Signals:
    """What has come; ``stop``, ``wake`` and ``subscribed`` are for any thread, all else is the main thread's.

    Attributes:
        stopping: whether the daemon is to end.
    """

    def __init__(self) -> None:
        self.stopping = False
        self._reload = self._subscribed = False
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()

    def listen(self) -> None:
        """Handles the process's signals. A second one to stop ends it at once; unacked messages are sent again."""

        def stop(_number: int, _frame: FrameType | None) -> None:
            if self.stopping:
                os._exit(1)
            self.stop()

        def reload(_number: int, _frame: FrameType | None) -> None:
            self._reload = True
            self.wake()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGHUP, reload)

    def stop(self) -> None:
        """The daemon is to end."""
        self.stopping = True
        self.wake()

    def wake(self) -> None:
        """Ends a ``wait``; from any thread."""
        self._news.put(None)

    def wait(self, seconds: float) -> bool:
        """Waits for news, at most so long; returns whether the daemon is to end."""
        if not self.stopping:
            with contextlib.suppress(queue.Empty):
                self._news.get(timeout=seconds)
        return self.stopping

    def subscribed(self) -> None:
        """The broker sends messages, perhaps once more: its last word on this daemon may be the last will."""
        self._subscribed = True
        self.wake()

    def report_wanted(self) -> bool:
        """Whether it has subscribed since the last call."""
        if not self._subscribed:
            return False
        self._subscribed = False  # a subscription before the report needs no second report
        return True

    def reload_wanted(self) -> bool:
        """Whether SIGHUP came since the last call."""
        if not self._reload:
            return False
        self._reload = False  # a signal that comes before the files are read needs no second reading
        return True
