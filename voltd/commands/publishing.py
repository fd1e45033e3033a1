"""What ``simulate``, ``replay`` and ``demo`` share: progress and warnings on stderr, the tally on stdout, signals."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

from voltd.simulate.publish.publication import Tally

PLAIN_EVERY_S = (5.0, 30.0)  # at first, and after a minute
_FIRST_S = 60.0
MOMENT = "which needs an offset: 2026-05-01T08:00:00Z"


def say(line: str) -> None:
    """Prints a line on stderr."""
    print(line, file=sys.stderr, flush=True)


def counts(tally: Tally) -> str:
    """The published readings, as text."""
    text = f"{tally.vehicle} vehicle and {tally.meter} meter readings"
    if tally.bad or tally.duplicates:
        text += f" ({tally.duplicates} of them sent before), {tally.bad} bad ones"
    return text


def print_tally(tally: Tally, elapsed_s: float) -> None:
    """Prints the tally on stdout."""
    rate = tally.messages / elapsed_s if elapsed_s else 0.0
    print(f"published {counts(tally)}: {tally.messages} messages in {elapsed_s:.1f} s ({rate:.0f}/s)")
    if tally.undelivered:
        print(f"stored by nobody: {tally.undelivered} of these readings had no subscriber")
    if tally.resent:
        print(f"sent again after a lost connection: {tally.resent} readings")
    if tally.oversize:
        print(f"not sent, larger than the broker takes: {tally.oversize} messages")
    if tally.in_flight:
        print(f"not acknowledged by the broker: {tally.in_flight} messages")


class Progress:
    """Progress: on a terminal one line that is rewritten, elsewhere a line every five and later thirty seconds."""

    def __init__(self) -> None:
        self._began_s = self._shown_s = time.monotonic()
        self._done = 0
        self._tty = sys.stderr.isatty()
        self._open = False

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began_s

    def show(self, text: str, done: int, unit: str = "messages") -> None:
        """Shows the progress, unless it was shown a moment ago; ``done`` counts all so far."""
        now_s = time.monotonic()
        since_s = now_s - self._shown_s
        if not self._tty and since_s < PLAIN_EVERY_S[now_s - self._began_s > _FIRST_S]:
            return
        line = f"{text}, {(done - self._done) / max(since_s, 1e-3):.0f} {unit}/s"
        self._shown_s, self._done = now_s, done
        if self._tty:
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()
            self._open = True
        else:
            say(line)

    def end(self) -> None:
        """Clears the line on the terminal, so that other output can follow."""
        if self._open:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._open = False


def moment(text: str) -> dt.datetime:
    """A time with an offset, as an argument."""
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        moment = dt.datetime.min  # noqa: DTZ901 - has no offset either
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time with an offset: write it like 2026-05-01T08:00:00Z")
    return moment


@contextlib.contextmanager
def signals() -> Iterator[threading.Event]:
    """An event that SIGINT or SIGTERM sets; a second signal raises KeyboardInterrupt. Only in the main thread.

    A handler may run within the event's own ``wait``, whose lock its ``set`` would then await for ever: so a thread
    sets it, woken through the one queue whose ``put`` is made for handlers (queue.SimpleQueue: "reentrant").
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    came: queue.SimpleQueue[int | None] = queue.SimpleQueue()  # None: none will come any more
    numbers: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        numbers.append(number)
        if len(numbers) > 1:
            raise KeyboardInterrupt
        came.put(number)

    def pass_on() -> None:
        if came.get() is not None:
            stop.set()

    threading.Thread(target=pass_on, name="signals", daemon=True).start()
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        came.put(None)
