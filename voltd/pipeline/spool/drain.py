"""Drain: moves the spool's messages into the store, oldest first, while new readings flow beside it.

A thread of its own with a connection of its own. It also finds out that the store is back: while messages go into the
spool ``flush`` does not ask. A batch leaves the spool after its COMMIT; killed in between, the same messages come once
more and are duplicates.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from voltd import backoff, errors, metrics, models
from voltd.host import host_clock
from voltd.pipeline.consume import pseudonyms
from voltd.pipeline.decode import clock, decoder
from voltd.pipeline.flush import flusher, outage, policy
from voltd.pipeline.spool import file

_log = structlog.get_logger()

_LOOK_EVERY_S = 0.5
_COMPLAIN_EVERY_S = 30.0


class Drain:
    """The loop from the spool to the store; ``run`` is its thread.

    Args:
        spool: what is drained.
        decoder: not shared with another thread.
        store: not shared with another thread.
        policy: of batches and of waiting.
        counters: readings and dead letters are counted when the store has them.
        outage: shared with ``flush``; learns that the store is back.
        ready: raises StoreUnavailable until the store may be written to; called before the first write.
        committed: called with batch and result after COMMIT; must not block or raise.
        clock_guard: says when this host's clock is wrong, or was wrong when messages were spooled; None: trusted.
        renamed: pseudonyms of VINs, for what was spooled before they were switched on; None: VINs stay.
    """

    def __init__(
        self,
        spool: file.SpoolFile,
        decoder: decoder.Decoder,
        store: flusher.Store,
        policy: policy.Policy,
        counters: metrics.Metrics,
        *,
        outage: outage.Outage,
        ready: Callable[[], None] = lambda: None,
        committed: Callable[[models.Batch, models.WriteResult], None] = lambda _batch, _result: None,
        clock_guard: clock.ClockGuard | None = None,
        renamed: pseudonyms.Pseudonyms | None = None,
    ) -> None:
        self._spool = spool
        self._decoder = decoder
        self._store = store
        self._policy = policy
        self._counters = counters
        self._outage = outage
        self._ready: Callable[[], None] | None = ready
        self._committed = committed
        self._clock_guard = clock_guard
        self._pseudonyms = renamed
        self._stopping = threading.Event()
        self._done = 0  # through which number the store has everything
        self._complain_at = 0.0
        self.beat = time.monotonic()

    def stop(self) -> None:
        """Ends ``run`` after the current batch; the rest stays in the spool."""
        self._stopping.set()

    def run(self) -> None:
        """Drains until stopped; while the store is away it retries with growing pauses.

        Raises:
            SchemaError: the store is back and is not what this version expects; nothing was written.
        """
        delays = backoff.Backoff(0.1, self._policy.retry_max_s)
        while not self._stopping.is_set():
            self.beat = time.monotonic()
            try:
                drained = self.step()
            except (errors.StoreUnavailable, errors.SpoolUnavailable) as error:
                self._complain(error)
                self._stopping.wait(delays.next_s())
            else:
                delays.reset()
                if not drained:
                    self._stopping.wait(_LOOK_EVERY_S)

    def step(self) -> bool:
        """Takes the oldest messages to the store; False: the spool is empty.

        Raises:
            StoreUnavailable, SpoolUnavailable: what was not committed is still in the spool.
        """
        if self._ready is not None:
            self._ready()
            self._ready = None
            self._outage.store_answered()
        spooled = self._spool.oldest(self._policy.max_messages, self._policy.max_bytes, self._done)
        if spooled is None:
            if self._spool.messages and self._done:  # the store has them, and removing them failed
                self._forget()
            return False
        messages = spooled.messages
        if self._pseudonyms is not None:
            messages = [self._pseudonyms.message(message) for message in messages]
        batch = self._timed(self._decoder.decode(messages), earlier=spooled.earlier)
        result = self._store.write(batch)
        self._done = spooled.through
        self._outage.store_answered()
        self._counters.count(result)
        flusher.log_decoded(self._counters, batch)
        self._committed(batch, result)
        self._forget()
        return True

    def _timed(self, batch: models.Batch, *, earlier: bool) -> models.Batch:
        """The batch with corrected times of receipt.

        Raises:
            StoreUnavailable: this host's clock is wrong; the messages, which the store would refuse, stay in the spool.
        """
        if self._clock_guard is None:
            return batch
        batch = self._clock_guard.spooled(batch, earlier=earlier)
        suspicion = self._clock_guard.evaluate(batch)
        if suspicion is not None:
            raise errors.StoreUnavailable(str(suspicion), hint=host_clock.ADVICE)
        return batch

    def _forget(self) -> None:
        """Removes what the store has. If that fails it is not written again but removed with the next batch."""
        self._spool.remove(self._done)
        self._done = 0
        if not self._spool.messages:
            _log.info("spool.drained")

    def _complain(self, error: errors.VoltdError) -> None:
        if time.monotonic() >= self._complain_at:
            self._complain_at = time.monotonic() + _COMPLAIN_EVERY_S
            _log.error("spool.waiting", error=str(error), hint=error.hint, readings=self._spool.readings)
