"""A check without a database: voltd judges itself, from memory, and tells at once.

Part of ``check``, for the time in which there is neither a table of states nor an outbox. What comes of it is kept and
written by the first check that has a database again; what was not told by then is told from there. A daemon that is
killed meanwhile forgets it: then the outage is told once more.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from voltd.daemon import health
from voltd.rules import evaluate, message, state
from voltd.rules.cycle import daemons


class Told(NamedTuple):
    """What is told without a row in the outbox."""

    rule: str
    severity: str
    device_type: str
    device_id: str
    transition: str
    message: str
    opened_at: dt.datetime
    resolved_at: dt.datetime | None


class OfflineMode:
    """The daemon's own states during an outage of the database.

    Args:
        instance: this daemon.
        tell: sends something at once; must not block.
    """

    def __init__(self, instance: str, tell: Callable[[Sequence[Told]], None]) -> None:
        self._device: evaluate.Key = ("system", instance)
        self._tell = tell
        self._outcomes: dict[evaluate.StateKey, evaluate.Outcome] = {}
        self._began_with: dict[evaluate.StateKey, dt.datetime | None] = {}

    def outcomes(self, remembered: Mapping[evaluate.StateKey, state.State]) -> list[evaluate.Outcome]:
        """What is to be written on top of what the database remembers.

        Where the database has an episode open that was not known here (this daemon has been restarted meanwhile), or
        not the one that was (another daemon has ended it), the database is right and nothing is to be written.
        """
        return [
            one
            for key, one in self._outcomes.items()
            if _episode(remembered.get(key, state.State())) == self._began_with[key]
        ]

    def forget(self) -> bool:
        """It has been written; whether there was anything."""
        had = bool(self._outcomes)
        self._outcomes, self._began_with = {}, {}
        return had

    def judge(
        self,
        plan: evaluate.Plan,
        remembered: Mapping[evaluate.StateKey, state.State],
        report: health.Report,
        now: dt.datetime,
        note: str = "",
    ) -> None:
        """Judges this daemon as it is now; ``note`` is what it has to say of it."""
        row = evaluate.Observation(*self._device, now, now, ingest_lag_s=report.lag_s, spooling=report.spooling)
        states = {key: one for key, one in remembered.items() if key[1:] == self._device}
        states |= {key: one.state for key, one in self._outcomes.items()}
        row = daemons.in_order(row, states)
        devices = daemons.noted({self._device[1]: note})
        for outcome in plan.check([row], devices, {}, states, now=now, healthy_since=None):
            key = outcome.key
            before = self._outcomes.get(key)
            told = (*before.transitions, *outcome.transitions) if before else outcome.transitions
            self._outcomes[key] = outcome._replace(transitions=told)
            self._began_with.setdefault(key, _episode(states.get(key, state.State())))
            if outcome.transitions:
                self._tell([_told(one, outcome) for one in outcome.transitions])


def _episode(one: state.State) -> dt.datetime | None:
    """The open episode, by its begin; None: none is open."""
    return one.opened_at if one.phase is state.Phase.FIRING else None


def _told(told: state.Transition, outcome: evaluate.Outcome) -> Told:
    device = outcome.device
    return Told(
        outcome.rule,
        told.severity.value,
        device.device_type,
        device.device_id,
        told.kind.value,
        message.text(told, device),
        told.opened_at,
        told.resolved_at,
    )
