"""All rules over all devices: which of them have to be evaluated, and the outcomes.

The API for ``cycle``. In every cycle the caller passes what is new and the states, writes the outcomes (states and
episodes in one transaction) and notifies of their transitions. Pure, and quick when nothing happens: a reading enters
``step`` only if it is beyond a limit or its device has a state.

    rules = evaluate.RuleSet(load.load(path))                   # again after SIGHUP; the states continue
    outcomes = rules.evaluate(rows, devices, last_seen, states, now=now, healthy_since=healthy_since)

The caller ensures:

- A cycle gets all new rows of a device or none of them: rows that are older than evaluated ones count as late. To fetch
  only what matters, take ``bounds``: the devices with a row beyond them, or with a state, and then every new row of
  those. A row that may have been evaluated before, without a state that would say so, is passed as ``reread``.
- Of each outcome the state is stored. FIRED opens the episode (rule, device, opened_at), ESCALATED and RESOLVED change
  it; a firing state without a transition may have a new ``last_seen_at`` or ``peak_value``. RECORDED inserts a past
  episode if no episode of that rule and device overlaps [opened_at, resolved_at], so that a redelivered backlog adds
  nothing; it replaces a past episode that lies within it.
- An inactive state may be deleted at once, a resolved one once ``late_after_s`` of its rule have passed since
  ``resolved_at``: until then its ``evaluated_at`` distinguishes late readings from new ones.
- A figure of an hour (efficiency and others) is a row of its own at the end of its hour, with its bounds. Clock skew is
  a row of its own at the time of arrival, since the device's own time is in doubt. Ingest lag is a row of the device
  ("system", <instance>) in every cycle.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from voltd.rules import inactivity, model, observation, one_rule, rhythm, rule_state, scope


class MetricRange(NamedTuple):
    """A value in between cannot fire any rule for any device of the type."""

    metric: model.Metric
    below: float
    above: float


class RuleSet:
    """The rules in force, prepared for many devices. Has no state of its own between cycles."""

    def __init__(self, rules: Iterable[model.Rule]) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._by_type: dict[scope.DeviceType, list[model.Rule]] = {"vehicle": [], "meter": [], "system": []}
        self._inactivity: list[model.Rule] = []
        self._inactivity_names: set[str] = set()
        for rule in self._rules.values():
            if rule.metric is model.Metric.SILENCE:
                self._inactivity.append(rule)
                self._inactivity_names.add(rule.name)
            else:
                for one in rule.applies_to:
                    self._by_type[one].append(rule)
        self._columns = {
            one: [(observation.COLUMN[bound.metric], bound.below, bound.above) for bound in self.bounds(one)]
            for one in self._by_type
        }

    def bounds(self, device_type: scope.DeviceType) -> tuple[MetricRange, ...]:
        """For each metric that is watched on this type, what is beyond any rule's or override's limit."""
        found: dict[model.Metric, MetricRange] = {}
        for variant in (one for rule in self._by_type[device_type] for one in rule.variants()):
            _, below, above = found.get(variant.metric, MetricRange(variant.metric, -math.inf, math.inf))
            found[variant.metric] = MetricRange(
                variant.metric,
                below if variant.fire_below is None else max(below, variant.fire_below),
                above if variant.fire_above is None else min(above, variant.fire_above),
            )
        return tuple(found.values())

    def evaluate(
        self,
        rows: Iterable[observation.Observation],
        devices: Mapping[observation.DeviceKey, scope.Device],
        last_seen: Mapping[observation.DeviceKey, dt.datetime | None],
        states_now: observation.States,
        *,
        now: dt.datetime,
        healthy_since: dt.datetime | None,
        evaluated_at: Mapping[observation.DeviceKey, dt.datetime] | None = None,
        valued_at: Mapping[observation.DeviceKey, Mapping[model.Metric, dt.datetime]] | None = None,
        activity: Mapping[observation.DeviceKey, rhythm.DeviceActivity] | None = None,
    ) -> list[observation.Outcome]:
        """Evaluates what is new.

        Args:
            rows: new readings, in any order; duplicates and retained ones are ignored.
            devices: the registry; a device that is missing is unregistered.
            last_seen: last sign of life of (at least) the devices that may be inactive or have such an alert firing.
            states_now: states as the last outcomes gave them; a rule and device without one are inactive.
            now: not before any ``received_at``.
            healthy_since: since when broker, voltd and database have all been there; None: one of them is not.
            evaluated_at: newest reading evaluated before, of devices without a state, so that late readings do not
                fire. Telemetry only; hourly figures have their own order.
            valued_at: of these the newest that had a value, by metric; a metric that is missing had none.
            activity: of the devices in ``last_seen``; one that is missing has the rule's own limit.
        """
        context = observation.Context(
            devices, states_now, evaluated_at or {}, valued_at or {}, now, healthy_since, activity or {}
        )
        outcomes = self._closed(context)
        closed = {(one.rule, one.device.device_type, one.device.device_id) for one in outcomes}
        done = set(closed)
        for key, found in self._candidates(rows, states_now).items():
            for rule in self._by_type[key[0]]:
                if (state_key := (rule.name, *key)) not in closed:
                    outcomes += one_rule.evaluate(rule, key, found, context)
                    done.add(state_key)
        for state_key, state in states_now.items():
            # No new rows, but a waiting time may have ended.
            if state.waits and state_key not in done and state_key[0] in self._rules:
                outcomes += one_rule.evaluate(self._rules[state_key[0]], state_key[1:], (), context)
        for rule in self._inactivity:
            outcomes += self._inactive_devices(rule, last_seen, context, closed)
        return outcomes

    def _closed(self, context: observation.Context) -> list[observation.Outcome]:
        """Closes states whose rule is off, gone or watches something else now, or no longer applies to the device."""
        found = []
        for state_key, state in context.states.items():
            if state.idle:
                continue
            rule, device = self._rules.get(state_key[0]), context.device(state_key[1:])
            if rule is None or rule.watches != state.watches or rule.for_device(device) is None:
                found.append(
                    observation.Outcome(state_key[0], device, *rule_state.close(state_key[0], state, context.now))
                )
        return found

    def _candidates(
        self, rows: Iterable[observation.Observation], states_now: observation.States
    ) -> dict[observation.DeviceKey, list[observation.Observation]]:
        """The rows of each device that has a state, or a row beyond a bound."""
        every = list(rows)
        wanted: set[observation.DeviceKey] = {
            state_key[1:] for state_key in states_now if state_key[0] not in self._inactivity_names
        }
        wanted.update((row[0], row[1]) for row in every if row.reread or self._may_fire(row))
        found: dict[observation.DeviceKey, list[observation.Observation]] = {}
        for row in every if wanted else ():
            if (row[0], row[1]) in wanted:
                found.setdefault((row[0], row[1]), []).append(row)
        return found

    def _may_fire(self, row: observation.Observation) -> bool:
        values: tuple[Any, ...] = row
        for column, below, above in self._columns[row.device_type]:
            value = values[column]
            if value is not None and (value < below or value > above):
                return True
        return row.spooling

    def _inactive_devices(
        self,
        rule: model.Rule,
        last_seen: Mapping[observation.DeviceKey, dt.datetime | None],
        context: observation.Context,
        closed: set[observation.StateKey],
    ) -> Iterator[observation.Outcome]:
        firing = {key[1:] for key, one in context.states.items() if key[0] == rule.name and not one.idle} & set(
            last_seen
        )
        worsens = any(one.severity_steps for one in rule.variants())
        unchanging = set() if worsens else firing  # notified, and not heard since
        for key in {*firing, *_overdue(rule, last_seen, context)}:
            state_key = (rule.name, *key)
            before = context.states.get(state_key, rule_state.State())
            activity = context.activity.get(key, rhythm.DeviceActivity())
            same = before.evaluated_at == last_seen[key] and before.note == activity.refused
            if state_key in closed or (key in unchanging and same):
                continue
            device = context.device(key)
            form = rule.for_device(device)
            if form is None:
                continue
            form = rhythm.with_limit(form, activity)
            after, transitions, changed = inactivity.evaluate(
                form, before, last_seen[key], context.now, context.healthy_since, note=activity.refused
            )
            if transitions or after != before:
                yield observation.Outcome(rule.name, device, after, transitions, message_change=changed)


def _overdue(
    rule: model.Rule, last_seen: Mapping[observation.DeviceKey, dt.datetime | None], context: observation.Context
) -> list[observation.DeviceKey]:
    """Devices that may have been inactive too long; none while inactivity does not count yet."""
    limits = [one.fire_above for one in rule.variants() if one.fire_above is not None]
    if context.healthy_since is None or not limits:
        return []
    before = context.now - dt.timedelta(seconds=min(limits))
    if before <= context.healthy_since:
        return []
    return [key for key, seen_at in last_seen.items() if seen_at is not None and seen_at < before]
