"""Whether a vehicle is charging: which words mean it, and how long a word is valid. Pure.

The table ``[charging]`` of rules.toml. ``load`` hands it to the rules with ``clear_when_charging``. ``cycle.pieces``
(live) and ``backtest.episodes`` (``voltd rules test``) use the same ``ChargingTracker``, so both agree.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from pydantic import Field

from voltd import status_words
from voltd.rules import scope

_Word = Annotated[str, Field(min_length=1, max_length=32)]


class Charging(scope.TomlTable):
    """The words, and when one is no longer valid.

    Attributes:
        charging_words: what a vehicle reports while energy goes into its battery; case and outer blanks do not matter.
        plugged_words: what it reports while it is plugged in and takes nothing; for charging sessions alone.
        unplugged_words: what it reports once it is unplugged; for charging sessions alone.
        charging_stale_s: a word older than this (device time, s) is ignored.
        moving_above_kmh: a vehicle that is faster is not charging, whatever it reported before.
    """

    charging_words: tuple[_Word, ...] = status_words.CHARGING
    plugged_words: tuple[_Word, ...] = status_words.PLUGGED
    unplugged_words: tuple[_Word, ...] = status_words.UNPLUGGED
    charging_stale_s: Annotated[float, Field(gt=0, le=86400)] = 21600.0
    moving_above_kmh: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5.0

    def means_charging(self, word: str) -> bool:
        """Whether the word means that energy goes into the battery; being plugged in is not enough."""
        return word.strip().casefold() in {one.strip().casefold() for one in self.charging_words}


class ChargingTracker:
    """Whether one vehicle is charging, reading by reading in the order of their corrected time.

    Args:
        charging: the words.
        since: time of a valid word for charging before the first reading; None: there is none.
    """

    def __init__(self, charging: Charging, since: dt.datetime | None = None) -> None:
        self._words = {one.strip().casefold() for one in charging.charging_words}
        self._stale = dt.timedelta(seconds=charging.charging_stale_s)
        self._moving_kmh = charging.moving_above_kmh
        self._since = since

    def read(self, at: dt.datetime, word: str | None, speed_kmh: float | None) -> bool:
        """Adds a reading and returns whether the vehicle is charging as of it."""
        if word is not None:
            self._since = at if word.strip().casefold() in self._words else None
        if speed_kmh is not None and speed_kmh > self._moving_kmh:
            self._since = None
        return self._since is not None and at - self._since <= self._stale
