"""The daemons of a database as the rules see them: a row for each, and whether inactivity is the devices' own.

Part of ``cycle``. Pure; the ages are by the database's clock, as the daemons' hosts may not agree on the time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from voltd.rules import observation, scope
from voltd.rules.cycle import interfaces

_DEAD_S = 30.0
# A dead daemon's devices are not heard, and its share waits for it at the broker: no device counts as inactive
# meanwhile. But a daemon that does not come back must not hide inactive devices for ever.
_GIVEN_UP_S = 3600.0
_RESTART = dt.timedelta(seconds=60)
_STEP, _LATER = dt.timedelta(seconds=1), dt.timedelta(milliseconds=1)

Daemon = tuple[str, float, float, bool, bool, float | None]


class DaemonHealth(NamedTuple):
    """What ``assess`` finds.

    Attributes:
        rows: one for each daemon.
        healthy: all daemons hear their devices, except those that are given up.
        unwell_s: how many seconds ago one of them last did not; None: never as far as they know.
    """

    rows: list[observation.Observation]
    healthy: bool
    unwell_s: float | None


def assess(daemons: Iterable[Daemon], states: Iterable[observation.StateKey], now: dt.datetime) -> DaemonHealth:
    """The daemons at the time of a cycle.

    Args:
        daemons: instance, seconds since it reported, lag, spooling, healthy, seconds since it was not (None: never).
            One that has not reported for 30 s is dead: it lags as long. After an hour it is given up.
        states: a daemon with a state that is not among them was taken out of service: it no longer lags.
        now: the time of the cycle.
    """
    rows: list[observation.Observation] = []
    healthy, ago = True, []
    for instance, reported_s, lag_s, spooling, well, unwell_s in daemons:
        dead = reported_s > _DEAD_S
        lag = max(lag_s, reported_s) if dead else lag_s
        rows.append(observation.Observation("system", instance, now, now, ingest_lag_s=lag, spooling=spooling))
        if dead:
            healthy = healthy and reported_s > _GIVEN_UP_S
        else:
            healthy = healthy and well
            ago += [] if unwell_s is None else [unwell_s]
    there = {row.device_id for row in rows}
    gone = {key[2] for key in states if key[1] == "system"} - there
    rows += [observation.Observation("system", one, now, now, ingest_lag_s=0.0) for one in gone]
    return DaemonHealth(rows, healthy, min(ago, default=None))


def after_evaluated(row: observation.Observation, states: observation.States) -> observation.Observation:
    """A row dated by this host's clock, moved after what was evaluated: the clock may have stepped back since."""
    every = [one.evaluated_at for key, one in states.items() if key[1:] == row[:2] and one.evaluated_at is not None]
    newest = max(every, default=row.recorded_at)
    return row if newest - row.recorded_at < _STEP else row._replace(recorded_at=newest + _LATER)


def with_notes(notes: Mapping[str, str]) -> dict[observation.DeviceKey, scope.Device]:
    """Daemons that report something beside their figures; by instance."""
    return {("system", name): scope.Device("system", name, note=note) for name, note in notes.items() if note}


class HealthyStreak:
    """Since when all daemons have been healthy, as the evaluation cycle sees it; None: one is not."""

    def __init__(self) -> None:
        self.since: dt.datetime | None = None
        self._noted = False
        self._starts_until: dt.datetime | None = None

    def note(self, *, healthy: bool, now: dt.datetime, unwell_s: float | None = None) -> None:
        """How it is now. Cycles may be far apart: ``unwell_s`` says what was between two of them.

        Args:
            healthy: all are.
            now: the time of the cycle.
            unwell_s: how many seconds ago one was not; None: not as far as they know.
        """
        self._noted = True
        if healthy:
            self.since = min(self.since or now, now)  # the clock may have stepped back
            if unwell_s is not None:
                self.since = max(self.since, now - dt.timedelta(seconds=unwell_s))
            self._starts_until = None
        elif self._starts_until is None or now > self._starts_until:
            self.since = None

    def resume(self, since: dt.datetime | None, at: dt.datetime | None, now: dt.datetime) -> None:
        """Continues the streak of a daemon that ended a moment ago; does nothing if this one knows more.

        Until this one has heard the broker, a few seconds pass: they are forgiven.
        """
        if not self._noted and at is not None and now - at <= _RESTART:
            self.since, self._starts_until = since, now + interfaces.HICCUP
