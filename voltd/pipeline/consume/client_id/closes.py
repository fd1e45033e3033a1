"""Detects from the ends of our own connections that another client uses our client id. Pure; used by the session.

A broker that accepts a second client with the same id closes the first one's connection. The reason should be 0x8E
(session taken over), but some brokers reset the connection or send another reason, so every connection that ends right
after CONNACK counts.
"""

from __future__ import annotations

import collections

SHORT_S = 5.0  # a connection that ends sooner
_WITHIN_S = 60.0
_CONTESTED = 2
# One of two daemons yields within two seconds, while the pauses between our attempts grow. A single takeover may be
# an earlier connection of our own, whose CONNECT was delayed by the network.
_HOPELESS = 6


class Closes:
    """The latest ends of connections that we did not close ourselves."""

    def __init__(self) -> None:
        self._suspicious: collections.deque[float] = collections.deque(maxlen=_CONTESTED)
        self._takeovers: collections.deque[float] = collections.deque(maxlen=_HOPELESS)
        self._now = 0.0

    def note(self, now: float, *, stood_s: float, taken_over: bool) -> None:
        """Records the end of a connection.

        Args:
            now: seconds of the monotonic clock.
            stood_s: how long it lasted after CONNACK.
            taken_over: whether the broker gave the reason session taken over.
        """
        self._now = now
        if taken_over:
            self._takeovers.append(now)
        if taken_over or stood_s < SHORT_S:
            self._suspicious.append(now)

    @property
    def contested(self) -> bool:
        """Whether another client may have the client id, so that asking is worth while."""
        return self._are_close(self._suspicious)

    @property
    def hopeless(self) -> bool:
        """Whether the session was taken over so often that two clients must be evicting each other."""
        return self._are_close(self._takeovers)

    def _are_close(self, ends: collections.deque[float]) -> bool:
        return len(ends) == ends.maxlen and self._now - ends[0] < _WITHIN_S
