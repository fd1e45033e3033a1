"""How long a device is usually quiet, and what that makes of the limit of a rule on silence. Pure.

A driving vehicle speaks every ten seconds, a parked one every half hour, a meter every quarter of an hour: one limit
is wrong for some of them. So the limit is two and a half times the second longest interval of the device itself while
it drove, or did not (one report may be lost, and a single outage teaches nothing), between ``fire_above`` and
``fire_above_at_most``; without the latter it is ``fire_above`` for all. A vehicle that charges speaks every minute and
then sleeps: so while it stands its limit is ``fire_above_parked`` at least, until its rhythm otherwise than driving has
been known for a day. What is known halves in a week, so a device
that is set to speak more often is known by that after a while.

``sql/queries/rhythm.sql`` keeps the same as readings arrive, ``cycle.read`` reads that; ``backtest.judge`` learns it
from stored history with ``Rhythm``. A change here is one there.
"""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from voltd.rules import model

TIMES = 2.5
LONG_S = 90.0  # shorter intervals only make known that a device speaks often
_HYSTERESIS = 1.1
_HALF_LIFE_S = 604800.0
_SHOWN = dt.timedelta(days=1)  # a vehicle drives, charges and sleeps within it


class Heard(NamedTuple):
    """What is known of a device that may be silent.

    Attributes:
        usual_s: its second longest interval, driving or not as it was last heard; None: not known yet.
        parked: its newest reading says that it stands.
        refused: what to say of a device that sends, and of which everything is refused; None: it does not.
        lately: its rhythm otherwise than driving was not known for a day when it was last heard.
    """

    usual_s: float | None = None
    parked: bool = False
    refused: str | None = None
    lately: bool = False


def limit_s(rule: model.Rule, usual_s: float | None, *, parked: bool, lately: bool = False) -> float:
    """Silence longer than this is too long, s."""
    least = rule.fire_above or 0.0
    if parked and (usual_s is None or lately):
        least = max(least, rule.fire_above_parked or 0.0)
    return least if usual_s is None else max(least, min(rule.fire_above_at_most or 0.0, TIMES * usual_s))


def stretched(rule: model.Rule, heard: Heard | None) -> model.Rule:
    """The rule with the limit that holds for the device."""
    if heard is None:
        return rule
    limit = limit_s(rule, heard.usual_s, parked=heard.parked, lately=heard.lately)
    return rule if limit == rule.fire_above else rule.model_copy(update={"fire_above": limit})


class Rhythm:
    """The intervals of one device, driving or not."""

    def __init__(self) -> None:
        self._longest_s: float | None = None
        self._usual_s: float | None = None
        self._noted_at = dt.datetime.max.replace(tzinfo=dt.UTC)
        self._known_since = self._noted_at

    def usual_s(self, at: dt.datetime) -> float | None:
        """The second longest interval, as far as it still counts; None: not known yet."""
        return None if self._usual_s is None else self._usual_s * self._left(at)

    def lately(self, at: dt.datetime) -> bool:
        """Whether something is known, but not for a day yet."""
        return self._longest_s is not None and at - self._known_since < _SHOWN

    def note(self, ended_at: dt.datetime, interval_s: float) -> None:
        """An interval is over; in the order of time."""
        usual_s = self.usual_s(ended_at)
        if usual_s is not None and (interval_s < LONG_S or interval_s <= _HYSTERESIS * usual_s):
            return
        if self._longest_s is None:
            self._longest_s, self._known_since = interval_s, ended_at
        else:
            longest_s = self._longest_s * self._left(ended_at)
            self._usual_s = max(usual_s or 0.0, min(longest_s, interval_s))
            self._longest_s = max(longest_s, interval_s)
        self._noted_at = ended_at

    def _left(self, at: dt.datetime) -> float:
        return float(0.5 ** ((at - self._noted_at).total_seconds() / _HALF_LIFE_S))
