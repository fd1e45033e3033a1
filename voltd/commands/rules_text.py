"""Rules and episodes as text: a table of rules, a table of episodes, a summary. Pure; used by ``commands``."""

from __future__ import annotations

import collections
import datetime as dt
from collections.abc import Sequence

from voltd import terminal
from voltd.rules import message, model, scope
from voltd.rules.backtest import episodes

RULE_HEAD = ("RULE", "FOR", "FIRES WHEN", "RESOLVES WHEN", "SEVERITY", "")
EPISODE_HEAD = ("OPENED", "LASTED", "RULE", "SEVERITY", "DEVICE", "FLEET", "PEAK", "")


class Summary:
    """Counts the episodes of one rule as they are added."""

    def __init__(self) -> None:
        self.episodes = self.past = self.messages = 0
        self.devices: set[tuple[str, str]] = set()
        self.severities: collections.Counter[str] = collections.Counter()

    def add(self, one: episodes.Episode) -> None:
        """Counts an episode; a past one notifies nobody."""
        self.episodes += 1
        self.past += one.past
        self.messages += one.messages
        self.devices.add((one.device.device_type, one.device.device_id))
        self.severities[one.severity.value] += 1

    def a_day(self, length: dt.timedelta) -> str:
        """Notifications a day, with as many digits as say something."""
        return _a_day(self.messages, length)


class Total:
    """Counts the episodes of all rules of a file."""

    def __init__(self) -> None:
        self.episodes = self.messages = 0
        self.devices: set[tuple[str, str]] = set()

    def add(self, one: Summary | None) -> None:
        """Counts a rule; None: there is no history of its metric."""
        if one is not None:
            self.episodes += one.episodes
            self.messages += one.messages
            self.devices |= one.devices

    def cells(self, length: dt.timedelta) -> tuple[str, ...]:
        """Episodes, devices, notifications a day."""
        return (str(self.episodes), str(len(self.devices)), _a_day(self.messages, length))


def _a_day(messages: int, length: dt.timedelta) -> str:
    rate = messages / (length / dt.timedelta(days=1))
    return f"{rate:.0f}" if rate >= 10 else terminal.figure(rate)  # noqa: PLR2004 two digits are enough


def rule_cells(rule: model.Rule) -> tuple[str, ...]:
    """The cells below ``RULE_HEAD``, for example ``state of charge below 15 %`` and ``over 20 %, or charging``."""
    fires = ("below", rule.fire_below) if rule.fire_below is not None else ("over", rule.fire_above)
    clears = ("over", rule.clear_above) if rule.fire_below is not None else ("below", rule.clear_below)
    subject, unit = message.SUBJECT[rule.metric]

    def bound(sign: str, limit: float | None) -> str:
        return f"{sign} {terminal.figure(limit)}{unit}"

    when = f"{subject} {bound(*fires)}"
    when += f" for {terminal.figure(rule.for_s)} s" if rule.for_s else ""
    when += f", {rule.min_count} times in a row" if rule.min_count > 1 else ""
    if rule.alone_after_intervals:
        when += f" or uncontradicted for {terminal.figure(rule.alone_after_intervals)} intervals"
    when += ", or spool in use" if rule.fire_when_spooling else ""
    when += f", while parked {bound('over', rule.fire_above_parked)}" if rule.fire_above_parked is not None else ""
    if (rule.fire_above_at_most or 0.0) > (rule.fire_above or 0.0):
        when += f", by its own rhythm up to {terminal.figure(rule.fire_above_at_most)}{unit}"
    ends = bound(*clears) if clears[1] is not None else f"not {bound(*fires)}"
    ends = "heard again" if rule.metric is model.Metric.SILENCE else ends
    ends += ", or charging" if rule.clear_when_charging else ""
    ends += f", {terminal.figure(rule.keep_firing_for_s)} s later" if rule.keep_firing_for_s else ""
    severities = [rule.severity.value]
    severities += [
        f"{one.severity.value} {bound(fires[0], _limit(one))}"
        + (f" {one.min_count} times in a row" if one.min_count > 1 else "")
        for one in rule.severity_steps
    ]
    notes = ([] if rule.enabled else ["switched off"]) + _whom(rule)
    if rule.statuses != ("active",):
        notes.append(f"status {'/'.join(rule.statuses)}")
    if rule.active_hours is not None:
        hours = rule.active_hours
        notes.append(f"only {hours.hours} {','.join(hours.days)} {hours.timezone}")
    notes += [_override_line(one) for one in rule.overrides]
    return (rule.name, ", ".join(rule.applies_to), when, ends, ", ".join(severities), ", ".join(notes))


def _limit(step: model.Step) -> float | None:
    return step.below if step.below is not None else step.above


def _whom(named: scope.Scope) -> list[str]:
    lists = (("fleets", named.fleets), ("models", named.models), ("vehicles", named.vehicles), ("meters", named.meters))
    return [f"{name} {'/'.join(values)}" for name, values in lists if values]


def _override_line(one: model.Override) -> str:
    said = []
    for name, value in one.changes.items():
        if isinstance(value, tuple):
            steps = ("/".join(f"{step.severity.value} at {terminal.figure(_limit(step))}" for step in value)) or "none"
            said.append(f"{name} = {steps}")
        elif isinstance(value, bool | str):
            said.append(f"{name} = {str(value).lower()}")
        else:
            said.append(f"{name} = {terminal.figure(value)}")
    return f"but for {' and '.join(_whom(one))}: {' '.join(said)}"


def episode_cells(one: episodes.Episode, end: dt.datetime) -> tuple[str, ...]:
    """The cells below ``EPISODE_HEAD``."""
    lasted = terminal.lasting((one.resolved_at or end) - one.opened_at)
    return (
        terminal.local(one.opened_at),
        lasted if one.resolved_at else f"{lasted}+",
        one.rule,
        one.severity.value,
        f"{one.device.device_type} {one.device.device_id}",
        one.device.fleet_id or "",
        terminal.figure(one.peak_value),
        "too late to notify" if one.past else "",
    )


def not_tested(rule: model.Rule) -> str | None:
    """Why history does not show what the rule watches; None: it does."""
    match rule.metric:
        case model.Metric.INGEST_LAG_S:
            return "not tested, as stored readings do not show how long messages waited"
        case model.Metric.UNIT_FACTOR:
            return "not tested, as units are looked at while devices send; voltd doctor does it as well"
    return None


def notes(rules: Sequence[model.Rule]) -> list[str]:
    """What the episodes of these rules over history do not show."""
    enabled = [rule for rule in rules if rule.variants()]
    found = [f"{rule.name}: {why}" for rule in enabled if (why := not_tested(rule)) is not None]
    found += [
        f"{rule.name}: an outage of voltd or the broker counts as inactivity here, and a retained message as a sign of"
        " life; a duplicate, for the daemon a sign of life, is not stored and does not count"
        for rule in enabled
        if rule.metric is model.Metric.SILENCE
    ]
    return found
