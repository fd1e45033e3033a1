"""How long a device is usually quiet, and the limit that follows for a rule on inactivity. Pure.

A driving vehicle reports every ten seconds, a parked one every half hour, a meter every quarter of an hour: one limit
is wrong for some of them. So the limit is two and a half times the second longest interval of the device itself,
driving and otherwise counted apart, between ``fire_above`` and ``fire_above_at_most``; without the latter it is
``fire_above`` for all. (One report may be lost, and a single outage teaches nothing: hence the second longest.) A
vehicle that charges reports every minute and then sleeps. So while it stands its limit is at least
``fire_above_parked``, until its rhythm otherwise than driving has been known for a day. Known intervals halve in a
week, so that a device which is set to report more often is soon known by that.

``sql/queries/rhythm.sql`` computes the same as readings arrive, and ``cycle.inputs`` reads it; ``backtest.episodes``
learns it from stored history with ``Rhythm``. Change both together.
"""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from voltd.rules import model

FACTOR = 2.5
LONG_S = 90.0  # all shorter intervals count as often
_HYSTERESIS = 1.1
_HALF_LIFE_S = 604800.0
_SHOWN = dt.timedelta(days=1)  # a vehicle drives, charges and sleeps within it


class DeviceActivity(NamedTuple):
    """What is known of a device that may be inactive.

    Attributes:
        usual_s: its second longest interval, driving or not as it was last heard; None: not known yet.
        parked: its newest reading says that it stands.
        refused: message of a device of which every message is refused; None: it is not one.
        newly_known: when it was last heard, its rhythm otherwise than driving had been known for less than a day.
    """

    usual_s: float | None = None
    parked: bool = False
    refused: str | None = None
    newly_known: bool = False


def limit_s(rule: model.Rule, usual_s: float | None, *, parked: bool, newly_known: bool = False) -> float:
    """Inactivity longer than this is too long, s."""
    least = rule.fire_above or 0.0
    if parked and (usual_s is None or newly_known):
        least = max(least, rule.fire_above_parked or 0.0)
    return least if usual_s is None else max(least, min(rule.fire_above_at_most or 0.0, FACTOR * usual_s))


def with_limit(rule: model.Rule, activity: DeviceActivity | None) -> model.Rule:
    """The rule with the limit that holds for the device."""
    if activity is None:
        return rule
    limit = limit_s(rule, activity.usual_s, parked=activity.parked, newly_known=activity.newly_known)
    return rule if limit == rule.fire_above else rule.model_copy(update={"fire_above": limit})


class Rhythm:
    """The intervals of one device, driving or not."""

    def __init__(self) -> None:
        self._longest_s: float | None = None
        self._usual_s: float | None = None
        self._noted_at = dt.datetime.max.replace(tzinfo=dt.UTC)
        self._known_since = self._noted_at

    def usual_s(self, at: dt.datetime) -> float | None:
        """The second longest interval, halved every week; None: not known yet."""
        return None if self._usual_s is None else self._usual_s * self._left(at)

    def newly_known(self, at: dt.datetime) -> bool:
        """Whether something has been known for less than a day."""
        return self._longest_s is not None and at - self._known_since < _SHOWN

    def note(self, ended_at: dt.datetime, interval_s: float) -> None:
        """Adds an interval that has ended; in the order of time."""
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
