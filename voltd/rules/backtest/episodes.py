"""Rules over the stored history of one device, reading by reading: the episodes a daemon would have raised. Pure.

Called by ``history``, which reads the readings in order. ``advance`` and ``inactivity`` evaluate them; this module
keeps their states, separates late readings from those in time, and assembles transitions into episodes. A reading is
added only if it can change something, so a long calm history costs next to nothing.
"""

from __future__ import annotations

import bisect
import collections
import datetime as dt
import math
import types
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from voltd.rules import (
    advance,
    charging_status,
    confirmation,
    hourly,
    inactivity,
    late_episodes,
    metric_value,
    model,
    rhythm,
    rule_state,
    scope,
)

# A row of history: vehicle, recorded_at, received_at, the values of model.TELEMETRY, charging status.
_FIRST = 3
_SPEED = _FIRST + model.TELEMETRY.index(model.Metric.SPEED_KMH)
_WORD = _FIRST + len(model.TELEMETRY)

_ALWAYS = dt.datetime.min.replace(tzinfo=dt.UTC)  # history knows of no outage
_INSTANT = dt.timedelta(microseconds=1)
_MINUTE = dt.timedelta(minutes=1)


class Episode(NamedTuple):
    """A row that ``volt.alert`` would have had.

    Attributes:
        severity: the worst it had.
        resolved_at: None if it was still open at the end of the period.
        past: its readings arrived too late to notify anybody.
        messages: notifications to a channel that wants everything, without repeats.
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


class _EpisodeBuilder:
    """Assembles the transitions of one rule and device, in order, into episodes."""

    def __init__(self, device: scope.Device) -> None:
        self._device = device
        self._messages = 0
        self.episodes: list[Episode] = []

    def add(self, transitions: Iterable[rule_state.Transition]) -> None:
        for one in transitions:
            self._messages += not one.suppressed
            if one.kind is rule_state.TransitionKind.RESOLVED:
                self.episodes.append(self._episode(one, one.resolved_at))
                self._messages = 0

    def leave_open(self, last: rule_state.Transition) -> None:
        self.episodes.append(self._episode(last, None))

    def _episode(self, last: rule_state.Transition, resolved_at: dt.datetime | None) -> Episode:
        return Episode(
            last.rule, self._device, last.severity, last.opened_at, last.last_seen_at, resolved_at, last.peak_value,
            past=False, messages=self._messages,
        )  # fmt: skip


class Tracker:
    """One rule that watches values, and one device. Readings come in the order of ``recorded_at``.

    Args:
        rule: in the form that holds for the device.
        device: the device it is evaluated for.

    Attributes:
        metric: what the rule watches.
        charging: the words for charging in its file; None: charging does not matter to the rule.
        below, above: while not ``active``, a value in between changes nothing and need not be added.
        active: an excursion is running; every reading counts.
        confirms: a reading may wait to be confirmed; every reading shows how often the device reports (``note``).
    """

    def __init__(self, rule: model.Rule, device: scope.Device) -> None:
        self._rule, self._device = rule, device
        self._late_after = dt.timedelta(seconds=rule.late_after_s)
        self._state = self._whole = rule_state.State()  # as readings arrived in time; of all readings
        self.metric = rule.metric
        self.charging = rule.charging if rule.clear_when_charging else None
        self._in_time, self._all = _EpisodeBuilder(device), _EpisodeBuilder(device)
        self._times: collections.deque[tuple[dt.datetime, dt.datetime]] = collections.deque(
            maxlen=confirmation.LOOKS_BACK
        )
        self._newest_at: dt.datetime | None = None
        self._late_at: list[dt.datetime] = []
        self.confirms = rule.alone_after_intervals > 0
        self.below = -math.inf if rule.fire_below is None else rule.fire_below
        self.above = math.inf if rule.fire_above is None else rule.fire_above
        self.active = False

    def note(self, recorded_at: dt.datetime, received_at: dt.datetime) -> None:
        """A reading with a value, before it is added."""
        self._times.append((recorded_at, received_at))

    def add(self, one: metric_value.MetricValue) -> None:
        """Evaluates one reading."""
        if self.confirms and one.value is not None and self._rule.over(one.value):
            one = one._replace(interval_s=confirmation.interval_s(self._times))
        if self._newest_at is not None and one.recorded_at - self._newest_at > late_episodes.GAP:
            self._end_whole()
        self._newest_at = one.recorded_at
        self._whole, transitions = advance.run(self._rule, self._whole, (one,))  # late readings included
        self._all.add(transitions)
        if one.received_at - one.recorded_at > self._late_after:
            self._state = confirmation.contradict(self._rule, self._state, one.recorded_at, one.value)
            self._late_at.append(one.recorded_at)
        else:
            self._state, transitions = advance.run(self._rule, self._state, (one,))
            self._in_time.add(transitions)
        self.active = not (self._state.idle and self._whole.idle)

    def add_value(self, at: dt.datetime, value: float | None, bounds: hourly.Bounds | None = None) -> None:
        """Evaluates a value that is known at its own time, and its bounds if it is a figure of an hour."""
        if value is not None and bounds is not None:
            value = hourly.certain(self._rule, value, bounds)
        if value is None:
            return
        if self.active or not self.below <= value <= self.above:
            self.add(metric_value.MetricValue(at, at, value))

    def end(self, now: dt.datetime) -> list[Episode]:
        """Its episodes, once all readings up to ``now`` have been added."""
        self._state, transitions = advance.by_the_clock(self._rule, self._state, now, _ALWAYS)
        self._in_time.add(transitions)
        if self._state.phase is rule_state.Phase.FIRING:
            at = self._state.last_seen_at or now
            self._in_time.leave_open(
                rule_state.transition(rule_state.TransitionKind.FIRED, self._rule, self._state, at, None)
            )
        self._end_whole()
        found = self._in_time.episodes
        late = [
            one._replace(past=True, messages=0, severity=self._worst(one))
            for one in self._all.episodes
            if self._has_late(one)
        ]
        return found + [one for one in late if not any(_meet(one, other) for other in found)]

    def _end_whole(self) -> None:
        """Ends the episode of all readings with its last reading."""
        self._all.add(late_episodes.ended(self._rule, self._whole))
        self._whole = rule_state.State()

    def _has_late(self, one: Episode) -> bool:
        place = bisect.bisect_left(self._late_at, one.opened_at)
        return place < len(self._late_at) and self._late_at[place] <= one.last_seen_at

    def _worst(self, one: Episode) -> model.Severity:
        """Of a past episode: as severe as its peak."""
        return one.severity if one.peak_value is None else self._rule.severity_of(one.peak_value)


def add_rows(
    trackers: Iterable[Tracker],
    rows: Iterable[tuple[Any, ...]],
    begun: Mapping[charging_status.Charging, dt.datetime] = types.MappingProxyType({}),
    begins: dt.datetime | None = None,
) -> None:
    """Readings of one vehicle, in order of corrected time.

    Args:
        trackers: of the rules, of several files maybe.
        rows: all readings from the first that matters on, and some before; see the comment above ``_FIRST``.
        begun: time of a still valid word for charging before them, by the words of a file.
        begins: earlier readings only show how often the vehicle reports.
    """
    wanted = [(model.TELEMETRY.index(one.metric) + _FIRST, one) for one in trackers]
    files = {one.charging for _, one in wanted if one.charging is not None}
    known = {words: charging_status.ChargingTracker(words, begun.get(words)) for words in files}
    charging: dict[charging_status.Charging | None, bool] = {None: False}
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
                    metric_value.MetricValue(
                        row[1], row[2], value, charging[tracker.charging], worded=row[_WORD] is not None
                    )
                )


def _meet(one: Episode, other: Episode) -> bool:
    """As the cycle does it: a past episode that overlaps a notified one is the same."""
    begins_before = other.resolved_at is None or one.opened_at <= other.resolved_at
    return begins_before and (one.resolved_at is None or one.resolved_at >= other.opened_at)


class Gap(NamedTuple):
    """A sign of life, and the next one.

    Attributes:
        seen_at: the sign of life.
        next_at: the next one; None: there was none until the end of the period.
        driving: the vehicle drove at ``seen_at``.
        parked: its reading said then that it stood.
        counts: the device's rhythm is learnt from this interval.
    """

    seen_at: dt.datetime
    next_at: dt.datetime | None
    driving: bool = False
    parked: bool = False
    counts: bool | None = True


def of_inactivity(rule: model.Rule, device: scope.Device, gaps: Iterable[Gap], end: dt.datetime) -> list[Episode]:
    """The episodes of a rule on inactivity.

    Args:
        rule: in the form that holds for the device.
        device: the device it is evaluated for.
        gaps: in order: those that may be too long, and those from which the rhythm is learnt.
        end: of the period.
    """
    state, builder = rule_state.State(), _EpisodeBuilder(device)
    rhythms, as_written = (rhythm.Rhythm(), rhythm.Rhythm()), rule
    for gap in gaps:
        seen_at, next_at = gap.seen_at, gap.next_at
        known = rhythms[gap.driving]
        rule = rhythm.with_limit(
            as_written,
            rhythm.DeviceActivity(known.usual_s(seen_at), gap.parked, newly_known=rhythms[False].newly_known(seen_at)),
        )
        if gap.counts and next_at is not None:
            known.note(next_at, (next_at - seen_at).total_seconds())
        state, transitions = inactivity.step(
            rule, state, seen_at, seen_at, seen_at
        )  # if the last sign of life did not resolve it
        builder.add(transitions)
        until = next_at or end + _INSTANT  # a sign of life precedes the cycle; the end of the period is none
        limits = {rule.fire_above or 0.0, *(one.above for one in rule.severity_steps if one.above is not None)}
        for limit_s in sorted(limits):
            now = _first_active(rule, seen_at + dt.timedelta(seconds=limit_s) + _INSTANT, until)
            if now is not None:
                state, transitions = inactivity.step(rule, state, seen_at, now, seen_at)
                builder.add(transitions)
        if next_at is not None:
            state, transitions = inactivity.step(rule, state, next_at, next_at, next_at)
            builder.add(transitions)
        elif state.phase is rule_state.Phase.FIRING:
            last = rule_state.transition(rule_state.TransitionKind.FIRED, rule, state, end, None)
            inactive_s = (end - seen_at).total_seconds()
            builder.leave_open(last._replace(last_seen_at=end, peak_value=max(inactive_s, state.peak_value or 0.0)))
    return builder.episodes


def _first_active(rule: model.Rule, begin: dt.datetime, end: dt.datetime) -> dt.datetime | None:
    """The first time in [begin, end) at which the rule may fire; active hours begin and end at full minutes."""
    at = begin
    while at < end:
        if rule.active_at(at):
            return at
        at = at.replace(second=0, microsecond=0) + _MINUTE
    return None
