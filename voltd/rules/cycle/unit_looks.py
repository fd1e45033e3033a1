"""Looks whether the values of devices are in the unit that they should be in, a few devices in each cycle.

Part of ``inputs``. A device that is heard is looked at every quarter of an hour at most: those with an alert first,
then those that were never looked at, then those whose look is longest ago. When each was looked at is forgotten with
the daemon. An alert resolves by a proof of the field that it names.
"""

from __future__ import annotations

import datetime as dt
import itertools
import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import psycopg

from voltd.database import queries
from voltd.readings import DeviceType
from voltd.rules import model, observation, rule_state, scope
from voltd.rules.cycle import daemon_health
from voltd.unit_proof import compare, proof

AT_ONCE = 3
_AGAIN_S = 900.0
_LIST_EVERY_S, _LISTED_FOR_S = 60.0, 600.0  # a list that is done, and one that is not
_MOST_LISTED = 1800  # as many as there are cycles in ten minutes, times AT_ONCE

_Connection = psycopg.Connection[Any]


class _Due(NamedTuple):
    device_type: scope.DeviceType
    device_id: str
    recorded_at: dt.datetime  # newest reading when it was listed

    @property
    def key(self) -> observation.DeviceKey:
        return self[:2]


class Looked(NamedTuple):
    """What a cycle has seen: a row for each device that is suspected or cleared, and the words of suspicions."""

    rows: list[observation.Observation]
    words: dict[observation.DeviceKey, str]


class UnitLooks:
    """Looks at devices, one after the other.

    Args:
        rules: those in force; without one that watches units nothing is looked at.
    """

    def __init__(self, rules: Iterable[model.Rule]) -> None:
        self._rules = [rule.name for rule in rules if rule.metric is model.Metric.UNIT_FACTOR]
        self._looked_at: dict[observation.DeviceKey, float] = {}
        self._due: list[_Due] = []
        self._listed_at = float("-inf")

    def read(
        self, connection: _Connection, states: observation.States, now: dt.datetime, clock_s: float, *, busy: bool
    ) -> Looked:
        """Looks at the next few.

        Args:
            connection: in the cycle's transaction.
            states: all of them.
            now: the time of the cycle.
            clock_s: monotonic seconds.
            busy: it can wait.
        """
        if busy or not self._rules:
            return Looked([], {})
        if clock_s - self._listed_at >= (_LISTED_FOR_S if self._due else _LIST_EVERY_S):
            self._listed_at = clock_s
            self._list(connection, states, now, clock_s)
        these, self._due = self._due[:AT_ONCE], self._due[AT_ONCE:]
        self._looked_at.update((one.key, clock_s) for one in these)
        found = Looked([], {})
        for key, verdicts in _verdicts(connection, these):
            known = self._of_device(states, key)
            factor = _factor(verdicts, known)
            if factor is not None:
                row = observation.Observation(*key, now, now, unit_factor=factor)
                found.rows.append(daemon_health.after_evaluated(row, known))
            if words := "; ".join(one.words for one in verdicts if one.words):
                found.words[key] = words
        return found

    def _list(self, connection: _Connection, states: observation.States, now: dt.datetime, clock_s: float) -> None:
        wanted = {"since": now - dt.timedelta(seconds=_AGAIN_S)}
        heard = [_Due(*one) for one in connection.execute(queries.text("devices_heard_last"), wanted)]
        looked_at, self._looked_at = self._looked_at, {}
        never = float("-inf")
        for one in heard:
            if one.key in looked_at:
                self._looked_at[one.key] = looked_at[one.key]
        alerting = {key[1:] for key in states if key[0] in self._rules}
        due = [one for one in heard if clock_s - self._looked_at.get(one.key, never) >= _AGAIN_S]
        due.sort(key=lambda one: (one.key not in alerting, self._looked_at.get(one.key, never)))
        self._due = due[:_MOST_LISTED]

    def _of_device(self, states: observation.States, key: observation.DeviceKey) -> dict[observation.StateKey, Any]:
        return {one: states[one] for name in self._rules if (one := (name, *key)) in states}


def _verdicts(
    connection: _Connection, these: Iterable[_Due]
) -> Iterator[tuple[observation.DeviceKey, list[compare.Verdict]]]:
    for device_type in DeviceType:
        of_type = [one for one in these if one.device_type == device_type]
        if not of_type:
            continue
        oldest = min(one.recorded_at for one in of_type)
        wanted = {"ids": [one.device_id for one in of_type], "oldest": oldest}
        rows = connection.execute(queries.text(f"{device_type.value}_units"), wanted, binary=True)
        for device_id, values in itertools.groupby(rows, operator.itemgetter(0)):
            given = proof.series(device_type, (one[1:] for one in values))
            yield (device_type.value, device_id), proof.verdicts(device_type, given)


def _factor(
    verdicts: Iterable[compare.Verdict], states: Mapping[observation.StateKey, rule_state.State]
) -> float | None:
    """The largest factor; 1 where the field that an alert names is right; None: nothing is known."""
    every = list(verdicts)
    wrong = [one.deviation for one in every if one.words]
    if wrong:
        return max(wrong)
    right = {one.field for one in every}
    notes = [one.note for one in states.values() if one.phase is rule_state.Phase.FIRING]
    return 1.0 if any(note is None or note.split(" ", 1)[0] in right for note in notes) else None
