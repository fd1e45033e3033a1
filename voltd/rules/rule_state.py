"""The state of one rule for one device between two evaluation cycles, and the transitions that a cycle finds.

``step`` and ``inactivity`` make both. ``cycle`` stores states as JSON in the transaction of the episodes, so kill -9
loses no running duration. No I/O, no clock.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from typing import Any, NamedTuple

import pydantic

from voltd.rules import model


class Phase(enum.StrEnum):
    """inactive -> pending -> firing -> resolved; resolved is evaluated like inactive."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


@dataclasses.dataclass(frozen=True, slots=True)
class State:
    """State of one rule for one device. Times but ``clear_received_at``, ``unconfirmed_at`` are corrected device times.

    Attributes:
        watches: ``Rule.watches`` of the rule that made it; empty while nothing has been over a limit.
        evaluated_at: newest reading evaluated; for inactivity the last sign of life.
        valued_at: newest of them with a value for the rule; None: as ``evaluated_at``.
        worded_at: newest of them that said whether the vehicle charges, if that matters; None: as ``evaluated_at``.
        opened_at: when the running excursion began (pending, firing), or the last episode did (resolved).
        last_seen_at: newest reading that did not clear.
        count: readings in a row over the limit, while pending.
        peak_value: most extreme value from ``opened_at`` on; None if only the spool is in use.
        severity: the last one in a transition.
        clear_at: begin of the hold-down, in which only ``keep_firing_for_s`` keeps the alert firing;
            ``clear_received_at`` is the arrival of that reading.
        resolved_at: end of the last episode.
        unconfirmed_at: arrival of the last reading, if it waits to be confirmed: it fires, or escalates, by itself
            once nothing has contradicted it for long enough. None: none waits.
        interval_s: the device's usual interval when the excursion began; None: not known.
        recent: the last values in a row, for steps of severity that need several.
        note: message of a firing inactivity instead of its duration, or of a unit that is in doubt.
    """

    phase: Phase = Phase.INACTIVE
    watches: str = ""
    evaluated_at: dt.datetime | None = None
    opened_at: dt.datetime | None = None
    last_seen_at: dt.datetime | None = None
    count: int = 0
    peak_value: float | None = None
    severity: model.Severity | None = None
    clear_at: dt.datetime | None = None
    clear_received_at: dt.datetime | None = None
    resolved_at: dt.datetime | None = None
    valued_at: dt.datetime | None = None
    worded_at: dt.datetime | None = None
    unconfirmed_at: dt.datetime | None = None
    interval_s: float | None = None
    recent: tuple[float | None, ...] = ()
    note: str | None = None

    @property
    def idle(self) -> bool:
        """Neither pending nor firing."""
        return self.phase in (Phase.INACTIVE, Phase.RESOLVED)

    @property
    def waits(self) -> bool:
        """Whether it changes at some time without another reading."""
        return self.clear_at is not None or self.unconfirmed_at is not None

    def seen(
        self,
        at: dt.datetime,
        peak_value: float | None,
        recent: tuple[float | None, ...] = (),
        unconfirmed_at: dt.datetime | None = None,
    ) -> State:
        """The firing state after a reading that does not clear. A constructor call is faster than ``replace``."""
        return State(
            self.phase, self.watches, at, self.opened_at, at, self.count, peak_value, self.severity, None, None,
            self.resolved_at, None, self.worded_at, unconfirmed_at, self.interval_s, recent,
        )  # fmt: skip

    def capped(self, now: dt.datetime) -> State:
        """The state with nothing evaluated later than ``now``; itself if that is so."""
        every = (self.evaluated_at, self.valued_at, self.worded_at)
        return self.with_progress(*(now if at is not None and at > now else at for at in every))

    def with_progress(
        self, evaluated_at: dt.datetime | None, valued_at: dt.datetime | None, worded_at: dt.datetime | None
    ) -> State:
        """The state with this much evaluated; itself if nothing changes."""
        if (evaluated_at, valued_at, worded_at) == (self.evaluated_at, self.valued_at, self.worded_at):
            return self
        return dataclasses.replace(self, evaluated_at=evaluated_at, valued_at=valued_at, worded_at=worded_at)

    def to_json(self) -> dict[str, Any]:
        """Values that JSON can hold, without those that are None."""
        values: dict[str, Any] = _ADAPTER.dump_python(self, mode="json", exclude_none=True)
        return values

    @staticmethod
    def from_text(text: str) -> State:
        """The reverse of ``to_json``, from JSON as text.

        Raises:
            ValueError: no state of this version; the caller starts with ``State()``.
        """
        return _ADAPTER.validate_json(text)


_ADAPTER = pydantic.TypeAdapter(State)


class TransitionKind(enum.StrEnum):
    """What happened to an episode."""

    FIRED = "fired"
    ESCALATED = "escalated"  # the same episode is worse: ``severity`` is the new one
    RESOLVED = "resolved"
    RECORDED = "recorded"  # a whole past episode, from readings that arrived too late: stored, never notified


class Cause(enum.StrEnum):
    """Why an episode was resolved."""

    CLEARED = "cleared"  # the value is beyond the point at which the rule clears
    CHARGING = "charging"  # the vehicle is on a charger
    SEEN = "seen"  # a sign of life
    NOT_APPLICABLE = "not_applicable"  # rule off or gone, vehicle retired, in maintenance or out of scope: suppressed


class Transition(NamedTuple):
    """What happened to an episode, with what a message needs beside the device.

    Attributes:
        at: when it happened, in device time (inactivity: by the clock of voltd).
        opened_at: the episode's begin: with rule and device its identity.
        severity: now; of a resolved or recorded episode its worst.
        value: the value that caused it (inactivity: seconds).
        metric: what the rule watches; None, as is ``limit``, if the rule is gone.
        limit: the switch point that was passed; of a resolved one the point at which the rule clears.
        peak_value: the most extreme value so far.
        resolved_at: end of a resolved or recorded episode, otherwise None.
        suppressed: resolve the row and clear what is retained, but notify nobody.
        note: message instead of the value.
    """

    kind: TransitionKind
    rule: str
    metric: model.Metric | None
    severity: model.Severity
    at: dt.datetime
    opened_at: dt.datetime
    last_seen_at: dt.datetime
    value: float | None
    limit: float | None
    peak_value: float | None
    resolved_at: dt.datetime | None = None
    cause: Cause | None = None
    suppressed: bool = False
    note: str | None = None


def transition(
    kind: TransitionKind, rule: model.Rule, state: State, at: dt.datetime, value: float | None
) -> Transition:
    """A transition to or within firing, of a state that has been firing since ``opened_at``."""
    severity = state.severity or rule.severity
    opened_at = state.opened_at or at
    return Transition(
        kind, rule.name, rule.metric, severity, at, opened_at, state.last_seen_at or at, value,
        rule.limit_of(severity), state.peak_value,
    )  # fmt: skip


def resolve(
    rule: model.Rule, state: State, at: dt.datetime, value: float | None, cause: Cause
) -> tuple[State, Transition]:
    """Ends a firing state at ``at``; what it keeps of the episode prevents late readings from opening it again.

    If the clock ends it, no reading of that moment has been evaluated: one that arrives later begins a new episode.
    No episode ends before it began: one that began by a clock that was ahead ends at its begin.
    """
    evaluated_at = at if value is not None or cause is Cause.CHARGING else at - dt.timedelta(microseconds=1)
    at = max(at, state.opened_at or at)
    ended = dataclasses.replace(
        state, phase=Phase.RESOLVED, resolved_at=at, evaluated_at=max(evaluated_at, state.evaluated_at or evaluated_at),
        unconfirmed_at=None, interval_s=None, recent=(), note=None, count=0, clear_at=None, clear_received_at=None,
    )  # fmt: skip
    resolved = transition(TransitionKind.RESOLVED, rule, state, at, value)
    return ended, resolved._replace(resolved_at=at, cause=cause, limit=rule.clear_limit)


def close(rule: str, state: State, now: dt.datetime) -> tuple[State, tuple[Transition, ...]]:
    """The rule no longer applies to the device: a pending state is dropped, a firing one resolves, suppressed."""
    if state.phase is Phase.PENDING:
        return inactive(state), ()
    if state.phase is not Phase.FIRING:
        return state, ()
    opened_at = state.opened_at or now
    at = max(now, opened_at)
    severity, seen_at = state.severity or model.Severity.INFO, state.last_seen_at or opened_at
    resolved = Transition(
        TransitionKind.RESOLVED, rule, None, severity, at, opened_at, seen_at, None, None, state.peak_value,
        resolved_at=at, cause=Cause.NOT_APPLICABLE, suppressed=True,
    )  # fmt: skip
    # Not evaluated up to ``at``: what the device measured before it counts once the rule applies again.
    return State(Phase.RESOLVED, state.watches, state.evaluated_at, opened_at, resolved_at=at), (resolved,)


def inactive(state: State) -> State:
    """No excursion is running."""
    return State(evaluated_at=state.evaluated_at, valued_at=state.valued_at, worded_at=state.worded_at)
