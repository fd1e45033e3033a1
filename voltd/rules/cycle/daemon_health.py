"""The daemons of a database as the rules see them: a row for each, and whether inactivity is the devices' own.

Part of ``cycle``. Pure; the ages are by the database's clock, as the daemons' hosts may not agree on the time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from voltd.rules import observation, scope

_DEAD_S = 30.0
# A dead daemon's devices are not heard, and its share waits for it at the broker: no device counts as inactive
# meanwhile. But a daemon that does not come back must not hide inactive devices for ever.
_GIVEN_UP_S = 3600.0
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
