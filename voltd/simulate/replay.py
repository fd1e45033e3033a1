"""Publishes recorded readings again: at their own pace, faster, or as fast as it goes; ``commands`` calls it.

Reads the file through ``recording`` without ever holding it, twice where it must know the first and last time before
it begins. Rows go out in the order of the file: in an unsorted one, a row that is due earlier than one before it goes
out at once. Values are passed on as recorded; whether they can be stored is for the daemon to say.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import pathlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from voltd import errors
from voltd.simulate import recording
from voltd.simulate.publish import MqttTarget, Publisher, Tally
from voltd.simulate.run import PROGRESS_S, Publishes
from voltd.simulate.wire import Publication

DRAIN_S = 30.0
DRAIN_STOPPED_S = 5.0  # somebody waits for the prompt
MOST_IN_ARRAY = 10_000  # limits.max_array_readings
MOST_ARRAY_CHARS = 200_000  # well under limits.max_payload_bytes


@dataclasses.dataclass(frozen=True, slots=True)
class ReplayOptions:
    """A recording and how to replay it.

    Attributes:
        speed: times the recorded pace; 0 for as fast as it goes.
        now: shift so that the last reading is dated now.
        shift_s: shift by this many seconds. until: shift so that the last reading is dated this (aware).
            At most one of the three; without any, times stay as recorded.
        array: up to so many consecutive readings of a device in one message.
    """

    target: MqttTarget
    path: pathlib.Path
    speed: float = 1.0
    now: bool = False
    shift_s: float | None = None
    until: dt.datetime | None = None
    array: int = 1
    connections: int = 2

    def __post_init__(self) -> None:
        """Refuse what makes no sense together."""
        if self.now + (self.shift_s is not None) + (self.until is not None) > 1:
            raise errors.UsageError("--now, --shift and --until contradict each other", hint="give one of them")
        if self.speed < 0 or not math.isfinite(self.speed):
            raise errors.UsageError(f"--speed {self.speed:g}", hint="choose 0 (as fast as it goes) or more")
        if not 1 <= self.array <= MOST_IN_ARRAY:
            raise errors.UsageError(f"--array {self.array}", hint=f"choose 1 to {MOST_IN_ARRAY}")
        if self.until is not None and self.until.tzinfo is None:
            raise errors.UsageError("--until without offset", hint="write it like 2026-05-01T08:00:00Z")


class Plan(NamedTuple):
    """What has to be known before the first row goes out.

    Attributes:
        shift_s: added to every recorded time; give it as ``shift_s`` to repeat the replay exactly.
        first_s, last_s: recorded times, seconds since the epoch; None where the options did not ask for them.
    """

    shift_s: float
    first_s: float | None = None
    last_s: float | None = None


@dataclasses.dataclass(slots=True)
class ReplayTally:
    """What came of a replay: acknowledged readings, rows that could not be published, the shift that was used."""

    published: Tally
    unpublishable: int = 0
    shift_s: float = 0.0


def prepare(options: ReplayOptions, now: dt.datetime) -> Plan:
    """Find the shift, and the first and last time where pace or shift depend on them (reads the whole file).

    Raises:
        UsageError: the file is no recording, or has no times although the options need one.
    """
    shift_s = options.shift_s or 0.0
    if not (options.speed or options.now or options.until):
        return Plan(shift_s)
    first_s, last_s = math.inf, -math.inf
    for row in recording.read(options.path):
        if isinstance(row, recording.Row) and (at_s := row.at_s) is not None:
            first_s, last_s = min(first_s, at_s), max(last_s, at_s)
    if last_s < first_s:
        raise errors.UsageError(
            f"{options.path} has no readable times to go by", hint="replay it with --fast and without a shift"
        )
    if options.now or options.until is not None:
        # Whole seconds: easy to give again, and never after the moment meant.
        shift_s = float(math.floor((options.until or now).timestamp() - last_s))
    return Plan(shift_s, first_s, last_s)


def replay(
    options: ReplayOptions,
    *,
    stop: threading.Event,
    on_progress: Callable[[ReplayTally], None] | None = None,
    on_fault: Callable[[recording.Fault], None] | None = None,
    plan: Plan | None = None,
) -> ReplayTally:
    """Connect, publish every row, wait for the acknowledgements. Blocks until then or until ``stop`` is set.

    ``on_progress`` is called about once a second, ``on_fault`` for each line that cannot be published, both in this
    thread. ``plan`` is ``prepare``'s, made here if it is not given.

    Raises:
        BrokerUnavailable, BrokerRefused: see ``publish``. UsageError, VoltdError: see ``recording.read``.
    """
    plan = plan or prepare(options, dt.datetime.now(dt.UTC))
    with Publisher.to(options.target, connections=options.connections) as publisher:
        return Replay(options, plan, publisher, stop=stop, on_progress=on_progress, on_fault=on_fault).run()


class Replay:
    """One replay; ``monotonic`` measures how long it has been going."""

    def __init__(
        self,
        options: ReplayOptions,
        plan: Plan,
        publisher: Publishes,
        *,
        stop: threading.Event,
        on_progress: Callable[[ReplayTally], None] | None = None,
        on_fault: Callable[[recording.Fault], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._plan = plan
        self._publisher = publisher
        self._stop = stop
        self._on_progress = on_progress
        self._on_fault = on_fault
        self._monotonic = monotonic
        self._unpublishable = 0
        self._next_progress_s = 0.0

    def run(self) -> ReplayTally:
        """See ``replay``."""
        began_s = self._monotonic()
        speed, first_s = self._options.speed, self._plan.first_s
        for publication, at_s in self._publications():
            if speed and first_s is not None and at_s is not None:
                due_s = began_s + (at_s - first_s) / speed
                while (wait_s := due_s - self._monotonic()) > 0 and not self._stop.is_set():
                    self._stop.wait(min(wait_s, PROGRESS_S))
                    self._progress()
            if self._stop.is_set() or not self._publisher.publish(publication, stop=self._stop):
                break
            self._progress()
        self._publisher.drain(DRAIN_STOPPED_S if self._stop.is_set() else DRAIN_S)
        return self._tally()

    def _publications(self) -> Iterator[tuple[Publication, float | None]]:
        """Messages in the order of the file with the recorded time of the last reading in each."""
        shift = dt.timedelta(seconds=self._plan.shift_s)
        group: list[recording.Row] = []
        texts: list[str] = []
        chars = 0
        for row in recording.read(self._options.path):
            if isinstance(row, recording.Fault):
                self._unpublishable += 1
                if self._on_fault is not None:
                    self._on_fault(row)
                continue
            text = row.text(shift)
            same = bool(group) and (group[-1].is_vehicle, group[-1].device_id) == (row.is_vehicle, row.device_id)
            if group and (not same or len(group) >= self._options.array or chars + len(text) > MOST_ARRAY_CHARS):
                yield _message(group[-1], texts), group[-1].at_s
                group, texts, chars = [], [], 0
            group.append(row)
            texts.append(text)
            chars += len(text) + 1
        if group:
            yield _message(group[-1], texts), group[-1].at_s

    def _tally(self) -> ReplayTally:
        return ReplayTally(self._publisher.tally(), self._unpublishable, self._plan.shift_s)

    def _progress(self) -> None:
        if self._on_progress is not None and self._monotonic() >= self._next_progress_s:
            self._next_progress_s = self._monotonic() + PROGRESS_S
            self._on_progress(self._tally())


def _message(row: recording.Row, texts: list[str]) -> Publication:
    payload = (texts[0] if len(texts) == 1 else f"[{','.join(texts)}]").encode()
    if row.is_vehicle:
        return Publication(f"volt/vehicle/{row.device_id}/telemetry", payload, vehicle=len(texts))
    return Publication(f"volt/meter/{row.device_id}/telemetry", payload, meter=len(texts))
