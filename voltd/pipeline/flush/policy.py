"""What ``flush`` and the drain need to know of the settings."""

from __future__ import annotations

from typing import NamedTuple

from voltd import config


class Policy(NamedTuple):
    """How batches are made, and what happens while the store is away.

    Attributes:
        max_messages: of a batch.
        max_bytes: of payload in a batch.
        linger_s: how long a batch waits for more messages.
        retry_max_s: the longest pause between two attempts to write.
        spool_after_s: so long the store has to be away before messages go into the spool.
        dead_letters: limits of the circuit breaker.
    """

    max_messages: int
    max_bytes: int
    linger_s: float
    retry_max_s: float
    spool_after_s: float
    dead_letters: config.DeadLetters


def of(settings: config.Settings) -> Policy:
    """As the settings have it."""
    batch = settings.batch
    return Policy(
        max_messages=settings.max_batch_messages,
        max_bytes=batch.max_bytes,
        linger_s=batch.linger_ms / 1000,
        retry_max_s=settings.database.retry_max_s,
        spool_after_s=settings.spool.after_s,
        dead_letters=settings.dead_letters,
    )
