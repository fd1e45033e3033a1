"""The options of a replay, and the plan: shift and times of the recording, known before the first row is published.

``prepare`` makes the plan; it reads the whole recording if pace or shift depend on its times.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import pathlib
from typing import NamedTuple

from voltd import errors
from voltd.simulate.publish.target import MqttTarget
from voltd.simulate.replay import cells, recording, span
from voltd.simulate.replay.source import Source

MOST_IN_ARRAY = 10_000  # limits.max_array_readings
MOST_CONNECTIONS = 100
MOST_SHIFT_S = 1e11  # 3,000 years: all that a calendar can hold


@dataclasses.dataclass(frozen=True, slots=True)
class ReplayOptions:
    """A recording and how to replay it.

    Attributes:
        path: ``-`` is standard input.
        speed: multiple of the recorded pace; 0: as fast as possible.
        now: shift so that the last reading is dated now.
        from_now: shift so that the first reading is dated now: at the recorded pace each is published when it is due.
        shift_s: shift by this many seconds. until: shift so that the last reading is dated this (aware).
            At most one of the four; without any, times stay as recorded.
        array: up to so many consecutive readings of a device in one message.
        zone: of times without offset. Without it they stay without one, unless ``now``, ``from_now`` or ``until``
            moves them: then only their distances count, and UTC has no gaps.
        decimal_comma, skip_na: see ``cells.Reading``.
    """

    target: MqttTarget
    path: pathlib.Path
    speed: float = 1.0
    now: bool = False
    shift_s: float | None = None
    until: dt.datetime | None = None
    array: int = 1
    connections: int = 2
    from_now: bool = False
    zone: dt.tzinfo | None = None
    decimal_comma: bool = False
    skip_na: bool = False

    def __post_init__(self) -> None:
        """Validates the options."""
        if self.now + self.from_now + (self.shift_s is not None) + (self.until is not None) > 1:
            raise errors.UsageError(
                "--now, --from-now, --shift and --until contradict each other", hint="give one of them"
            )
        if self.speed < 0 or not math.isfinite(self.speed):
            raise errors.UsageError(f"--speed {self.speed:g}", hint="choose 0 (as fast as possible) or more")
        if not 1 <= self.array <= MOST_IN_ARRAY:
            raise errors.UsageError(f"--array {self.array}", hint=f"choose 1 to {MOST_IN_ARRAY}")
        if not 1 <= self.connections <= MOST_CONNECTIONS:
            raise errors.UsageError(f"--connections {self.connections}", hint=f"choose 1 to {MOST_CONNECTIONS}")
        if self.shift_s is not None and not abs(self.shift_s) <= MOST_SHIFT_S:  # NaN compares with nothing
            raise errors.UsageError(
                f"--shift {self.shift_s:g}", hint="give the number of seconds, negative for earlier"
            )
        if self.until is not None and self.until.tzinfo is None:
            raise errors.UsageError("--until without offset", hint="write it like 2026-05-01T08:00:00Z")

    @property
    def moves(self) -> bool:
        """Whether the shift depends on the recording's times."""
        return self.now or self.from_now or self.until is not None

    @property
    def reading(self) -> cells.Reading:
        """How cells are read."""
        zone = self.zone or (dt.UTC if self.moves else None)
        return cells.Reading(zone, decimal_comma=self.decimal_comma, skip_na=self.skip_na)


class ReplayPlan(NamedTuple):
    """What is known before the first row is published.

    Attributes:
        shift_s: added to every recorded time; give it as ``shift_s`` to repeat the replay exactly.
        first_s, last_s: recorded times, seconds since the epoch; None where the options did not ask for them.
        readings: in the recording; None where the options did not ask.
        outliers: rows outside ``first_s`` and ``last_s``; they are published without waiting for their time.
    """

    shift_s: float
    first_s: float | None = None
    last_s: float | None = None
    readings: int | None = None
    outliers: tuple[span.Outlier, ...] = ()

    def dated(self, options: ReplayOptions, now: dt.datetime) -> ReplayPlan:
        """The plan with the shift at ``now``: in whole seconds, never past the requested time."""
        if self.first_s is None or self.last_s is None or not options.moves:
            return self
        recorded_s = self.first_s if options.from_now else self.last_s
        return self._replace(shift_s=float(math.floor((options.until or now).timestamp() - recorded_s)))

    def odd(self, at_s: float) -> bool:
        """Whether this recorded time is an outlier."""
        return self.first_s is not None and self.last_s is not None and not self.first_s <= at_s <= self.last_s

    def lasts_s(self, options: ReplayOptions) -> float | None:
        """How long the replay takes at its pace; None if that is unknown or depends on the broker."""
        if not options.speed or self.first_s is None or self.last_s is None:
            return None
        return (self.last_s - self.first_s) / options.speed


def prepare(options: ReplayOptions, now: dt.datetime, source: Source | None = None) -> ReplayPlan:
    """Makes the plan; reads the whole recording if pace or shift depend on its times.

    Args:
        options: the recording and how to replay it.
        now: aware.
        source: of ``options.path``; one is opened where it is not given.

    Raises:
        UsageError: the file is no recording, or has no times although the options need one.
    """
    if not (options.speed or options.moves):
        return ReplayPlan(options.shift_s or 0.0)
    source = source or Source(options.path)
    times = span.RecordedTimes()
    readings = 0
    for row in recording.read(source, options.reading):
        if isinstance(row, recording.RecordedRow):
            readings += 1
            if (at_s := row.at_s) is not None:
                times.add(row.line, at_s)
    found = times.span(now.timestamp())
    if found is None:
        raise errors.UsageError(
            f"{source.name} has no readable times to go by", hint="replay it with --fast and without a shift"
        )
    plan = ReplayPlan(options.shift_s or 0.0, found.first_s, found.last_s, readings, found.outliers)
    return plan.dated(options, now)
