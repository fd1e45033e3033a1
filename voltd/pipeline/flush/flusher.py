"""Flush: takes the batch that has grown meanwhile, hands it to ``write``, and acks after COMMIT.

One thread, and ``flush.ahead``'s beside it. The batch policy is group commit: whatever has arrived when the previous
COMMIT returned is the next batch. At a transient failure of the store the batch is kept and the window stays
closed; if it lasts, the messages go into the spool. A batch is acked once, whole, or not at all.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable
from typing import Protocol

import structlog

from voltd import backoff, errors, metrics, models
from voltd.host import host_clock
from voltd.pipeline.consume import window
from voltd.pipeline.decode import clock, decoder
from voltd.pipeline.flush import ahead, circuit_breaker, outage, policy
from voltd.pipeline.spool import file

_log = structlog.get_logger()

_COMPLAIN_EVERY_S = 30.0
_HALTED_HINT = (
    "nothing more is taken: look at voltd dead-letters list; to continue, systemctl reload voltd (SIGHUP);"
    " limits: dead_letters.*"
)
_CLOCK_HINT = (
    f"messages are held until it is right: {host_clock.ADVICE}; to continue with the clock as it is, systemctl reload"
    " voltd (SIGHUP)"
)


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

    def late_results(self) -> list[models.WriteResult]:
        """What became of batches that were not given again after ``CommitUnknown``, as far as they are stored.

        Each result once, here or as ``earlier`` of the next batch's. Costs nothing where no COMMIT is open.

        Raises:
            StoreUnavailable: it is still unknown; call again.
        """
        ...


class Flusher:
    """The loop between window and store; ``run`` is its thread.

    Args:
        window: where messages wait.
        decoder: the pure step from messages to a batch.
        store: where batches are made durable.
        policy: of batches and of waiting.
        counters: this thread writes the ``readings_*``, ``batches_*`` and dead letter ones.
        outage: shared with the drain; whether the store is away, and where messages go.
        ack: called with the batch's messages after COMMIT, in the order received.
        committed: called with batch and result after COMMIT; must not block or raise.
        spool: where messages go while the store stays away; None: they stay with the broker.
        clock_guard: says when this host's clock is wrong; None: it is trusted.
    """

    def __init__(
        self,
        window: window.Window,
        decoder: decoder.Decoder,
        store: Store,
        policy: policy.Policy,
        counters: metrics.Metrics,
        *,
        outage: outage.Outage,
        ack: Callable[[list[models.Message]], None],
        committed: Callable[[models.Batch, models.WriteResult], None] = lambda _batch, _result: None,
        spool: file.SpoolFile | None = None,
        clock_guard: clock.ClockGuard | None = None,
    ) -> None:
        self._window = window
        self._ahead = ahead.DecodeAhead(window, decoder, policy)
        self._store = store
        self._policy = policy
        self._counters = counters
        self._outage = outage
        self._ack = ack
        self._committed = committed
        self._spool = spool
        self._clock_guard = clock_guard
        self._breaker = circuit_breaker.CircuitBreaker(policy.dead_letters)
        self._resumed = threading.Event()
        self._deadline = float("inf")
        self._beat = time.monotonic()

    def stop(self, within_s: float) -> None:
        """Ends ``run`` when the window is empty, or gives a failing store up after ``within_s``."""
        self._deadline = time.monotonic() + within_s
        self._ahead.stop()

    def resume(self) -> None:
        """Continues after the stream was stopped: an admin has looked. For another thread."""
        self._resumed.set()

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
            else:
                self._count_late()

    def _count_late(self) -> None:
        """Counts a batch that went into the spool though the store had committed it; to be called between batches."""
        if self._outage.spooling:
            return
        try:
            for result in self._store.late_results():
                self._counters.count(result)
        except errors.StoreUnavailable as error:
            _log.debug("commit.not_looked_up", error=str(error))

    def _flush(self, batch: models.Batch) -> bool:
        started = self._counters.batch_since = time.monotonic()
        self._counters.batch_oldest_at = batch.messages[0].received_at
        timed = self._pass_clock(batch)
        if timed is not None:
            batch = timed
            self._counters.batch_oldest_at = batch.messages[0].received_at
        messages = batch.messages
        kept = timed is not None and self._pass_breaker(batch) and self._keep(batch, started)
        self._counters.batch_since = self._counters.batch_oldest_at = None
        if kept:
            self._window.release(messages)
            self._ack(messages)
        return kept

    def _pass_clock(self, batch: models.Batch) -> models.Batch | None:
        """Holds a batch while this host's clock is wrong; returns it with corrected times, or None if stopped before.

        Devices whose clocks are right dated these messages: with a wrong clock they would all become dead letters.
        """
        guard = self._clock_guard
        if guard is None:
            return batch
        batch = guard.corrected(batch)
        if (suspicion := guard.evaluate(batch)) is None:
            return batch
        self._resumed.clear()
        complain_at = 0.0
        while suspicion is not None:
            self._counters.clock_hold = str(suspicion)
            if time.monotonic() >= complain_at:
                complain_at = time.monotonic() + _COMPLAIN_EVERY_S
                _log.error("clock.wrong", error=self._counters.clock_hold, hint=_CLOCK_HINT)
            self._beat = time.monotonic()
            if self._deadline < float("inf"):  # the store would refuse it
                _log.warning("batch.left_to_broker", messages=len(batch.messages))
                return None
            if self._resumed.wait(0.1):
                self._resumed.clear()
                guard.accept()
            batch, suspicion = guard.again(batch, suspicion)
        self._counters.clock_hold = ""
        _log.warning("messages.resumed")
        return batch

    def _pass_breaker(self, batch: models.Batch) -> bool:
        """Holds a batch that exceeds the limits of dead letters until an admin has looked; False: stopped before."""
        problem = self._breaker.evaluate(batch)
        if problem is None:
            return True
        self._counters.halted = problem
        self._resumed.clear()
        complain_at = 0.0
        while not self._resumed.is_set():
            if time.monotonic() >= complain_at:
                complain_at = time.monotonic() + _COMPLAIN_EVERY_S
                _log.error("messages.halted", error=problem, hint=_HALTED_HINT)
            if not self._wait(0.1):
                return False
        self._breaker.reset()
        self._counters.halted = ""
        _log.warning("messages.resumed")
        return True

    def _keep(self, batch: models.Batch, started: float) -> bool:
        """Makes the batch durable, in the store or in the spool; False if neither did until the deadline."""
        delays = backoff.Backoff(0.1, self._policy.retry_max_s)
        complain_at = 0.0
        behind = self._belongs_behind(batch)
        while True:
            self._beat = time.monotonic()
            try:
                if self._spool is not None and (self._outage.spooling or behind):
                    self._put(self._spool, batch)
                else:
                    self._write(batch, started)
            except errors.StoreUnavailable as error:
                self._counters.flush_retries_total += 1
                spool = self._spool is not None and time.monotonic() - started >= self._policy.spool_after_s
                self._outage.store_failed(spool=spool)
                if time.monotonic() >= complain_at:
                    complain_at = time.monotonic() + _COMPLAIN_EVERY_S
                    _log.error("store.unavailable", error=str(error), hint=error.hint, messages=len(batch.messages))
                if spool:
                    continue
            except errors.SpoolUnavailable as error:
                _log.error("spool.unavailable", error=str(error), hint=error.hint, messages=len(batch.messages))
                behind = False
                self._outage.spool_failed()
            else:
                return True
            if not self._wait(delays.next_s()):
                _log.warning("batch.left_to_broker", messages=len(batch.messages))
                return False

    def _belongs_behind(self, batch: models.Batch) -> bool:
        """Whether the spool may hold the first delivery of a message: in the store a redelivery has to come second."""
        return bool(self._spool and self._spool.messages) and any(message.redelivered for message in batch.messages)

    def _write(self, batch: models.Batch, started: float) -> None:
        result = self._store.write(batch)
        self._outage.store_answered()
        self._count(batch, result, started)
        self._committed(batch, result)

    def _put(self, spool: file.SpoolFile, batch: models.Batch) -> None:
        before = spool.messages
        spool.put(batch.messages, batch.readings)
        self._counters.messages_spooled_total += len(batch.messages)
        if not before:
            _log.warning("spool.begun", file=str(spool.file), hint="readings are stored when the database is back")

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
        counters.count(result)
        log_decoded(counters, batch)
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


def log_decoded(counters: metrics.Metrics, batch: models.Batch) -> None:
    """Counts what was decoded beside readings, and logs what is new: fields that no reading has, ids of two devices."""
    for device_type, device_id, topics in counters.note_shared_ids(batch):
        _log.warning(
            "device.id_shared",
            device=f"{device_type} {device_id}",
            topics=topics,
            hint="two devices measure under one id, and their readings are mixed: give one of them another id",
        )
    for name, meant in counters.note_decoded(batch):
        if meant:
            _log.warning("field.unknown", field=name, hint=f"{name}: did you mean {meant}?")
        else:
            _log.info("field.unknown", field=name, hint="voltd ignores it")
