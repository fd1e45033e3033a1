"""Stand-ins for the broker and the store, for unit tests; each passes the same contract suite as the real one."""

import collections
import datetime as dt
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from voltd import errors, models
from voltd.pipeline.consume.window import Window
from voltd.pipeline.write import fold


class FakeStore:
    """Keeps committed rows in dictionaries; on request it is away or loses the answer of a COMMIT.

    Args:
        other: a store of the same tables, on a connection of its own.
    """

    def __init__(self, other: "FakeStore | None" = None) -> None:
        self.vehicles: dict[tuple[str, dt.datetime], Any] = other.vehicles if other else {}  # rows by their table's key
        self.meters: dict[tuple[str, dt.datetime], Any] = other.meters if other else {}
        self.dead_letters: list[models.DeadLetter] = other.dead_letters if other else []
        self.failures: collections.deque[str] = collections.deque()
        self._unanswered: tuple[models.Batch, models.WriteResult] | None = None
        self._earlier: list[models.WriteResult] = []

    def fail(self, *failures: str) -> None:
        """The next writes: 'unavailable' (nothing committed) or 'unanswered' (committed, but the reply is lost)."""
        self.failures.extend(failures)

    def write(self, batch: models.Batch) -> models.WriteResult:
        if self._unanswered:
            (given_up, result), self._unanswered = self._unanswered, None
            if given_up is batch:
                return result
            self._earlier.append(result)
        failure = self.failures.popleft() if self.failures else None
        if failure == "unavailable":
            raise errors.StoreUnavailable("away, as requested")
        result = models.WriteResult(dead_letters=list(batch.dead_letters))
        result.vehicles_written = _insert(self.vehicles, batch.vehicles, batch.vehicle_sources, batch, result)
        result.meters_written = _insert(self.meters, batch.meters, batch.meter_sources, batch, result)
        known = result.filled + result.conflicting
        result.duplicates = batch.readings - result.vehicles_written - result.meters_written - known
        for letter in result.dead_letters:
            there = [left.message for left in self.dead_letters if _key(left) == _key(letter)]
            if there and (letter.message.redelivered or letter.message.received_at in {m.received_at for m in there}):
                result.dead_letters_there.append(letter)
            else:
                self.dead_letters.append(letter)
        if failure == "unanswered":
            self._unanswered = (batch, result)
            raise errors.CommitUnknown("reply lost, as requested")
        result.earlier, self._earlier = self._earlier, []
        return result

    def late_results(self) -> list[models.WriteResult]:
        if self._unanswered:
            self._earlier.append(self._unanswered[1])
            self._unanswered = None
        found, self._earlier = self._earlier, []
        return found


def _insert(
    table: dict[tuple[str, dt.datetime], Any],
    rows: Sequence[Any],
    sources: Sequence[tuple[int, int | None]],
    batch: models.Batch,
    result: models.WriteResult,
) -> int:
    """One after the other, as if each came alone: what the real store does at once must come to the same."""
    new = 0
    for row, (index, element) in zip(rows, sources, strict=True):
        there = table.setdefault((row[0], row[1]), row)
        if there is row:
            new += 1
            continue
        both = fold.fold([there, row])
        table[row[0], row[1]] = both.rows[0]
        if both.conflicts:
            other = both.conflicts[1]
            message = batch.messages[index]
            letter = models.DeadLetter(message, message.payload, models.Reason.CONFLICT, ", ".join(other), element)
            result.dead_letters.append(letter)
            result.effective[id(row)] = fold.changed(row, dict.fromkeys(other))
        result.filled += bool(both.added)
        result.conflicting += bool(both.conflicts) and not both.added
    return new


def _key(letter: models.DeadLetter) -> tuple[Any, ...]:
    return (letter.message.packet_id, letter.message.topic, letter.payload, letter.element, letter.field)


class FakeBroker:
    """One persistent session at QoS 1: a queue, a window of unacked messages, redelivery on connect."""

    def __init__(self, receive_maximum: int) -> None:
        self._receive_maximum = receive_maximum
        self._queue: collections.deque[tuple[str, bytes]] = collections.deque()
        self._in_flight: dict[int, tuple[str, bytes]] = {}
        self._next_id = 1
        self._connection = 0
        self._deliver: Callable[[models.Message], object] | None = None

    def publish(self, topic: str, payload: bytes) -> None:
        self._queue.append((topic, payload))
        self._pump()

    def connect(self, window: Window) -> None:
        """A new connection: what is unacked comes again with DUP, then what is queued."""
        if self._connection:
            window.reconnected()
        self._connection += 1
        self._deliver = window.put
        for packet_id, (topic, payload) in self._in_flight.items():
            self._send(packet_id, topic, payload, redelivered=True)
        self._pump()

    def disconnect(self) -> None:
        self._deliver = None

    def ack(self, messages: Iterable[models.Message]) -> None:
        """As ``Consumer.ack``: acks of an earlier connection mean nothing."""
        for message in messages:
            if message.connection == self._connection and self._deliver:
                del self._in_flight[message.packet_id]
        self._pump()

    def _pump(self) -> None:
        while self._deliver and self._queue and len(self._in_flight) < self._receive_maximum:
            packet_id, self._next_id = self._next_id, self._next_id % 65535 + 1
            self._in_flight[packet_id] = self._queue.popleft()
            self._send(packet_id, *self._in_flight[packet_id], redelivered=False)

    def _send(self, packet_id: int, topic: str, payload: bytes, *, redelivered: bool) -> None:
        assert self._deliver is not None
        self._deliver(
            models.Message(
                topic,
                payload,
                packet_id,
                dt.datetime.now(dt.UTC),
                redelivered=redelivered,
                connection=self._connection,
                size=len(payload),
            )
        )


def body(number: int) -> bytes:
    """The payload of one reading, measured so many seconds ago."""
    at = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=number)
    return json.dumps({"timestamp": at.isoformat(), "soc": number % 100}).encode()
