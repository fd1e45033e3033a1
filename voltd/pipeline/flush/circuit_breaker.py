"""Circuit breaker: stops the stream when so much is malformed that somebody should look before it is all dead letters.

A broken roll-out turns the stream of a whole fleet into dead letters. ``flush`` asks the circuit breaker about each
batch before it is written; past a limit the batch stays unacked, the broker keeps the rest, and an admin decides. Pure:
no clock, no I/O.
"""

from __future__ import annotations

import collections
import itertools

from voltd import config, models


class CircuitBreaker:
    """Counts messages that are nothing but dead letters, by their share and by the length of their run.

    One broken device must not stop a fleet: the limits hold only where the bad messages came from at least
    ``least_topics`` topics.

    Args:
        limits: the limits; see ``config.DeadLetters``.
    """

    def __init__(self, limits: config.DeadLetters) -> None:
        self._limits = limits
        self.reset()

    def reset(self) -> None:
        """Counts from zero: an admin has looked."""
        self._recent: collections.deque[tuple[int, int, frozenset[str]]] = collections.deque()
        self._seen = self._bad = self._run = 0
        self._topics: collections.Counter[str] = collections.Counter()  # of the bad among the recent, by batches
        self._run_topics: set[str] = set()

    def evaluate(self, batch: models.Batch) -> str | None:
        """Counts the batch; returns a sentence if a limit is passed, else None. To be called once a batch.

        The last ``ratio_over`` messages are counted in whole batches. A batch without dead letters costs the same
        whatever its size.
        """
        bad = _bad(batch) if batch.dead_letters else {}
        count = len(batch.messages)
        topics = frozenset(message.topic for message in bad.values())
        self._recent.append((count, len(bad), topics))
        self._seen += count
        self._bad += len(bad)
        self._topics.update(topics)
        while self._seen - self._recent[0][0] >= self._limits.ratio_over:
            old_count, old_bad, old_topics = self._recent.popleft()
            self._seen -= old_count
            self._bad -= old_bad
            self._topics.subtract(old_topics)
            for topic in old_topics:
                if not self._topics[topic]:
                    del self._topics[topic]
        return self._too_long(batch, bad) or self._too_many()

    def _too_long(self, batch: models.Batch, bad: dict[int, models.Message]) -> str | None:
        run = list(bad.values())
        if len(run) < len(batch.messages):
            self._run, self._run_topics = 0, set()
            run = list(itertools.takewhile(lambda message: id(message) in bad, reversed(batch.messages)))
        self._run += len(run)
        if len(self._run_topics) < self._limits.least_topics:
            self._run_topics.update(message.topic for message in run)
        limit = self._limits.max_run
        if not limit or self._run < limit or len(self._run_topics) < self._limits.least_topics:
            return None
        return f"{self._run} messages in a row are dead letters, dead_letters.max_run = {limit}"

    def _too_many(self) -> str | None:
        limits = self._limits
        if self._seen < limits.ratio_over or self._bad <= limits.max_ratio * self._seen:
            return None
        if len(self._topics) < limits.least_topics:
            return None
        share = f"{self._bad / self._seen:.0%} of the last {self._seen} messages"
        return f"{share} are dead letters, dead_letters.max_ratio = {limits.max_ratio}"


def _bad(batch: models.Batch) -> dict[int, models.Message]:
    """The messages without any reading, by identity; what is only too old is a recording, not malformed."""
    malformed = [
        letter
        for letter in batch.dead_letters
        if (letter.nothing_left or not letter.partial) and letter.reason is not models.Reason.TOO_OLD
    ]
    bad = {id(letter.message): letter.message for letter in malformed}
    if any(letter.element is not None for letter in malformed):  # of an array, which may have good ones too
        for index in {index for index, _ in itertools.chain(batch.vehicle_sources, batch.meter_sources)}:
            bad.pop(id(batch.messages[index]), None)
    return bad
