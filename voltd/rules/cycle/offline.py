"""Offline mode: a cycle without a database evaluates this daemon itself, from memory, and notifies at once.

Part of ``cycle``, for the time in which there is neither a table of states nor an outbox. The outcomes are written by
the first cycle that has a database again, and what was not sent by then is sent from the outbox. A daemon that is
killed meanwhile loses them: then the outage is notified once more.
"""

from __future__ import annotations

import datetime as dt

from voltd.rules import evaluate, message, observation, rule_state
from voltd.rules.cycle import daemon_health, interfaces


class OfflineMode:
    """The daemon's own states during an outage of the database.

    Args:
        instance: this daemon.
        notifier: sends at once.
    """

    def __init__(self, instance: str, notifier: interfaces.Notifier) -> None:
        self._device: observation.DeviceKey = ("system", instance)
        self._notifier = notifier
        self._outcomes: dict[observation.StateKey, observation.Outcome] = {}
        self._began_with: dict[observation.StateKey, dt.datetime | None] = {}

    def outcomes(self, states: observation.States) -> list[observation.Outcome]:
        """What is to be written on top of the states in the database.

        If the database has an episode open that was not known here (this daemon was restarted meanwhile), or not the
        one that was (another daemon has ended it), the database is right and nothing is to be written.
        """
        return [
            one
            for key, one in self._outcomes.items()
            if _open_episode(states.get(key, rule_state.State())) == self._began_with[key]
        ]

    def clear(self) -> bool:
        """Drops the outcomes; returns whether there were any."""
        had = bool(self._outcomes)
        self._outcomes, self._began_with = {}, {}
        return had

    def evaluate(
        self,
        rules: evaluate.RuleSet,
        cached: observation.States,
        report: interfaces.Report,
        now: dt.datetime,
        note: str = "",
    ) -> None:
        """Evaluates this daemon as it is now; ``note`` is its own message."""
        row = observation.Observation(*self._device, now, now, ingest_lag_s=report.lag_s, spooling=report.spooling)
        states = {key: one for key, one in cached.items() if key[1:] == self._device}
        states |= {key: one.state for key, one in self._outcomes.items()}
        row = daemon_health.after_evaluated(row, states)
        devices = daemon_health.with_notes({self._device[1]: note})
        for outcome in rules.evaluate([row], devices, {}, states, now=now, healthy_since=None):
            key = outcome.key
            before = self._outcomes.get(key)
            every = (*before.transitions, *outcome.transitions) if before else outcome.transitions
            self._outcomes[key] = outcome._replace(transitions=every)
            self._began_with.setdefault(key, _open_episode(states.get(key, rule_state.State())))
            if outcome.transitions:
                self._notifier.send_now([_notice(one, outcome) for one in outcome.transitions])


def _open_episode(one: rule_state.State) -> dt.datetime | None:
    """The open episode, by its begin; None: none is open."""
    return one.opened_at if one.phase is rule_state.Phase.FIRING else None


def _notice(one: rule_state.Transition, outcome: observation.Outcome) -> interfaces.OfflineNotice:
    device = outcome.device
    return interfaces.OfflineNotice(
        outcome.rule, one.severity.value, device.device_type, device.device_id, one.kind.value,
        message.text(one, device), one.opened_at, one.resolved_at,
    )  # fmt: skip
