"""Flush: takes the batch that has grown meanwhile, hands it to ``write``, and acks after COMMIT.

One thread, and ``decode_ahead``'s beside it. The batch policy is group commit: whatever has arrived when the previous
COMMIT returned is the next batch. A transient failure of the store keeps the batch and the window closed; a batch is
acked once, whole, or not at all.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from typing import Protocol

import structlog

from voltd import backoff, config, errors, metrics, models
from voltd.pipeline import consume_window, decode, decode_ahead

_log = structlog.get_logger()

_COMPLAIN_EVERY_S = 30.0


class Store(Protocol):
    """Where batches are made durable. The same contract suite runs on the real one and on the tests' fake."""

    def write(self, batch: models.Batch) -> models.WriteResult:
        """Stores readings and dead letters of the batch in one transaction; blocks until it is durable.

        On return every reading is written, a duplicate, or in the result's dead letters. Calling it again with the
        same batch after ``StoreUnavailable`` stores nothing twice.

        Raises:
            StoreUnavailable: transient; nothing was committed, or it is unknown whether (CommitUnknown). Keep the
                batch and call again.
        """
        ...


class Flusher:
    """The loop between window and store; ``run`` is its thread.

    Args:
        window: where messages wait.
        decoder: the pure step from messages to a batch.
        store: where batches are made durable.
        settings: batch bounds and retry ceiling.
        counters: this thread writes the ``readings_*``, ``batches_*`` and dead letter ones.
        ack: called with the batch's messages after COMMIT, in the order received.
        committed: called with batch and result after COMMIT; must not block or raise.
    """

    def __init__(
        self,
        window: consume_window.Window,
        decoder: decode.Decoder,
        store: Store,
        settings: config.Settings,
        counters: metrics.Metrics,
        *,
        ack: Callable[[list[models.Message]], None],
        committed: Callable[[models.Batch, models.WriteResult], None] = lambda _batch, _result: None,
    ) -> None:
        self._window = window
        self._ahead = decode_ahead.DecodeAhead(window, decoder, settings)
        self._store = store
        self._settings = settings
        self._counters = counters
        self._ack = ack
        self._committed = committed
        self._deadline = float("inf")
        self._beat = time.monotonic()

    def stop(self, within_s: float) -> None:
        """Ends ``run`` when the window is empty, or gives a failing store up after ``within_s``."""
        self._deadline = time.monotonic() + within_s
        self._ahead.stop()

    @property
    def beat(self) -> float:
        """When the slower of the two threads last made progress, on the monotonic clock."""
        return min(self._beat, self._ahead.beat)

    def run(self) -> None:
        """Flushes until stopped. What cannot be written by then stays unacked, so the broker keeps it."""
        self._ahead.start()
        while True:
            self._beat = time.monotonic()
            ended = self._ahead.finished  # before looking for what it left
            batch = self._ahead.next()
            if batch is not None:
                if not self._flush(batch):
                    return
            elif ended:
                return

    def _flush(self, batch: models.Batch) -> bool:
        messages = batch.messages
        started = self._counters.batch_since = time.monotonic()
        self._counters.batch_oldest_at = messages[0].received_at
        result = self._write(batch)
        self._counters.batch_since = self._counters.batch_oldest_at = None
        if result is None:
            return False
        self._window.release(messages)
        self._ack(messages)
        self._count(batch, result, started)
        self._committed(batch, result)
        return True

    def _write(self, batch: models.Batch) -> models.WriteResult | None:
        """The result, or None where the store stayed unavailable until the deadline of ``stop``."""
        delays = backoff.Backoff(0.1, self._settings.database.retry_max_s)
        complain_at = 0.0
        while True:
            self._beat = time.monotonic()
            try:
                result = self._store.write(batch)
            except errors.StoreUnavailable as error:
                self._counters.flush_retries_total += 1
                self._counters.store_available = False
                if time.monotonic() >= complain_at:
                    complain_at = time.monotonic() + _COMPLAIN_EVERY_S
                    _log.error("store.unavailable", error=str(error), hint=error.hint, messages=len(batch.messages))
            else:
                if not self._counters.store_available:
                    self._counters.store_available = True
                    _log.info("store.recovered", attempts=delays.attempts)
                return result
            if not self._wait(delays.next_s()):
                _log.warning("batch.left_to_broker", messages=len(batch.messages))
                return None

    def _wait(self, seconds: float) -> bool:
        """Waits; False once a stop's deadline has passed."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            if time.monotonic() >= self._deadline:
                return False
            self._beat = time.monotonic()
            time.sleep(min(left, 0.1))
        return time.monotonic() < self._deadline

    def _count(self, batch: models.Batch, result: models.WriteResult, started: float) -> None:
        counters = self._counters
        now, ended = dt.datetime.now(dt.UTC), time.monotonic()
        counters.readings_written_total += result.vehicles_written + result.meters_written
        counters.readings_duplicate_total += result.duplicates
        counters.batches_flushed_total += 1
        counters.batches_staged_total += result.staged
        counters.unknown_fields_total += batch.unknown_fields
        for letter in result.dead_letters:
            counters.messages_dead_lettered_total[letter.reason] += 1
        counters.last_flush_ms = (ended - started) * 1000
        counters.last_batch_messages = len(batch.messages)
        counters.lag_s = (now - batch.messages[0].received_at).total_seconds()
        # Arrival times within a batch lie close together: first and last stand for their halves.
        half = len(batch.messages) // 2
        counters.latency.add(counters.lag_s, half)
        newest_s = (now - batch.messages[-1].received_at).total_seconds()
        counters.latency.add(newest_s, len(batch.messages) - half)
        _log.debug(
            "batch.flushed",
            messages=len(batch.messages),
            readings=batch.readings,
            duplicates=result.duplicates,
            dead_letters=len(result.dead_letters),
            ms=round(counters.last_flush_ms, 1),
        )
