"""Every counter of the daemon, declared once with a sentence.

Each counter has one writer (the thread that owns the step) and any number of readers. Most are plain integers without a
lock: a reader may be one update behind. Two threads count committed batches, by ``count``. ``voltd status`` and the log
show ``snapshot``.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import threading
import time

from voltd import hints, models, readings

_MOST_NAMES = 200  # of unknown fields
_MOST_SHOWN = 20
_NOT_PLAIN = frozenset(
    {"messages_dead_lettered_total", "fields_dead_lettered_total", "unknown_names", "shared_ids", "latency"}
    | {"batch_since"}
    | {"batch_oldest_at", "_lock"}
)


class Latency:
    """How long messages waited between arrival and COMMIT: a histogram with bins 10 % apart, 0.1 ms to ~20 min."""

    _BINS = 172
    _GROWTH = 1.1
    _LEAST_S = 1e-4

    def __init__(self) -> None:
        self._counts = [0] * self._BINS
        self._edges = [self._LEAST_S * self._GROWTH**index for index in range(self._BINS)]

    def add(self, seconds: float, count: int = 1) -> None:
        """Counts ``count`` messages that waited ``seconds``."""
        low, high = 0, self._BINS - 1
        while low < high:
            middle = (low + high) // 2
            if self._edges[middle] < seconds:
                low = middle + 1
            else:
                high = middle
        self._counts[low] += count

    def percentiles_ms(self, *shares: float) -> list[float]:
        """Upper edges, in ms, of the bins that hold these shares of all messages; 0.0 without messages."""
        counts = self._counts.copy()
        total = sum(counts)
        found = []
        for share in shares:
            left, value = share * total, 0.0
            for edge, count in zip(self._edges, counts, strict=True):
                left -= count
                if count and left <= 0:
                    value = edge * 1000
                    break
            found.append(round(value, 2))
        return found


@dataclasses.dataclass
class Metrics:
    """Counters since the daemon's start, and the last values of its gauges."""

    messages_received_total: int = 0  # messages taken from the broker, redeliveries included
    messages_redelivered_total: int = 0  # of these, with the DUP flag
    readings_written_total: int = 0  # readings committed to a hypertable
    readings_filled_total: int = 0  # readings that added values to a row of the same device and time
    readings_duplicate_total: int = 0  # readings whose values were there already
    batches_flushed_total: int = 0  # transactions committed
    batches_staged_total: int = 0  # of these, through the staging table
    flush_retries_total: int = 0  # attempts that failed transiently
    unknown_fields_total: int = 0  # payload fields that no reading has
    ignored_fields_total: int = (
        0  # values that stand for none (limits.ignore, a position of 0, 0), or need an unknown one
    )
    signs_of_life_total: int = 0  # readings in which nothing was measured
    passed_over_total: int = 0  # messages that neither measure nor say anything of now, as retained ones without a time
    broker_connects_total: int = 0  # accepted connections
    session_lost_total: int = 0  # connections without the expected session
    acks_voided_total: int = 0  # acks of a connection that had ended: the broker sends these messages again
    messages_spooled_total: int = 0  # messages acked because the spool has them
    dropped_total: int = 0  # messages acked and then lost, in a damaged spool
    messages_dead_lettered_total: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    # By "reason field": fields that were left out of readings, which were stored without them if anything was left.
    fields_dead_lettered_total: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    # By name, with the field that was probably meant or "": fields that no reading has. A bounded number of names.
    unknown_names: dict[str, str] = dataclasses.field(default_factory=dict)
    # By "type id", with a topic of each: ids under which two devices measure. A bounded number of ids.
    shared_ids: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    in_flight: int = 0  # messages taken from the broker and not acked
    last_flush_ms: float = 0.0  # decode to COMMIT of the last batch
    last_batch_messages: int = 0
    lag_s: float = 0.0  # age of the oldest message of the last batch at its COMMIT
    store_available: bool = True
    halted: str = ""  # why nothing is taken until a reload; empty: messages are taken
    clock_hold: str = ""  # why messages wait until this host's clock is right; empty: they do not
    clock: str = ""  # what is wrong with this host's clock, by the database or the host itself; empty: nothing known
    readings_spooled: int = 0  # readings in the spool now, which the store does not have yet
    spool_bytes: int = 0  # what they take on disk
    alerts_open: int = 0  # episodes, as of the last evaluation cycle; 0 if another daemon leads
    alerts_sent_total: int = 0  # transitions that a channel has taken
    units_in_doubt: int = 0  # devices with an open alert on units; 0 if another daemon leads
    unit_in_doubt: str = ""  # one of them, with the words; empty: there is none
    deliveries_failed_total: int = 0  # failed attempts to notify
    channels_failing: list[str] = dataclasses.field(default_factory=list)  # whose last attempt failed, by name in order
    # Jobs of TimescaleDB that failed or are overdue, by name; None: this daemon does not lead, or the edition has none.
    timescaledb_jobs_failing: list[str] | None = None
    batch_since: float | None = None  # monotonic time at which the current batch was taken; None: there is none
    batch_oldest_at: dt.datetime | None = None  # when its oldest message arrived
    latency: Latency = dataclasses.field(default_factory=Latency)
    _lock: threading.Lock = dataclasses.field(default_factory=threading.Lock, repr=False)

    def count(self, result: models.WriteResult) -> None:
        """Counts what became of a committed batch. May be called from any thread."""
        for earlier in result.earlier:
            self.count(earlier)
        with self._lock:
            self.readings_written_total += result.vehicles_written + result.meters_written
            self.readings_filled_total += result.filled
            self.readings_duplicate_total += result.duplicates
            self.batches_flushed_total += 1
            self.batches_staged_total += result.staged
            self._count_letters(result.dead_letters, 1)
            self._count_letters(result.dead_letters_there, -1)

    def _count_letters(self, letters: list[models.DeadLetter], step: int) -> None:
        for letter in letters:
            if letter.partial:
                self.fields_dead_lettered_total[f"{letter.reason} {letter.field}"] += step
            else:
                self.messages_dead_lettered_total[letter.reason] += step

    def note_decoded(self, batch: models.Batch) -> list[tuple[str, str]]:
        """Counts what was decoded beside readings and dead letters. May be called from any thread.

        Returns:
            unknown fields that were not seen before, by name, with the one that was probably meant or "".
        """
        new: list[tuple[str, str]] = []
        with self._lock:
            self.unknown_fields_total += batch.unknown_fields
            self.ignored_fields_total += batch.ignored_fields
            self.signs_of_life_total += batch.signs_of_life
            self.passed_over_total += batch.passed_over
            for device_type, written in batch.unknown_names:
                if len(self.unknown_names) >= _MOST_NAMES:
                    break
                name = hints.name(written)
                if name not in self.unknown_names:
                    meant = hints.near(written, readings.known_names(device_type)) or ""
                    self.unknown_names[name] = meant
                    new.append((name, meant))
        return new

    def note_shared_ids(self, batch: models.Batch) -> list[models.SharedId]:
        """Takes the ids under which two devices measure; those that were not known. May be called from any thread."""
        new: list[models.SharedId] = []
        with self._lock:
            for one in batch.shared_ids:
                name = f"{one.device_type} {one.device_id}"
                if name not in self.shared_ids and len(self.shared_ids) < _MOST_NAMES:
                    self.shared_ids[name] = one.topics
                    new.append(one)
        return new

    def count_delivery(self, channel: str, transitions: int) -> None:
        """The channel took so many transitions; 0: it works, or there is no such channel. Any thread may call it."""
        with self._lock:
            self.alerts_sent_total += transitions
            self.channels_failing = [name for name in self.channels_failing if name != channel]

    def count_failed_delivery(self, channel: str) -> None:
        """An attempt to notify this channel failed. May be called from any thread."""
        with self._lock:
            self.deliveries_failed_total += 1
            self.channels_failing = sorted({*self.channels_failing, channel})

    def snapshot(self) -> dict[str, object]:
        """The counters as JSON-ready values."""
        values: dict[str, object] = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in _NOT_PLAIN
        }
        values["channels_failing"] = ", ".join(self.channels_failing)
        with self._lock:
            values["messages_dead_lettered_total"] = {
                str(reason): count for reason, count in self.messages_dead_lettered_total.items()
            }
            values["fields_dead_lettered_total"] = dict(self.fields_dead_lettered_total.most_common(_MOST_SHOWN))
            # Those first that look like a mistake.
            named = sorted(self.unknown_names.items(), key=lambda one: not one[1])
            values["unknown_names"] = dict(named[:_MOST_SHOWN])
            values["shared_ids_total"] = len(self.shared_ids)
            values["shared_ids"] = dict(list(self.shared_ids.items())[:_MOST_SHOWN])
        values["latency_p50_ms"], values["latency_p99_ms"] = self.latency.percentiles_ms(0.50, 0.99)
        return values


class Rate:
    """Turns a growing counter into a rate per second between two readings of it."""

    def __init__(self) -> None:
        self._value, self._at = 0, time.monotonic()

    def update(self, value: int) -> float:
        """Per second since the last call."""
        now = time.monotonic()
        rate = (value - self._value) / max(now - self._at, 1e-9)
        self._value, self._at = value, now
        return rate
