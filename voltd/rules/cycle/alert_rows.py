"""Outcomes as rows: of ``volt.alert``, and of the outbox for each channel that wants a transition.

Part of ``persistence``. Pure.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

from voltd.rules import message, observation, rule_state, scope
from voltd.rules.cycle import interfaces

_SENT_OFFLINE = "sent while the database was away"


@dataclasses.dataclass
class AlertRow:
    """A row of ``volt.alert`` to insert or, with its number, to change; and its new transitions."""

    rule: str
    device: scope.Device
    opened_at: dt.datetime
    severity: str
    last_seen_at: dt.datetime
    peak_value: float | None = None
    resolved_at: dt.datetime | None = None
    message: str | None = None
    alert_id: int | None = None
    transitions: list[rule_state.Transition] = dataclasses.field(default_factory=list)

    @property
    def key(self) -> tuple[str, str, str, dt.datetime]:
        """Identifies the episode."""
        return (self.rule, self.device.device_type, self.device.device_id, self.opened_at)

    def apply(self, transition: rule_state.Transition) -> None:
        """Changes the row by a transition of its episode."""
        self.transitions.append(transition)
        self.severity = transition.severity.value
        self.last_seen_at, self.peak_value = transition.last_seen_at, transition.peak_value
        self.resolved_at = transition.resolved_at
        self.message = message.text(transition, self.device)

    def changed(self) -> dict[str, Any]:
        """The columns that change, and the number."""
        return {
            "alert_id": self.alert_id,
            "severity": self.severity or None,
            "last_seen_at": text(self.last_seen_at),
            "peak_value": self.peak_value,
            "resolved_at": text(self.resolved_at),
            "message": self.message,
        }

    def inserted(self) -> dict[str, Any]:
        """All columns."""
        return {
            **self.changed(),
            "rule": self.rule,
            "device_type": self.device.device_type,
            "device_id": self.device.device_id,
            "fleet_id": self.device.fleet_id,
            "opened_at": text(self.opened_at),
        }

    def deliveries(
        self, channels: Sequence[interfaces.NotificationTarget], notifier: interfaces.Notifier
    ) -> Iterable[dict[str, Any]]:
        """Rows of the outbox; those that were sent from memory while the database was away are sent already."""
        for one in self.transitions:
            kind, severity, quiet = one.kind.value, one.severity.value, one.suppressed
            ends = one.kind is rule_state.TransitionKind.RESOLVED
            for channel in channels:
                wanted = channel.wants(
                    severity=severity, rule=self.rule, fleet_id=self.device.fleet_id, transition=kind, quiet=quiet
                )
                # The end goes where the begin went, though the device may be in another fleet now, or the channel
                # have other rules.
                if wanted or (ends and channel.wants_end(quiet=quiet)):
                    sent_at = notifier.sent_at(channel.name, (*self.key, kind, severity))
                    yield {
                        "alert_id": self.alert_id,
                        "channel": channel.name,
                        "if_begun": not wanted,
                        "transition": kind,
                        "quiet": quiet,
                        "severity": severity,
                        "message": message.text(one, self.device),
                        **({"status": "sent", "sent_at": text(sent_at), "result": _SENT_OFFLINE} if sent_at else {}),
                    }


def of(outcome: observation.Outcome, alert_id: int | None) -> tuple[list[AlertRow], list[AlertRow]]:
    """The episodes that an outcome opens or changes, and the past ones that it found.

    Args:
        outcome: of one rule and device.
        alert_id: of the episode that was open before; None: none was.
    """
    found: list[AlertRow] = []
    past: list[AlertRow] = []
    current: AlertRow | None = None
    for one in outcome.transitions:
        if one.kind is rule_state.TransitionKind.RECORDED:
            past.append(_row(outcome, one))
        elif one.kind is rule_state.TransitionKind.FIRED or current is None:
            current = _row(outcome, one)
            current.alert_id = None if one.kind is rule_state.TransitionKind.FIRED else alert_id
            found.append(current)
        else:
            current.apply(one)
    after = outcome.state
    if after.phase is rule_state.Phase.FIRING and after.last_seen_at is not None:
        if current is None and alert_id is not None:
            opened_at = after.opened_at or after.last_seen_at
            current = AlertRow(outcome.rule, outcome.device, opened_at, "", after.last_seen_at, alert_id=alert_id)
            found.append(current)
        if current is not None:
            current.last_seen_at, current.peak_value = after.last_seen_at, after.peak_value
            if outcome.message_change is not None:
                current.message = message.text(outcome.message_change, outcome.device)
    return found, past


def _row(outcome: observation.Outcome, one: rule_state.Transition) -> AlertRow:
    row = AlertRow(outcome.rule, outcome.device, one.opened_at, one.severity.value, one.last_seen_at)
    row.apply(one)
    return row


def text(at: dt.datetime | None) -> str | None:
    """A time as JSON has it."""
    return None if at is None else at.isoformat()
