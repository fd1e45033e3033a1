"""How much a cache may hold: entries and bytes, as a stream of invented topics or names must not fill the memory."""

from __future__ import annotations

from typing import Any

_ENTRY_BYTES = 200  # of the objects around a key and a value, about


class Room:
    """The bounds of one cache, a dict that its owner reads as it is.

    Args:
        most: entries.
        most_bytes: of what they hold.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._bytes = 0

    def take(self, cache: dict[Any, Any], size: int) -> bool:
        """Makes room for one more entry of so many bytes, if need be by clearing the cache; False: it is too large."""
        size += _ENTRY_BYTES
        if size * 100 > self._most_bytes:  # hardly anybody else would have room
            return False
        if len(cache) >= self._most or self._bytes + size > self._most_bytes:
            cache.clear()
            self._bytes = 0
        self._bytes += size
        return True
