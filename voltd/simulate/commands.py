"""The commands ``voltd simulate`` and ``voltd replay``: arguments in, progress on stderr, the tally on stdout.

``cli`` adds the arguments to its parsers and calls ``run_*`` with the broker that the settings name. SIGINT and
SIGTERM end a run in order; a second one ends it at once.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import pathlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

from voltd.simulate.publish import MqttTarget, Tally
from voltd.simulate.recording import Fault
from voltd.simulate.replay import ReplayOptions, ReplayTally, prepare, replay
from voltd.simulate.run import SimulateOptions, simulate

PLAIN_EVERY_S = 5.0
FAULTS_SHOWN = 10


def add_simulate_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``voltd simulate``, but for those that name the broker."""
    defaults = SimulateOptions(MqttTarget())
    add = parser.add_argument
    add("--vehicles", type=int, default=defaults.vehicles, metavar="N", help="vehicles (default %(default)s)")
    add("--meters", type=int, default=defaults.meters, metavar="N", help="meters (default %(default)s)")
    add("--interval", type=float, default=defaults.interval_s, metavar="S", help="seconds of fleet life between two readings of a device (default %(default)g)")  # fmt: skip # noqa: E501
    add("--speed", type=float, default=defaults.speed, metavar="X", help="fleet life X times faster, dated accordingly (default %(default)g)")  # fmt: skip # noqa: E501
    add("--for", dest="duration_s", type=float, metavar="SECONDS", help="end after so long (default: run until stopped)")  # fmt: skip # noqa: E501
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--start", type=_moment, metavar="TIME", help="fleet life begins then, like 2026-05-01T08:00:00Z")  # fmt: skip # noqa: E501
    begin.add_argument("--past", dest="past_h", type=float, metavar="HOURS", help="fleet life begins so long ago, and goes on in real time once it has caught up (default with --speed over 1 and without --for: 24)")  # fmt: skip # noqa: E501
    add("--seed", type=int, default=defaults.seed, metavar="N", help="same seed, same start: same readings (default %(default)s)")  # fmt: skip # noqa: E501
    add("--bad-share", type=float, default=defaults.bad_share, metavar="P", help="rubbish messages per good reading, 0-1 (default %(default)g)")  # fmt: skip # noqa: E501
    add("--duplicate-share", type=float, default=defaults.duplicate_share, metavar="P", help="messages sent twice, 0-1 (default %(default)g)")  # fmt: skip # noqa: E501
    add("--offline-share", type=float, default=defaults.offline_share, metavar="P", help="devices offline at a time, 0-0.5; their backlog follows as an array (default %(default)g)")  # fmt: skip # noqa: E501
    add("--rate", type=float, metavar="N", help="at most N messages a second (default: as the fleet has them)")
    add("--connections", type=int, default=defaults.connections, metavar="N", help="connections to the broker (default %(default)s)")  # fmt: skip # noqa: E501
    add("--prefix", default=defaults.prefix, metavar="TEXT", help="put before every device id (default: nothing)")


def add_replay_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``voltd replay``, but for those that name the broker."""
    add = parser.add_argument
    add("file", type=pathlib.Path, metavar="FILE", help="CSV or NDJSON, gzip or not; columns named as the payload's fields")  # fmt: skip # noqa: E501
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument("--speed", type=float, default=1.0, metavar="X", help="X times the recorded pace, 0 for as fast as it goes (default 1); rows of an unsorted file that are overdue go out at once")  # fmt: skip # noqa: E501
    pace.add_argument("--fast", action="store_true", help="as fast as it goes")
    shift = parser.add_mutually_exclusive_group()
    shift.add_argument("--now", action="store_true", help="shift the times so that the last reading is dated now; prints the shift")  # fmt: skip # noqa: E501
    shift.add_argument("--until", type=_moment, metavar="TIME", help="shift the times so that the last reading is dated TIME")  # fmt: skip # noqa: E501
    shift.add_argument("--shift", dest="shift_s", type=float, metavar="SECONDS", help="shift the times by so much: repeats a replay exactly")  # fmt: skip # noqa: E501
    add("--array", type=int, default=1, metavar="N", help="up to N consecutive readings of a device in one message (default 1)")  # fmt: skip # noqa: E501
    add("--connections", type=int, default=2, metavar="N", help="connections to the broker (default %(default)s)")


def run_simulate(args: argparse.Namespace, mqtt: MqttTarget) -> int:
    """``voltd simulate`` with the arguments of ``add_simulate_arguments``; 0 when it ended in order.

    Raises:
        VoltdError: for ``cli`` to explain.
    """
    options = SimulateOptions(
        target=mqtt,
        vehicles=args.vehicles,
        meters=args.meters,
        interval_s=args.interval,
        speed=args.speed,
        seed=args.seed,
        duration_s=args.duration_s,
        start=args.start,
        past_h=args.past_h,
        bad_share=args.bad_share,
        duplicate_share=args.duplicate_share,
        offline_share=args.offline_share,
        rate=args.rate,
        connections=args.connections,
        prefix=args.prefix,
    )
    progress = _Progress()
    with _signals() as stop:
        tally = simulate(options, stop=stop, on_progress=lambda tally: progress.show(_counts(tally), tally.messages))
    progress.end()
    _print_tally(tally, progress.elapsed_s)
    return 0


def run_replay(args: argparse.Namespace, mqtt: MqttTarget) -> int:
    """``voltd replay`` with the arguments of ``add_replay_arguments``; 0 when every line was dealt with.

    Raises:
        VoltdError: for ``cli`` to explain.
    """
    options = ReplayOptions(
        target=mqtt,
        path=args.file,
        speed=0.0 if args.fast else args.speed,
        now=args.now,
        shift_s=args.shift_s,
        until=args.until,
        array=args.array,
        connections=args.connections,
    )
    plan = prepare(options, dt.datetime.now(dt.UTC))
    if plan.shift_s:
        _say(f"times are shifted by {plan.shift_s:.15g} s; the same again: --shift {plan.shift_s:.15g}")
    progress = _Progress()
    faults = 0

    def on_fault(fault: Fault) -> None:
        nonlocal faults
        faults += 1
        if faults <= FAULTS_SHOWN:
            _say(f"{args.file}:{fault.line}: not published: {fault.why}")
        elif faults == FAULTS_SHOWN + 1:
            _say("further lines that cannot be published are only counted")

    def on_progress(tally: ReplayTally) -> None:
        progress.show(_counts(tally.published), tally.published.messages)

    with _signals() as stop:
        tally = replay(options, stop=stop, on_progress=on_progress, on_fault=on_fault, plan=plan)
    progress.end()
    if tally.unpublishable:
        _say(f"{tally.unpublishable} lines could not be published")
    _print_tally(tally.published, progress.elapsed_s)
    return 0


def _moment(text: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        moment = dt.datetime.min  # noqa: DTZ901 - has no offset either
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time with an offset: write it like 2026-05-01T08:00:00Z")
    return moment


def _counts(tally: Tally) -> str:
    text = f"{tally.vehicle} vehicle and {tally.meter} meter readings"
    if tally.bad or tally.duplicates:
        text += f" ({tally.duplicates} of them sent before), {tally.bad} bad ones"
    return text


def _print_tally(tally: Tally, elapsed_s: float) -> None:
    rate = tally.messages / elapsed_s if elapsed_s else 0.0
    print(f"published {_counts(tally)}: {tally.messages} messages in {elapsed_s:.1f} s ({rate:.0f}/s)")  # noqa: T201
    if tally.resent:
        print(f"sent again after a lost connection: {tally.resent} readings")  # noqa: T201
    if tally.oversize:
        print(f"not sent, larger than the broker takes: {tally.oversize} messages")  # noqa: T201
    if tally.in_flight:
        print(f"not acknowledged by the broker: {tally.in_flight} messages")  # noqa: T201


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


class _Progress:
    """On a terminal one line that is rewritten, elsewhere a line every five seconds."""

    def __init__(self) -> None:
        self._began_s = self._shown_s = time.monotonic()
        self._messages = 0
        self._tty = sys.stderr.isatty()
        self._open = False

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._began_s

    def show(self, text: str, messages: int) -> None:
        now_s = time.monotonic()
        since_s = now_s - self._shown_s
        if not self._tty and since_s < PLAIN_EVERY_S:
            return
        line = f"{text}, {(messages - self._messages) / max(since_s, 1e-3):.0f} messages/s"
        self._shown_s, self._messages = now_s, messages
        if self._tty:
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()
            self._open = True
        else:
            _say(line)

    def end(self) -> None:
        if self._open:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


@contextlib.contextmanager
def _signals() -> Iterator[threading.Event]:
    """An event that SIGINT or SIGTERM sets; the second signal is a KeyboardInterrupt. Main thread only, else inert."""
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
