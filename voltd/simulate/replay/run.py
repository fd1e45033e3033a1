"""Publishes a recording: at its own pace, faster, or as fast as possible. ``voltd replay`` calls it.

It reads the recording line by line, twice if it needs the first and last time in advance. Rows are published in the
order of the file. In an unsorted file, a row that is overdue is published at once; so is a row whose clock was wrong
(``span``). Values are passed on as recorded; the daemon decides whether they can be stored.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator

from voltd.simulate.publish.publication import Publication, Tally
from voltd.simulate.publish.publisher import PROGRESS_S, Publisher, Publishes
from voltd.simulate.replay import recording
from voltd.simulate.replay.plan import ReplayOptions, ReplayPlan, prepare
from voltd.simulate.replay.source import Source, Stopped

__all__ = ["Replay", "ReplayOptions", "ReplayPlan", "ReplayTally", "prepare", "replay"]

DRAIN_S = 30.0
DRAIN_STOPPED_S = 5.0  # after Ctrl-C
MOST_ARRAY_CHARS = 200_000  # well under limits.max_payload_bytes


@dataclasses.dataclass(slots=True)
class ReplayTally:
    """The result of a replay.

    Attributes:
        published: acknowledged readings.
        unpublishable: lines that could not be published.
        shift_s: the shift that was used.
        complete: every line was processed and every message acknowledged.
    """

    published: Tally
    unpublishable: int = 0
    shift_s: float = 0.0
    complete: bool = False


def replay(
    options: ReplayOptions,
    *,
    stop: threading.Event,
    on_progress: Callable[[ReplayTally], None] | None = None,
    on_fault: Callable[[recording.Fault], None] | None = None,
    on_row: Callable[[recording.RecordedRow], None] | None = None,
    plan: ReplayPlan | None = None,
    source: Source | None = None,
) -> ReplayTally:
    """Connects, publishes every row, waits for the acknowledgements. Blocks until then or until ``stop`` is set.

    ``on_progress`` is called about once a second, ``on_row`` for each reading before it is published, ``on_fault`` for
    each line that cannot be, all in this thread. ``plan`` is ``prepare``'s, made here if it is not given; ``source`` is
    of ``options.path``, opened here if it is not given.

    Raises:
        BrokerUnavailable, BrokerRefused: see ``publish``. UsageError, VoltdError: see ``recording.read``.
    """
    source = source or Source(options.path, stop)
    plan = plan or prepare(options, dt.datetime.now(dt.UTC), source)
    with Publisher.to(options.target, connections=options.connections) as publisher:
        return Replay(
            options, plan, publisher, stop=stop, on_progress=on_progress, on_fault=on_fault, on_row=on_row,
            source=source,
        ).run()  # fmt: skip


class Replay:
    """One replay; ``monotonic`` measures its duration."""

    def __init__(
        self,
        options: ReplayOptions,
        plan: ReplayPlan,
        publisher: Publishes,
        *,
        stop: threading.Event,
        on_progress: Callable[[ReplayTally], None] | None = None,
        on_fault: Callable[[recording.Fault], None] | None = None,
        on_row: Callable[[recording.RecordedRow], None] | None = None,
        source: Source | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._source = source or Source(options.path, stop)
        self._on_row = on_row
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
        try:
            complete = self._publish()
        except Stopped:
            complete = False
        acknowledged = self._publisher.drain(DRAIN_STOPPED_S if self._stop.is_set() else DRAIN_S)
        return self._tally(complete=complete and acknowledged)

    def _publish(self) -> bool:
        """Publishes every row; False if it was ended before."""
        began_s = self._monotonic()
        speed, first_s = self._options.speed, self._plan.first_s
        for publication, at_s in self._publications():
            if speed and first_s is not None and at_s is not None and not self._plan.odd(at_s):
                due_s = began_s + (at_s - first_s) / speed
                while (wait_s := due_s - self._monotonic()) > 0 and not self._stop.is_set():
                    self._stop.wait(min(wait_s, PROGRESS_S))
                    self._progress()
            if self._stop.is_set() or not self._publisher.publish(publication, stop=self._stop):
                return False
            self._progress()
        return True

    def _publications(self) -> Iterator[tuple[Publication, float | None]]:
        """Messages in the order of the file with the recorded time of the last reading in each."""
        shift = dt.timedelta(seconds=self._plan.shift_s)
        group: list[recording.RecordedRow] = []
        texts: list[str] = []
        chars = 0
        for row in recording.read(self._source, self._options.reading):
            if isinstance(row, recording.Fault):
                self._unpublishable += 1
                if self._on_fault is not None:
                    self._on_fault(row)
                continue
            if self._on_row is not None:
                self._on_row(row)
            text = row.text(shift)
            same = bool(group) and (group[-1].is_vehicle, group[-1].device_id) == (row.is_vehicle, row.device_id)
            if group and (not same or chars + len(text) > MOST_ARRAY_CHARS):
                yield _message(group[-1], texts), group[-1].at_s
                group, texts, chars = [], [], 0
            group.append(row)
            texts.append(text)
            chars += len(text) + 1
            if len(group) >= self._options.array:  # at once: the next row of a pipe may be an hour away
                yield _message(group[-1], texts), group[-1].at_s
                group, texts, chars = [], [], 0
        if group:
            yield _message(group[-1], texts), group[-1].at_s

    def _tally(self, *, complete: bool = False) -> ReplayTally:
        return ReplayTally(self._publisher.tally(), self._unpublishable, self._plan.shift_s, complete)

    def _progress(self) -> None:
        if self._on_progress is not None and self._monotonic() >= self._next_progress_s:
            self._next_progress_s = self._monotonic() + PROGRESS_S
            self._on_progress(self._tally())


def topic_of(row: recording.RecordedRow) -> str:
    """The topic of a reading."""
    return f"volt/{'vehicle' if row.is_vehicle else 'meter'}/{row.device_id}/telemetry"


def _message(row: recording.RecordedRow, texts: list[str]) -> Publication:
    payload = (texts[0] if len(texts) == 1 else f"[{','.join(texts)}]").encode()
    if row.is_vehicle:
        return Publication(topic_of(row), payload, vehicle=len(texts))
    return Publication(topic_of(row), payload, meter=len(texts))
