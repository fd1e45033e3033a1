"""Whether another client uses our client id, as far as the ends of our own connections tell. Pure; used by the session.

A broker that accepts a second client of one id closes the first's connection: at best with reason 0x8E (session taken
over), but a reset or any other reason is seen as well, so connections that end right after CONNACK count alike.
"""

from __future__ import annotations

import collections

SHORT_S = 5.0  # a connection that ends sooner
_WITHIN_S = 60.0
_CONTESTED = 2
# Another daemon that we ask yields, or we do, within two seconds, while the pauses between our attempts grow. One
# alone may be an earlier connection of our own, whose CONNECT was held up on a network that was dead.
_HOPELESS = 6


class Closes:
    """The last ends of connections that were not our wish."""

    def __init__(self) -> None:
        self._suspicious: collections.deque[float] = collections.deque(maxlen=_CONTESTED)
        self._takeovers: collections.deque[float] = collections.deque(maxlen=_HOPELESS)
        self._now = 0.0

    def note(self, now: float, *, stood_s: float, taken_over: bool) -> None:
        """A connection has ended.

        Args:
            now: seconds of the monotonic clock.
            stood_s: how long it lasted after CONNACK.
            taken_over: whether the broker said so.
        """
        self._now = now
        if taken_over:
            self._takeovers.append(now)
        if taken_over or stood_s < SHORT_S:
            self._suspicious.append(now)

    @property
    def contested(self) -> bool:
        """Whether there is reason to ask who else has the client id."""
        return self._are_close(self._suspicious)

    @property
    def hopeless(self) -> bool:
        """Whether the broker has said so often that another client takes over that to go on would be a tug of war."""
        return self._are_close(self._takeovers)

    def _are_close(self, ends: collections.deque[float]) -> bool:
        return len(ends) == ends.maxlen and self._now - ends[0] < _WITHIN_S
