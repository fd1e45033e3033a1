"""The commands ``voltd simulate`` and ``voltd replay``: arguments in, progress on stderr, the tally on stdout.

``cli`` adds the arguments to its parsers and calls ``run_*`` with the broker that the settings name. SIGINT and
SIGTERM end a run in order; a second one ends it at once.
"""

from __future__ import annotations

import argparse
import datetime as dt
import pathlib

from voltd.simulate import console
from voltd.simulate.publish import MqttTarget
from voltd.simulate.replay_command import run_replay
from voltd.simulate.run import SimulateOptions, simulate

__all__ = ["add_replay_arguments", "add_simulate_arguments", "run_replay", "run_simulate"]


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
    parser.epilog = (
        "Before anything is published the recording is checked against the settings: unknown columns, times, values, "
        "cells that are no numbers. A pipe is first read to its end, into a temporary file; with --fast, and without "
        "--now, --from-now, --until and --strict, each row of it goes out as it comes and is checked then. Exit: 0 "
        "everything published, 1 not everything, refused by --strict, stored by nobody or ended by Ctrl-C, 2 usage."
    )
    add = parser.add_argument
    add("file", type=pathlib.Path, metavar="FILE", help="CSV or NDJSON, gzip or not, a pipe, or - for standard input; columns named as the payload's fields")  # fmt: skip # noqa: E501
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument("--speed", type=float, default=1.0, metavar="X", help="X times the recorded pace, 0 for as fast as it goes (default 1); rows of an unsorted file that are overdue go out at once")  # fmt: skip # noqa: E501
    pace.add_argument("--fast", action="store_true", help="as fast as it goes")
    shift = parser.add_mutually_exclusive_group()
    shift.add_argument("--now", action="store_true", help="shift the times so that the last reading is dated now; prints the shift")  # fmt: skip # noqa: E501
    shift.add_argument("--from-now", action="store_true", help="shift the times so that the first reading is dated now: at the recorded pace each is published when it is due")  # fmt: skip # noqa: E501
    shift.add_argument("--until", type=_moment, metavar="TIME", help="shift the times so that the last reading is dated TIME")  # fmt: skip # noqa: E501
    shift.add_argument("--shift", dest="shift_s", type=float, metavar="SECONDS", help="shift the times by so much: repeats a replay exactly")  # fmt: skip # noqa: E501
    add("--strict", action="store_true", help="publish nothing where the check of the recording finds anything")
    add("--zone", metavar="ZONE", help="times without offset are of this zone, like Europe/Berlin or --zone=+02:00 (default: they stay without one, and count as UTC where --now, --from-now or --until moves them)")  # fmt: skip # noqa: E501
    add("--decimal-comma", action="store_true", help="63,5 is the number 63.5")
    add("--skip-na", action="store_true", help="leave out cells that say NA, N/A, NaN, null and the like")
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
    progress = console.Progress()
    with console.signals() as stop:
        tally = simulate(
            options, stop=stop, on_progress=lambda tally: progress.show(console.counts(tally), tally.messages)
        )
    progress.end()
    console.print_tally(tally, progress.elapsed_s)
    return 0


def _moment(text: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        moment = dt.datetime.min  # noqa: DTZ901 - has no offset either
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time with an offset: write it like 2026-05-01T08:00:00Z")
    return moment
