"""What is remembered of one rule and one device between two checks, and what a check has to tell.

``step`` and ``silence`` make both, ``evaluate`` hands them to the database side, which keeps states as JSON in the
transaction of the episodes: so kill -9 loses no running duration. No I/O, no clock.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from typing import Any, NamedTuple

import pydantic

from voltd.rules import model


class Phase(enum.StrEnum):
    """inactive -> pending -> firing -> resolved; resolved judges like inactive."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


@dataclasses.dataclass(frozen=True, slots=True)
class State:
    """State of one rule for one device. Times but ``clear_received_at``, ``unconfirmed_at`` are corrected device times.

    Attributes:
        watches: ``Rule.watches`` of the rule that made it; of no rule while nothing has been over a limit.
        judged_at: newest reading judged; for silence the last sign of life.
        valued_at: newest of them that had a value for the rule; None: as judged_at.
        worded_at: newest of them that said whether the vehicle charges, where that matters; None: as judged_at.
        opened_at: when the running excursion began (pending, firing), or the last episode did (resolved).
        last_seen_at: newest reading that did not clear.
        count: readings in a row over the limit, while pending.
        peak_value: most extreme value from ``opened_at`` on; None where only the spool is in use.
        severity: as told so far.
        clear_at: since when a firing alert is held by keep_firing_for_s alone; ``clear_received_at`` is its arrival.
        resolved_at: end of the last episode.
        unconfirmed_at: arrival of the last reading where it waits to be confirmed: it fires, or is worse, by itself
            once nothing has contradicted it for long enough. None: none waits.
        interval_s: the device's own interval when the excursion began; None: not known.
        recent: the last values in a row, for steps of severity that need several.
    """

    phase: Phase = Phase.INACTIVE
    watches: str = ""
    judged_at: dt.datetime | None = None
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

    @property
    def idle(self) -> bool:
        """Neither pending nor firing."""
        return self.phase in (Phase.INACTIVE, Phase.RESOLVED)

    @property
    def waits(self) -> bool:
        """For a time that may be over without another reading."""
        return self.clear_at is not None or self.unconfirmed_at is not None

    def seen(
        self,
        at: dt.datetime,
        peak_value: float | None,
        recent: tuple[float | None, ...] = (),
        unconfirmed_at: dt.datetime | None = None,
    ) -> State:
        """The firing state after a reading at this time that does not clear; built by hand, as there are many."""
        return State(
            self.phase, self.watches, at, self.opened_at, at, self.count, peak_value, self.severity, None, None,
            self.resolved_at, None, self.worded_at, unconfirmed_at, self.interval_s, recent,
        )  # fmt: skip

    def judged_by(self, now: dt.datetime) -> State:
        """The state, of which nothing has been judged later than this; itself where that is so."""
        judged_at, valued_at, worded_at = (
            now if at is not None and at > now else at for at in (self.judged_at, self.valued_at, self.worded_at)
        )
        if (judged_at, valued_at, worded_at) == (self.judged_at, self.valued_at, self.worded_at):
            return self
        return dataclasses.replace(self, judged_at=judged_at, valued_at=valued_at, worded_at=worded_at)

    def to_json(self) -> dict[str, Any]:
        """Values that JSON can hold; what is None is left out."""
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


class Kind(enum.StrEnum):
    """What happened to an episode."""

    FIRED = "fired"
    ESCALATED = "escalated"  # the same episode is worse: ``severity`` is the new one
    RESOLVED = "resolved"
    RECORDED = "recorded"  # a past episode as a whole, from readings that came too late: for the tables, never told


class Cause(enum.StrEnum):
    """Why an episode was resolved."""

    CLEARED = "cleared"  # the value is back beyond the point where the rule clears
    CHARGING = "charging"  # the vehicle is on a charger
    SEEN = "seen"  # a sign of life
    NOT_APPLICABLE = "not_applicable"  # rule off or gone, vehicle retired, in maintenance or out of scope: tell nobody


class Transition(NamedTuple):
    """What there is to tell, with what a message needs beside the device.

    Attributes:
        at: when it happened, in device time (silence: the clock's).
        opened_at: the episode's begin: with rule and device its identity.
        severity: now; of a resolved or recorded episode its worst.
        value: the value that did it. silence: seconds.
        metric: what the rule watches; None like ``limit`` where the rule is gone.
        limit: the switch point that was passed; of a resolved one the point where the rule clears.
        peak_value: the most extreme value so far.
        resolved_at: end of a resolved or recorded episode, otherwise None.
        quiet: resolve the row and clear what is retained, but tell nobody.
        note: what to say instead of the value.
    """

    kind: Kind
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
    quiet: bool = False
    note: str | None = None


def transition(kind: Kind, rule: model.Rule, state: State, at: dt.datetime, value: float | None) -> Transition:
    """``fired`` or ``escalated``, of a state that is firing since ``opened_at``."""
    severity = state.severity or rule.severity
    opened_at = state.opened_at or at
    return Transition(
        kind, rule.name, rule.metric, severity, at, opened_at, state.last_seen_at or at, value,
        rule.limit_of(severity), state.peak_value,
    )  # fmt: skip


def resolve(
    rule: model.Rule, state: State, at: dt.datetime, value: float | None, cause: Cause
) -> tuple[State, Transition]:
    """Ends a firing state at ``at``; what it remembers of the episode keeps late readings from opening it again.

    Where the clock ends it, no reading of that moment has been judged: one that comes later begins something new.
    Nothing ends before it began: what began by a clock that was ahead ends then.
    """
    judged_at = at if value is not None or cause is Cause.CHARGING else at - dt.timedelta(microseconds=1)
    at = max(at, state.opened_at or at)
    ended = dataclasses.replace(
        state,
        phase=Phase.RESOLVED,
        resolved_at=at,
        judged_at=max(judged_at, state.judged_at or judged_at),
        unconfirmed_at=None,
        interval_s=None,
        recent=(),
        count=0,
        clear_at=None,
        clear_received_at=None,
    )
    told = transition(Kind.RESOLVED, rule, state, at, value)
    return ended, told._replace(resolved_at=at, cause=cause, limit=rule.clear_limit)


def close(rule: str, state: State, now: dt.datetime) -> tuple[State, tuple[Transition, ...]]:
    """The rule of this name no longer judges this device: what is pending is forgotten, what fires ends quietly."""
    if state.phase is Phase.PENDING:
        return inactive(state), ()
    if state.phase is not Phase.FIRING:
        return state, ()
    opened_at = state.opened_at or now
    at = max(now, opened_at)
    told = Transition(
        Kind.RESOLVED,
        rule,
        None,
        state.severity or model.Severity.INFO,
        at,
        opened_at,
        state.last_seen_at or opened_at,
        None,
        None,
        state.peak_value,
        resolved_at=at,
        cause=Cause.NOT_APPLICABLE,
        quiet=True,
    )
    # The clock's time is no reading: what the device measured before may be judged once the rule applies again.
    return State(Phase.RESOLVED, state.watches, state.judged_at, opened_at, resolved_at=at), (told,)


def inactive(state: State) -> State:
    """No excursion is running."""
    return State(judged_at=state.judged_at, valued_at=state.valued_at, worded_at=state.worded_at)
