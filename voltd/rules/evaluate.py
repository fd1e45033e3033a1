"""All rules over all devices: which of them have to be judged at all, and what comes of it.

The API for the database side. On every check the caller hands over what is new and what is remembered, writes the
outcomes (state and episodes in one transaction) and sends what they tell. Pure, and quick when nothing happens: a
reading enters ``step`` only where it is beyond a limit or its device has a state.

    plan = evaluate.Plan(load.load(path))                       # again after SIGHUP; the states go on
    outcomes = plan.check(rows, devices, last_seen, states, now=now, healthy_since=healthy_since, judged_at=judged_at)

What the caller has to see to:

- A check gets all new rows of a device or none of them: what is older than rows that were judged is history. To fetch
  only what matters, take ``plan.bounds``: the devices that have a row beyond them, or a state, and then every new row
  of those. A row that may have been judged before, without a state that would say so, is handed over as ``past``.
- Of an outcome write the state. FIRED opens the episode (rule, device, opened_at), ESCALATED and RESOLVED change it; a
  firing state without transition may have a new ``last_seen_at`` or ``peak_value``. RECORDED inserts a past episode
  where no episode of that rule and device meets [opened_at, resolved_at], so a redelivered backlog adds nothing; where
  it meets nothing but a past one within it, it takes its place.
- An inactive state may be deleted at once, a resolved one once ``late_after_s`` of its rule have passed since
  ``resolved_at``: what is late is told from what is new by ``judged_at`` then.
- Efficiency comes as a row of its own at the end of its hour, once a closed hour has quality "ok"; clock skew as a row
  of its own at the time of arrival, as the device's own time is what is in doubt; ingest lag as a row of the device
  ("system", <instance>) at every check.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from voltd.rules import evaluate_rows, model, rhythm, scope, silence
from voltd.rules import state as states

Key = evaluate_rows.Key
StateKey = evaluate_rows.StateKey
Observation = evaluate_rows.Observation
Outcome = evaluate_rows.Outcome


class MetricRange(NamedTuple):
    """A value in between cannot fire any rule for any device of the type."""

    metric: model.Metric
    below: float
    above: float


class Plan:
    """The rules in force, prepared for many devices. It remembers nothing between checks."""

    def __init__(self, rules: Iterable[model.Rule]) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._by_type: dict[scope.DeviceType, list[model.Rule]] = {"vehicle": [], "meter": [], "system": []}
        self._silence: list[model.Rule] = []
        self._silent_rules: set[str] = set()
        for rule in self._rules.values():
            if rule.metric is model.Metric.SILENCE:
                self._silence.append(rule)
                self._silent_rules.add(rule.name)
            else:
                for one in rule.applies_to:
                    self._by_type[one].append(rule)
        self._columns = {
            one: [(evaluate_rows.COLUMN[bound.metric], bound.below, bound.above) for bound in self.bounds(one)]
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

    def check(
        self,
        rows: Iterable[Observation],
        devices: Mapping[Key, scope.Device],
        last_seen: Mapping[Key, dt.datetime | None],
        states_now: Mapping[StateKey, states.State],
        *,
        now: dt.datetime,
        healthy_since: dt.datetime | None,
        judged_at: Mapping[Key, dt.datetime] | None = None,
        valued_at: Mapping[Key, Mapping[model.Metric, dt.datetime]] | None = None,
        heard: Mapping[Key, rhythm.Heard] | None = None,
    ) -> list[Outcome]:
        """Judges what is new.

        Args:
            rows: new readings, in any order; duplicates and retained ones do no harm.
            devices: the registry; who is missing is unregistered.
            last_seen: last sign of life of (at least) the devices that may be silent or have a silence firing.
            states_now: states as the last outcomes gave them; a rule and device without one are inactive.
            now: not before any ``received_at``.
            healthy_since: since when broker, voltd and database have all been there; None: one of them is not.
            judged_at: newest reading judged before, of devices without a state: keeps readings that come out of order
                from firing. Telemetry only; hourly figures have their own order.
            valued_at: of these the newest that had a value, by metric; a metric that is missing had none.
            heard: of those of ``last_seen`` how they usually are; who is missing has the rule's own limit.
        """
        known = evaluate_rows.Known(
            devices, states_now, judged_at or {}, valued_at or {}, now, healthy_since, heard or {}
        )
        outcomes = self._closed(known)
        closed = {(one.rule, one.device.device_type, one.device.device_id) for one in outcomes}
        done = set(closed)
        for key, found in self._candidates(rows, states_now).items():
            for rule in self._by_type[key[0]]:
                if (state_key := (rule.name, *key)) not in closed:
                    outcomes += evaluate_rows.judge(rule, key, found, known)
                    done.add(state_key)
        for state_key, state in states_now.items():
            # Nothing new, but the time for which something was to wait may be over.
            if state.waits and state_key not in done and state_key[0] in self._rules:
                outcomes += evaluate_rows.judge(self._rules[state_key[0]], state_key[1:], (), known)
        for rule in self._silence:
            outcomes += self._silent(rule, last_seen, known, closed)
        return outcomes

    def _closed(self, known: evaluate_rows.Known) -> list[Outcome]:
        """Of rules that are off or gone, or watch something else by now, and of devices they do not judge any more."""
        found = []
        for state_key, state in known.states.items():
            if state.idle:
                continue
            rule, device = self._rules.get(state_key[0]), known.device(state_key[1:])
            if rule is None or rule.watches != state.watches or rule.for_device(device) is None:
                found.append(Outcome(state_key[0], device, *states.close(state_key[0], state, known.now)))
        return found

    def _candidates(
        self, rows: Iterable[Observation], states_now: Mapping[StateKey, states.State]
    ) -> dict[Key, list[Observation]]:
        """The rows of each device that has a state, or a row beyond a bound."""
        every = list(rows)
        wanted: set[Key] = {state_key[1:] for state_key in states_now if state_key[0] not in self._silent_rules}
        wanted.update((row[0], row[1]) for row in every if row.past or self._may_fire(row))
        found: dict[Key, list[Observation]] = {}
        for row in every if wanted else ():
            if (row[0], row[1]) in wanted:
                found.setdefault((row[0], row[1]), []).append(row)
        return found

    def _may_fire(self, row: Observation) -> bool:
        values: tuple[Any, ...] = row
        for column, below, above in self._columns[row.device_type]:
            value = values[column]
            if value is not None and (value < below or value > above):
                return True
        return row.spooling

    def _silent(
        self,
        rule: model.Rule,
        last_seen: Mapping[Key, dt.datetime | None],
        known: evaluate_rows.Known,
        closed: set[StateKey],
    ) -> Iterator[Outcome]:
        firing = {key[1:] for key, one in known.states.items() if key[0] == rule.name and not one.idle} & set(last_seen)
        worsens = any(one.severity_steps for one in rule.variants())
        unchanging = set() if worsens else firing  # told, and not heard since
        for key in {*firing, *_overdue(rule, last_seen, known)}:
            state_key = (rule.name, *key)
            before = known.states.get(state_key, states.State())
            how = known.heard.get(key, rhythm.Heard())
            same = before.judged_at == last_seen[key] and before.note == how.refused
            if state_key in closed or (key in unchanging and same):
                continue
            device = known.device(key)
            form = rule.for_device(device)
            if form is None:
                continue
            form = rhythm.stretched(form, how)
            after, told, said = silence.judge(
                form, before, last_seen[key], known.now, known.healthy_since, note=how.refused
            )
            if told or after != before:
                yield Outcome(rule.name, device, after, told, said=said)


def _overdue(rule: model.Rule, last_seen: Mapping[Key, dt.datetime | None], known: evaluate_rows.Known) -> list[Key]:
    """Devices that may have been silent too long; none while silence does not count yet."""
    limits = [one.fire_above for one in rule.variants() if one.fire_above is not None]
    if known.healthy_since is None or not limits:
        return []
    before = known.now - dt.timedelta(seconds=min(limits))
    if before <= known.healthy_since:
        return []
    return [key for key, seen_at in last_seen.items() if seen_at is not None and seen_at < before]
