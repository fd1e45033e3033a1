"""Runs a simulated fleet against a broker, in real time or faster; ``voltd simulate`` and ``demo`` call it.

It gives the fleet its clock and passes the publications to the publisher. The fleet's clock never passes the wall
clock, so that no reading is dated in the future: a faster run begins in the past. With a duration it begins so early
that it ends now; without one it begins ``past_h`` hours ago and continues in real time once it has caught up.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import threading
import time
from collections.abc import Callable, Iterable

from voltd import errors
from voltd.simulate.fleet.fleet import Fleet, FleetOptions
from voltd.simulate.publish.publication import Publication, Tally
from voltd.simulate.publish.publisher import PROGRESS_S, Publisher, Publishes
from voltd.simulate.publish.target import MqttTarget

TICK_S = 0.1
OVERTIME_S = 2.0  # a fleet that lags behind (rate limit, slow broker) is cut off this long after its duration
FINISH_S = 10.0  # for delayed publications at the end, and again for the last acknowledgements
FINISH_STOPPED_S = 3.0  # the same after Ctrl-C
DEFAULT_PAST_H = 24.0
MOST_PAST_H = 876_000.0  # a hundred years


@dataclasses.dataclass(frozen=True, slots=True)
class SimulateOptions:
    """A fleet and how to run it; shares and counts are those of ``FleetOptions``.

    Attributes:
        speed: fleet seconds per second, more than 0.
        duration_s: seconds on the wall clock, None for until stopped.
        start: when fleet life begins, aware, in the past; None for what ``fleet_start`` says.
        past_h: hours before now at which fleet life begins when neither ``start`` nor ``duration_s`` says it; None
            for 24 when ``speed`` is over 1, else 0.
        rate: most messages a second, None for no limit.
    """

    target: MqttTarget
    vehicles: int = 200
    meters: int = 200
    interval_s: float = 60.0
    speed: float = 1.0
    seed: int = 1
    duration_s: float | None = None
    start: dt.datetime | None = None
    past_h: float | None = None
    bad_share: float = 0.001
    duplicate_share: float = 0.005
    offline_share: float = 0.01
    rate: float | None = None
    connections: int = 2
    prefix: str = ""
    families: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Validates the options."""
        for name, value in (("speed", self.speed), ("for", self.duration_s), ("rate", self.rate)):
            if value is not None and not 0 < value < math.inf:
                raise errors.UsageError(f"--{name} {value:g}", hint=f"choose --{name} above 0")
        if self.start is not None and self.past_h is not None:
            raise errors.UsageError("--start and --past contradict each other", hint="give one of them")
        if self.past_h is not None and not 0 <= self.past_h <= MOST_PAST_H:
            raise errors.UsageError(f"--past {self.past_h:g}", hint=f"choose --past 0 to {MOST_PAST_H:.0f} hours")
        if self.connections < 1:
            raise errors.UsageError(f"--connections {self.connections}", hint="choose at least 1")


def fleet_start(options: SimulateOptions, now: dt.datetime) -> dt.datetime:
    """When fleet life begins in a run that begins at ``now``.

    Raises:
        UsageError: ``options.start`` is in the future.
    """
    if options.start is not None:
        if options.start > now:
            raise errors.UsageError(
                f"--start {options.start.isoformat()} is in the future",
                hint="choose an earlier start: readings must not be dated in the future",
            )
        return options.start
    if options.past_h is not None:
        return now - dt.timedelta(hours=options.past_h)
    if options.speed <= 1.0:
        return now
    if options.duration_s is not None:
        return now - dt.timedelta(seconds=options.duration_s * (options.speed - 1.0))
    return now - dt.timedelta(hours=DEFAULT_PAST_H)


def fleet_options(options: SimulateOptions, now: dt.datetime) -> FleetOptions:
    """The fleet of a run that begins at ``now``; its registry does not depend on ``now``."""
    return FleetOptions(
        vehicles=options.vehicles,
        meters=options.meters,
        seed=options.seed,
        start=fleet_start(options, now),
        interval_s=options.interval_s,
        bad_share=options.bad_share,
        duplicate_share=options.duplicate_share,
        offline_share=options.offline_share,
        prefix=options.prefix,
        families=options.families,
    )


def simulate(
    options: SimulateOptions,
    *,
    stop: threading.Event,
    on_progress: Callable[[Tally], None] | None = None,
    progress_s: float = PROGRESS_S,
    clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
) -> Tally:
    """Connects, runs the fleet for its duration or until ``stop`` is set, waits for the acknowledgements. Blocks.

    At the end devices send what they have delayed (backlogs, copies), so that no charge is reported by one side only.
    ``on_progress`` is called about every ``progress_s``, in this thread.

    Raises:
        BrokerUnavailable, BrokerRefused: see ``publish``. UsageError: the options make no fleet.
    """
    made_of = fleet_options(options, clock())
    fleet = Fleet(made_of)
    publisher = Publisher.to(options.target, connections=options.connections)
    for topic_filter in fleet.commands:
        publisher.listen(topic_filter)
    with publisher:
        return Run(
            options,
            fleet,
            made_of.start,
            publisher,
            commands=publisher.commands,
            stop=stop,
            on_progress=on_progress,
            progress_s=progress_s,
            clock=clock,
        ).run()


class Run:
    """One run of a fleet; ``clock`` is the wall clock, ``monotonic`` measures its duration.

    ``commands`` returns what devices have been asked for since the last call: topic and payload.
    """

    def __init__(
        self,
        options: SimulateOptions,
        fleet: Fleet,
        start: dt.datetime,
        publisher: Publishes,
        *,
        stop: threading.Event,
        on_progress: Callable[[Tally], None] | None,
        clock: Callable[[], dt.datetime],
        commands: Callable[[], Iterable[tuple[str, bytes]]] = tuple,
        progress_s: float = PROGRESS_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._fleet = fleet
        self._start = start
        self._publisher = publisher
        self._stop = stop
        self._on_progress = on_progress
        self._progress_s = progress_s
        self._clock = clock
        self._commands = commands
        self._monotonic = monotonic
        self._began_s = self._next_progress_s = self._next_message_s = monotonic()

    def run(self) -> Tally:
        """See ``simulate``."""
        duration_s = self._options.duration_s
        over = False
        while not over and not self._stop.is_set():
            elapsed_s = self._monotonic() - self._began_s
            if duration_s is not None and elapsed_s >= duration_s:
                elapsed_s, over = duration_s, True
            fleet_now = self._start + dt.timedelta(seconds=elapsed_s * self._options.speed)
            fleet_now = min(fleet_now, self._clock())
            for topic, payload in self._commands():
                self._publish(self._fleet.command(topic, payload, fleet_now))
            self._publish(self._fleet.step(fleet_now))
            if not over:
                self._stop.wait(TICK_S)
        patience_s = FINISH_STOPPED_S if self._stop.is_set() else FINISH_S
        ends_s = self._monotonic() + patience_s
        for publication in self._fleet.finish():
            if not self._publisher.publish(publication, timeout_s=max(0.0, ends_s - self._monotonic())):
                break
        self._publisher.drain(patience_s)
        return self._publisher.tally()

    def _publish(self, publications: Iterable[Publication]) -> None:
        rate, duration_s = self._options.rate, self._options.duration_s
        self._progress()
        for publication in publications:
            now_s = self._monotonic()
            if rate is not None:
                # Credit for idle time is a tenth of a second's worth of messages.
                self._next_message_s = max(self._next_message_s + 1.0 / rate, now_s - TICK_S)
                if self._next_message_s > now_s:
                    self._stop.wait(self._next_message_s - now_s)
            if duration_s is not None and now_s > self._began_s + duration_s + OVERTIME_S:
                return
            if self._stop.is_set() or not self._publisher.publish(publication, stop=self._stop):
                return
            self._progress()

    def _progress(self) -> None:
        now_s = self._monotonic()
        if self._on_progress is not None and now_s >= self._next_progress_s:
            self._next_progress_s = now_s + self._progress_s
            self._on_progress(self._publisher.tally())
