"""Decode ahead: while one batch commits, the next one grows.

A thread of its own between the window and ``flush``. It decodes what has arrived, piece by piece, into the batch that
``flush`` takes as soon as the previous COMMIT has returned. The batch limit bounds it. It does no I/O.
"""

from __future__ import annotations

import datetime as dt
import threading
import time

from voltd import models
from voltd.pipeline.consume import window
from voltd.pipeline.decode import decoder
from voltd.pipeline.decode.devices import gather
from voltd.pipeline.flush import policy

_IDLE_S = 0.5
_LONGEST_HELD_S = 75.0  # longer than anything is gathered; by the monotonic clock
_PIECE_MESSAGES = 500  # decoded at once: the longest that ``next`` waits for is a few milliseconds
_MOST_ELEMENTS = 50_000  # readings and dead letters of arrays


class DecodeAhead:
    """The growing batch. ``start``, ``next`` and ``stop`` are for the flusher.

    Args:
        window: where messages wait.
        decoder: the pure step from messages to a batch; from now on this thread's.
        policy: of a batch.
    """

    def __init__(self, window: window.Window, decoder: decoder.Decoder, policy: policy.Policy) -> None:
        self._window = window
        self._decoder = decoder
        self._policy = policy
        self._lock = threading.Lock()  # while a piece is decoded into the batch, and while the batch is taken
        self._batch, self._bytes = models.Batch([]), 0
        self._gathering = gather.Gather()
        # Messages decoded, how many of them before the first one that may be held, and since when.
        self._passed = self._held_from = 0
        self._held_since = time.monotonic()
        self._some = threading.Event()
        self._room = threading.Event()
        self._room.set()
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="decode", daemon=True)
        self.beat = time.monotonic()

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread once the window is empty; ``next`` still returns what is left."""
        self._stopping.set()

    def next(self) -> models.Batch | None:
        """The batch as it has grown, with at least one message; None: nothing has arrived for half a second.

        Raises:
            BaseException: whatever ended the thread; no batch follows, and no message of the last one is acked.
        """
        some = self._some.wait(0.0 if self.finished else _IDLE_S)
        with self._lock:
            if self._failure is not None:  # the batch may have messages that nobody has decoded
                raise self._failure
            if not some:
                return None
            batch, self._batch, self._bytes = self._batch, models.Batch([]), 0
            self._some.clear()
            self._room.set()
        return batch

    @property
    def finished(self) -> bool:
        """Whether the thread has ended: no batch will grow any more."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while self._grow() or not self._stopping.is_set():
                self.beat = time.monotonic()
            with self._lock:
                self._complete(None)
        except BaseException as error:  # noqa: BLE001 raised in the flusher, which must not continue alone
            self._failure = error

    def _grow(self) -> bool:
        """Adds a piece to the batch, if there is room and something has arrived."""
        if not self._room.wait(_IDLE_S):
            return True
        messages = self._window.take(
            min(_PIECE_MESSAGES, self._policy.max_messages - len(self._batch.messages)),
            self._policy.max_bytes - self._bytes,
            self._policy.linger_s,
            0.0 if self._stopping.is_set() else self._patience_s(),
        )
        with self._lock:
            try:
                if messages:
                    self._decode(messages)
                if self._gathering.held:
                    self._complete(self._now())
            except BaseException as error:
                self._failure = error  # before ``next`` can have the lock
                raise
        return bool(messages)

    def _decode(self, messages: list[models.Message]) -> None:
        if not self._gathering.held:
            self._held_from, self._held_since = self._passed, time.monotonic()
        before = len(self._batch.messages)
        self._decoder.decode(messages, self._batch, self._gathering)
        self._passed += len(messages)
        self._note_room(before)

    def _complete(self, now: dt.datetime | None) -> None:
        """Adds the readings that are gathered by now; None: all of them."""
        before = len(self._batch.messages)
        self._decoder.complete(self._batch, self._gathering, now)
        self._note_room(before)

    def _note_room(self, before: int) -> None:
        """Counts the messages that the batch has got; a decoder may have made a payload longer."""
        batch = self._batch
        self._bytes += sum(len(message.payload) for message in batch.messages[before:])
        if not batch.messages:
            return
        if (
            len(batch.messages) >= self._policy.max_messages
            or self._bytes >= self._policy.max_bytes
            or batch.readings + len(batch.dead_letters) >= _MOST_ELEMENTS
        ):
            self._room.clear()
        self._some.set()

    def _patience_s(self) -> float:
        due = self._gathering.due
        if due is None:
            return _IDLE_S
        return max(0.0, min(_IDLE_S, (due - dt.datetime.now(dt.UTC)).total_seconds()))

    def _now(self) -> dt.datetime | None:
        """What is complete at this time; None: everything.

        The broker sends no more while a window of acks waits. And this host's clock may have been set back.
        """
        waits, waited_s = self._passed - self._held_from, time.monotonic() - self._held_since
        everything = 2 * waits >= self._window.receive_maximum or waited_s > _LONGEST_HELD_S
        return None if everything else dt.datetime.now(dt.UTC)
