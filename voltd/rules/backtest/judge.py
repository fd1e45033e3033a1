"""Rules over the past of one device, reading by reading: what a daemon would have raised. Pure.

Called by ``history``, which reads the past in order. Judging is ``step``'s and ``silence``'s own; what is here keeps
their states, divides what came in time from what came too late, and puts transitions together to episodes. A reading
goes in only where it can change something, so a long calm past costs next to nothing.
"""

from __future__ import annotations

import bisect
import collections
import datetime as dt
import math
import types
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from voltd.rules import charging as chargings
from voltd.rules import confirm, model, rhythm, scope, silence
from voltd.rules import state as states
from voltd.rules import step as steps

# A row of history: vehicle, recorded_at, received_at, these three, charging status.
COLUMNS = (model.Metric.SOC_PCT, model.Metric.SPEED_KMH, model.Metric.BATTERY_TEMP_C)
_FIRST = 3
_SPEED = _FIRST + COLUMNS.index(model.Metric.SPEED_KMH)
_WORD = _FIRST + len(COLUMNS)

_ALWAYS = dt.datetime.min.replace(tzinfo=dt.UTC)  # an outage is not known here
_INSTANT = dt.timedelta(microseconds=1)
_MINUTE = dt.timedelta(minutes=1)


class Episode(NamedTuple):
    """What would have been a row of ``volt.alert``.

    Attributes:
        severity: the worst it had.
        resolved_at: None where it was still open at the end of the period.
        past: its readings came too late to tell anybody.
        messages: how often it would have been told to a channel that wants everything, without repeats.
    """

    rule: str
    device: scope.Device
    severity: model.Severity
    opened_at: dt.datetime
    last_seen_at: dt.datetime
    resolved_at: dt.datetime | None
    peak_value: float | None
    past: bool
    messages: int


class _Telling:
    """Episodes out of the transitions of one rule and device, in order."""

    def __init__(self, device: scope.Device) -> None:
        self._device = device
        self._messages = 0
        self.episodes: list[Episode] = []

    def add(self, told: Iterable[states.Transition]) -> None:
        for one in told:
            self._messages += not one.quiet
            if one.kind is states.Kind.RESOLVED:
                self.episodes.append(self._episode(one, one.resolved_at))
                self._messages = 0

    def leave_open(self, last: states.Transition) -> None:
        self.episodes.append(self._episode(last, None))

    def _episode(self, last: states.Transition, resolved_at: dt.datetime | None) -> Episode:
        return Episode(
            last.rule, self._device, last.severity, last.opened_at, last.last_seen_at, resolved_at, last.peak_value,
            past=False, messages=self._messages,
        )  # fmt: skip


class Tracker:
    """One rule that watches values, and one device. Readings come in the order of ``recorded_at``.

    Args:
        rule: in the form that holds for the device.
        device: whom it judges.

    Attributes:
        metric: what the rule watches.
        charging: the words that its file has for charging; None: it does not matter to the rule.
        below, above: while it is not ``active``, a value in between changes nothing and need not be added.
        active: an excursion is running; every reading counts.
        confirms: a reading may wait to be confirmed; every reading says how often the device reports (``note``).
    """

    def __init__(self, rule: model.Rule, device: scope.Device) -> None:
        self._rule, self._device = rule, device
        self._late_after = dt.timedelta(seconds=rule.late_after_s)
        self._state = self._past = states.State()
        self.metric = rule.metric
        self.charging = rule.charging if rule.clear_when_charging else None
        self._telling, self._late = _Telling(device), _Telling(device)
        self._times: collections.deque[tuple[dt.datetime, dt.datetime]] = collections.deque(maxlen=confirm.LOOKS_BACK)
        self._past_at: dt.datetime | None = None
        self._came_late: list[dt.datetime] = []
        self.confirms = rule.alone_after_intervals > 0
        self.below = -math.inf if rule.fire_below is None else rule.fire_below
        self.above = math.inf if rule.fire_above is None else rule.fire_above
        self.active = False

    def note(self, recorded_at: dt.datetime, received_at: dt.datetime) -> None:
        """A reading with a value, before it is added."""
        self._times.append((recorded_at, received_at))

    def add(self, one: steps.Measured) -> None:
        """Judges one reading."""
        if self.confirms and one.value is not None and self._rule.over(one.value):
            one = one._replace(interval_s=confirm.interval_s(self._times))
        if self._past_at is not None and one.recorded_at - self._past_at > steps.PAST_GAP:
            self._end_past()
        self._past_at = one.recorded_at
        self._past, told = steps.run(self._rule, self._past, (one,))  # the past is evaluated as a whole
        self._late.add(told)
        if one.received_at - one.recorded_at > self._late_after:
            self._state = confirm.contradict(self._rule, self._state, one.recorded_at, one.value)
            self._came_late.append(one.recorded_at)
        else:
            self._state, told = steps.run(self._rule, self._state, (one,))
            self._telling.add(told)
        self.active = not (self._state.idle and self._past.idle)

    def end(self, now: dt.datetime) -> list[Episode]:
        """Its episodes, once all readings up to ``now`` have been added."""
        self._state, told = steps.step(self._rule, self._state, (), now, heard_since=_ALWAYS)
        self._telling.add(told)
        if self._state.phase is states.Phase.FIRING:
            at = self._state.last_seen_at or now
            self._telling.leave_open(states.transition(states.Kind.FIRED, self._rule, self._state, at, None))
        self._end_past()
        found = self._telling.episodes
        late = [
            one._replace(past=True, messages=0, severity=self._worst(one))
            for one in self._late.episodes
            if self._has_late(one)
        ]
        return found + [one for one in late if not any(_meet(one, other) for other in found)]

    def _end_past(self) -> None:
        """What is running in the past ends with its last reading."""
        if self._past.unconfirmed_at is not None:
            self._past, told = confirm.alone(self._rule, self._past)
            self._late.add(told)
        if self._past.phase is states.Phase.FIRING and self._past.last_seen_at is not None:
            end = self._past.clear_at or self._past.last_seen_at
            self._late.add((states.resolve(self._rule, self._past, end, None, states.Cause.CLEARED)[1],))
        self._past = states.State()

    def _has_late(self, one: Episode) -> bool:
        place = bisect.bisect_left(self._came_late, one.opened_at)
        return place < len(self._came_late) and self._came_late[place] <= one.last_seen_at

    def _worst(self, one: Episode) -> model.Severity:
        """Of a past episode: as bad as its peak."""
        return one.severity if one.peak_value is None else self._rule.severity_of(one.peak_value)


def add_rows(
    trackers: Iterable[Tracker],
    rows: Iterable[tuple[Any, ...]],
    begun: Mapping[chargings.Charging, dt.datetime] = types.MappingProxyType({}),
    begins: dt.datetime | None = None,
) -> None:
    """Readings of one vehicle, in order of corrected time.

    Args:
        trackers: of the rules, of several files maybe.
        rows: all readings from the first that matters on, and some before; see ``COLUMNS``.
        begun: when a word on charging that still holds was said before them, by the words of a file.
        begins: what is before this only says how often the vehicle reports.
    """
    wanted = [(COLUMNS.index(one.metric) + _FIRST, one) for one in trackers]
    files = {one.charging for _, one in wanted if one.charging is not None}
    known = {words: chargings.Known(words, begun.get(words)) for words in files}
    charging: dict[chargings.Charging | None, bool] = {None: False}
    for row in rows:
        for column, tracker in wanted:
            if tracker.confirms and row[column] is not None:
                tracker.note(row[1], row[2])
        if begins is not None and row[1] < begins:
            continue
        for words, one in known.items():
            charging[words] = one.read(row[1], row[_WORD], row[_SPEED])
        for column, tracker in wanted:
            value = row[column]
            if tracker.active or (value is not None and not tracker.below <= value <= tracker.above):
                tracker.add(
                    steps.Measured(row[1], row[2], value, charging[tracker.charging], worded=row[_WORD] is not None)
                )


def _meet(one: Episode, other: Episode) -> bool:
    """As the check does it: a past episode is no other one than that which was told."""
    begins_before = other.resolved_at is None or one.opened_at <= other.resolved_at
    return begins_before and (one.resolved_at is None or one.resolved_at >= other.opened_at)


class Gap(NamedTuple):
    """A sign of life, and the next one.

    Attributes:
        seen_at: the sign of life.
        next_at: the next one; None: there was none until the end of the period.
        driving: the vehicle drove at ``seen_at``.
        parked: it said then that it stood.
        counts: the interval is one of those from which the device's rhythm is learnt.
    """

    seen_at: dt.datetime
    next_at: dt.datetime | None
    driving: bool = False
    parked: bool = False
    counts: bool | None = True


def silences(rule: model.Rule, device: scope.Device, gaps: Iterable[Gap], end: dt.datetime) -> list[Episode]:
    """The episodes of a rule that watches silence.

    Args:
        rule: in the form that holds for the device.
        device: whom it judges.
        gaps: in order: those that may be too long, and those from which something is learnt.
        end: of the period.
    """
    state, telling = states.State(), _Telling(device)
    rhythms, as_written = (rhythm.Rhythm(), rhythm.Rhythm()), rule
    for gap in gaps:
        seen_at, next_at = gap.seen_at, gap.next_at
        known = rhythms[gap.driving]
        rule = rhythm.stretched(
            as_written, rhythm.Heard(known.usual_s(seen_at), gap.parked, lately=rhythms[False].lately(seen_at))
        )
        if gap.counts and next_at is not None:
            known.note(next_at, (next_at - seen_at).total_seconds())
        state, told = silence.step(rule, state, seen_at, seen_at, seen_at)  # where the last gap's sign was not enough
        telling.add(told)
        until = next_at or end + _INSTANT  # a sign of life is heard before the rule is asked; the end is not one
        limits = {rule.fire_above or 0.0, *(one.above for one in rule.severity_steps if one.above is not None)}
        for limit_s in sorted(limits):
            now = _first_active(rule, seen_at + dt.timedelta(seconds=limit_s) + _INSTANT, until)
            if now is not None:
                state, told = silence.step(rule, state, seen_at, now, seen_at)
                telling.add(told)
        if next_at is not None:
            state, told = silence.step(rule, state, next_at, next_at, next_at)
            telling.add(told)
        elif state.phase is states.Phase.FIRING:
            last = states.transition(states.Kind.FIRED, rule, state, end, None)
            silent_s = (end - seen_at).total_seconds()
            telling.leave_open(last._replace(last_seen_at=end, peak_value=max(silent_s, state.peak_value or 0.0)))
    return telling.episodes


def _first_active(rule: model.Rule, begin: dt.datetime, end: dt.datetime) -> dt.datetime | None:
    """The first time in [begin, end) at which the rule may fire; active hours begin and end with a minute."""
    at = begin
    while at < end:
        if rule.active_hours is None or rule.active_hours.contain(at):
            return at
        at = at.replace(second=0, microsecond=0) + _MINUTE
    return None
