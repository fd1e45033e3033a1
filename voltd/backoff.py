"""Waiting between attempts: exponential with full jitter, used towards the broker and the database."""

from __future__ import annotations

import random


class Backoff:
    """Delays in seconds: random between half and all of a ceiling that doubles from ``first_s`` up to ``max_s``."""

    def __init__(self, first_s: float, max_s: float) -> None:
        self._first_s, self._max_s = first_s, max_s
        self.attempts = 0

    def next_s(self) -> float:
        """The next delay; counts an attempt."""
        ceiling = min(self._max_s, self._first_s * 2.0 ** min(self.attempts, 32))
        self.attempts += 1
        return ceiling * random.uniform(0.5, 1.0)  # noqa: S311 jitter, not a secret

    def reset(self) -> None:
        """The last attempt succeeded."""
        self.attempts = 0
