"""What ``voltd status`` says of the delivery of alerts; the workers count."""

from __future__ import annotations

import threading


class Counters:
    """Counts since the start; safe from any thread.

    Attributes:
        alerts_sent_total: transitions that a channel has taken.
        deliveries_failed_total: attempts to send that failed.
    """

    def __init__(self) -> None:
        self.alerts_sent_total = 0
        self.deliveries_failed_total = 0
        self._failing: set[str] = set()
        self._lock = threading.Lock()

    @property
    def channels_failing(self) -> list[str]:
        """The channels whose last attempt failed."""
        with self._lock:
            return sorted(self._failing)

    def is_failing(self, name: str) -> bool:
        """Whether the last attempt on this channel failed."""
        with self._lock:
            return name in self._failing

    def sent(self, name: str, alerts: int) -> None:
        """A channel took a message of so many."""
        with self._lock:
            self.alerts_sent_total += alerts
            self._failing.discard(name)

    def worked(self, name: str) -> None:
        """A channel took something that is no news."""
        with self._lock:
            self._failing.discard(name)

    def failed(self, name: str) -> None:
        """It did not."""
        with self._lock:
            self.deliveries_failed_total += 1
            self._failing.add(name)

    def forget(self, name: str) -> None:
        """There is no such channel any more."""
        with self._lock:
            self._failing.discard(name)
