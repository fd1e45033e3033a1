"""The daemons of a database as the rules see them: a row for each, and whether silence is the devices' own.

Part of ``check``. Pure; the ages come from the database's clock, as the daemons' hosts may not agree on the time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from voltd.rules import evaluate, scope, state

_DEAD_S = 30.0
# A dead daemon's devices are not heard, and its share waits for it at the broker: nobody is called silent meanwhile.
# But one that does not come back must not hide for ever who is.
_GIVEN_UP_S = 3600.0
_STEP, _LATER = dt.timedelta(seconds=1), dt.timedelta(milliseconds=1)

Daemon = tuple[str, float, float, bool, bool, float | None]


class Daemons(NamedTuple):
    """What ``judge`` finds.

    Attributes:
        rows: one for each daemon.
        healthy: all of them hear their devices, as far as they are expected to come back.
        unwell_s: how many seconds ago one of them last did not; None: never as far as they know.
    """

    rows: list[evaluate.Observation]
    healthy: bool
    unwell_s: float | None


def judge(daemons: Iterable[Daemon], states: Iterable[evaluate.StateKey], now: dt.datetime) -> Daemons:
    """The daemons at the time of a check.

    Args:
        daemons: instance, seconds since it reported, lag, spooling, healthy, seconds since it was not (None: never).
            One that has not reported for 30 s is dead: it lags as long; after an hour nobody waits for it.
        states: a daemon with a state that is not among them was taken out of service: it lags no more.
        now: the time of the check.
    """
    rows: list[evaluate.Observation] = []
    healthy, ago = True, []
    for instance, reported_s, lag_s, spooling, well, unwell_s in daemons:
        dead = reported_s > _DEAD_S
        lag = max(lag_s, reported_s) if dead else lag_s
        rows.append(evaluate.Observation("system", instance, now, now, ingest_lag_s=lag, spooling=spooling))
        if dead:
            healthy = healthy and reported_s > _GIVEN_UP_S
        else:
            healthy = healthy and well
            ago += [] if unwell_s is None else [unwell_s]
    there = {row.device_id for row in rows}
    gone = {key[2] for key in states if key[1] == "system"} - there
    rows += [evaluate.Observation("system", one, now, now, ingest_lag_s=0.0) for one in gone]
    return Daemons(rows, healthy, min(ago, default=None))


def in_order(row: evaluate.Observation, known: Mapping[evaluate.StateKey, state.State]) -> evaluate.Observation:
    """A row dated by this host's clock: after what was judged before, though the clock may have stepped back since."""
    judged = [one.judged_at for key, one in known.items() if key[1:] == row[:2] and one.judged_at is not None]
    newest = max(judged, default=row.recorded_at)
    return row if newest - row.recorded_at < _STEP else row._replace(recorded_at=newest + _LATER)


def noted(notes: Mapping[str, str]) -> dict[evaluate.Key, scope.Device]:
    """Daemons with something to say beside their figures; by instance."""
    return {("system", name): scope.Device("system", name, note=note) for name, note in notes.items() if note}
