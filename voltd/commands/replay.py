"""``voltd replay``: checks a recording, warns of what voltd would refuse, publishes it, and prints the tally.

Warnings and progress go to stderr, the tally to stdout.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import math
import pathlib
import threading

from voltd import config, errors, terminal
from voltd.commands import publishing
from voltd.daemon import status
from voltd.simulate.publish.publication import Tally
from voltd.simulate.publish.target import MqttTarget
from voltd.simulate.replay import cells, checks, recording, span
from voltd.simulate.replay.plan import ReplayOptions, ReplayPlan, prepare
from voltd.simulate.replay.run import ReplayTally, replay
from voltd.simulate.replay.source import Source, Stopped

MOST_ETA_S = 10 * 365 * 86_400.0
_SHOW_READINGS = 5000
STATUS_S = 1.0  # a retained message arrives at once or not at all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``voltd replay``; the settings name the broker."""
    parser.epilog = (
        "Before anything is published the recording is checked against the settings: unknown columns, times, values, "
        "cells that are no numbers. A pipe is first read to its end, into a temporary file; with --fast, and without "
        "--now, --from-now, --until and --strict, each row is published as it arrives and is checked then. Exit: 0 "
        "everything published, 1 not everything, refused by --strict, stored by nobody or ended by Ctrl-C, 2 usage."
    )
    add = parser.add_argument
    add("file", type=pathlib.Path, metavar="FILE", help="the recording: CSV or NDJSON, gzip or not, a pipe, or - for standard input; columns are named as the payload's fields")  # fmt: skip # noqa: E501
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument("--speed", type=float, default=1.0, metavar="X", help="publish at X times the recorded pace; 0 is as fast as it goes (default 1); overdue rows of an unsorted file are published at once")  # fmt: skip # noqa: E501
    pace.add_argument("--fast", action="store_true", help="the same as --speed 0")
    shift = parser.add_mutually_exclusive_group()
    shift.add_argument("--now", action="store_true", help="shift the times so that the last reading is dated now; prints the shift")  # fmt: skip # noqa: E501
    shift.add_argument("--from-now", action="store_true", help="shift the times so that the first reading is dated now: at the recorded pace each is published when it is due")  # fmt: skip # noqa: E501
    shift.add_argument("--until", type=publishing.moment, metavar="TIME", help=f"shift the times so that the last reading is dated TIME, {publishing.MOMENT}")  # fmt: skip # noqa: E501
    shift.add_argument("--shift", dest="shift_s", type=float, metavar="SECONDS", help="shift the times by SECONDS: repeats a replay exactly")  # fmt: skip # noqa: E501
    add("--strict", action="store_true", help="publish nothing if the check of the recording finds a problem")
    add("--zone", metavar="ZONE", help="times of the recording without offset are in this zone, like Europe/Berlin or --zone=+02:00 (default: they stay without one, and count as UTC where --now, --from-now or --until moves them)")  # fmt: skip # noqa: E501
    add("--decimal-comma", action="store_true", help="read 63,5 as the number 63.5")
    add("--skip-na", action="store_true", help="leave out cells that say NA, N/A, NaN, null and the like")
    add("--array", type=int, default=1, metavar="N", help="up to N consecutive readings of a device in one message (default 1)")  # fmt: skip # noqa: E501
    add("--connections", type=int, default=2, metavar="N", help="connections to the broker (default %(default)s)")


def run(args: argparse.Namespace, settings: config.Settings) -> int:
    """Checks and publishes the recording.

    Returns:
        0 if every line was processed and every published reading had a subscriber; 1 if nothing could be published, the
        command was ended before, or the broker had no subscriber.

    Raises:
        VoltdError: the recording or the broker cannot be used; ``--strict`` refuses before anything is published.
    """
    options = ReplayOptions(
        target=MqttTarget.from_settings(settings),
        path=args.file,
        speed=0.0 if args.fast else args.speed,
        now=args.now,
        from_now=args.from_now,
        shift_s=args.shift_s,
        until=args.until,
        array=args.array,
        connections=args.connections,
        zone=None if args.zone is None else cells.zone(args.zone),
        decimal_comma=args.decimal_comma,
        skip_na=args.skip_na,
    )
    with publishing.signals() as stop, Source(options.path, stop) as source:
        try:
            return _Command(options, settings, source, stop, strict=args.strict).run()
        except Stopped:
            publishing.say("ended before anything was published")
            return 1


class _Command:
    """One run of the command."""

    def __init__(
        self, options: ReplayOptions, settings: config.Settings, source: Source, stop: threading.Event, *, strict: bool
    ) -> None:
        self._options = options
        self._settings = settings
        self._source = source
        self._stop = stop
        self._strict = strict
        self._passes = source.is_pipe and not (options.speed or options.moves or strict)  # published as it is read
        self._checks: checks.Checks | None = None
        self._shown: set[tuple[str, ...]] = set()
        self._undelivered_shown = False
        self._progress = publishing.Progress()

    def run(self) -> int:
        """See the function ``run``."""
        options, source = self._options, self._source
        if self._passes:
            publishing.say(
                f"{source.name}: rows are published as they come and checked then; their number is not known"
            )
        elif source.is_pipe:
            publishing.say(f"{source.name} is read to its end first, into a temporary file")
            source.buffer()
        plan = prepare(options, _now(), source)
        found = self._checks = checks.Checks(self._settings, options, plan, _now())
        if not self._passes:
            plan = self._check_all(found, plan)
        self._warn_offline()
        plan = self._dated(plan)
        self._progress = publishing.Progress()
        tally = replay(
            options,
            stop=self._stop,
            on_progress=lambda tally: self._show(tally, plan),
            on_row=self._pass_row if self._passes else None,
            on_fault=self._pass_fault if self._passes else None,
            plan=plan,
            source=source,
        )
        self._progress.end()
        return self._end(tally)

    def _check_all(self, found: checks.Checks, plan: ReplayPlan) -> ReplayPlan:
        """Checks the whole recording before any of it is published."""
        for row in recording.read(self._source, self._options.reading):
            if isinstance(row, recording.RecordedRow):
                found.row(row)
                if not found.readings % _SHOW_READINGS:
                    self._progress.show(f"{found.readings} readings checked", found.readings, "readings")
            else:
                found.fault(row)
        found.finish()
        self._progress.end()
        self._report(found)
        if found.readings and found.refused == found.readings:
            publishing.say(f"voltd with these settings stores none of the {found.readings} readings")
        if self._strict and found.findings:
            raise errors.VoltdError(
                f"--strict: {self._source.name} has findings of {len(found.findings)} kinds, nothing was published",
                hint="correct the recording or the options as said above, or omit --strict",
            )
        return plan._replace(readings=found.readings)

    def _dated(self, plan: ReplayPlan) -> ReplayPlan:
        """Sets the shift as of now, and says what it means."""
        options = self._options
        plan = plan.dated(options, _now())
        if plan.shift_s:
            zone = " --zone UTC" if options.moves and options.zone is None and self._naive() else ""
            shift = f"{plan.shift_s:.15g}"
            publishing.say(f"{_range(plan)} shifted by {shift} s; the same again: --shift {shift}{zone}")
        lasts_s = plan.lasts_s(options)
        if options.now and lasts_s is not None and lasts_s >= 1 and options.speed == 1:
            late = terminal.lasting(dt.timedelta(seconds=min(lasts_s, MOST_ETA_S)))
            publishing.say(f"each reading is published {late} after its time: --from-now publishes it when it is due")
        return plan

    def _naive(self) -> bool:
        return self._checks is not None and ("naive",) in self._checks.findings

    def _report(self, found: checks.Checks) -> None:
        for key, finding in found.findings.items():
            if key not in self._shown:
                self._shown.add(key)
                self._progress.end()
                publishing.say(f"{self._source.name}:{finding}")
        if found.more and ("more",) not in self._shown:
            self._shown.add(("more",))
            publishing.say(f"{self._source.name}: further kinds of findings are only counted")

    def _warn_offline(self) -> None:
        """Warns if the status of the settings' daemon is offline; does nothing without a status."""
        with contextlib.suppress(errors.VoltdError, KeyError, ValueError, TypeError):  # anybody may publish there
            if status.fetch(self._settings, timeout_s=STATUS_S)["status"] == "offline":
                publishing.say(
                    f"voltd {self._settings.instance} is offline: the broker keeps readings for its session, as far as "
                    "its queue goes, and nothing is stored before it is back"
                )

    def _pass_row(self, row: recording.RecordedRow) -> None:
        if self._checks is not None:
            self._checks.row(row, published_at=_now())
            self._report(self._checks)

    def _pass_fault(self, fault: recording.Fault) -> None:
        if self._checks is not None:
            self._checks.fault(fault)
            self._report(self._checks)

    def _show(self, tally: ReplayTally, plan: ReplayPlan) -> None:
        published = tally.published
        self._warn_undelivered(published)
        self._progress.show(self._how_far(published.vehicle + published.meter, plan), published.messages)

    def _warn_undelivered(self, published: Tally) -> None:
        if published.undelivered and not self._undelivered_shown:
            self._undelivered_shown = True
            self._progress.end()
            publishing.say(
                f"the broker has no subscriber for {terminal.printable(published.undelivered_topic)}: nobody stores "
                'this. Check that voltd runs and subscribes to it ("voltd check", mqtt.topics)'
            )

    def _how_far(self, done: int, plan: ReplayPlan) -> str:
        if not plan.readings:
            return f"{done} readings"
        text = f"{done} of {plan.readings} readings ({100 * done // plan.readings} %)"
        elapsed_s = self._progress.elapsed_s
        lasts_s = plan.lasts_s(self._options)
        if lasts_s is None:
            lasts_s = elapsed_s * plan.readings / done if done else math.inf
        left_s = max(0.0, lasts_s - elapsed_s)
        if left_s > MOST_ETA_S:
            return text
        left = dt.timedelta(seconds=left_s)
        return f"{text}, ends in {terminal.lasting(left)} at {terminal.local(_now() + left)}"

    def _end(self, tally: ReplayTally) -> int:
        published = tally.published
        self._warn_undelivered(published)
        if self._passes and self._checks is not None:  # the first of each kind has been printed
            for finding in self._checks.findings.values():
                if finding.rows > 1:
                    publishing.say(f"{self._source.name}:{finding}")
        if tally.unpublishable:
            publishing.say(f"{tally.unpublishable} lines could not be published")
        if self._checks is not None and self._checks.refused:
            refused, readings = self._checks.refused, self._checks.readings
            publishing.say(f"{refused} of {readings} readings are refused by voltd with these settings, see above")
        publishing.print_tally(published, self._progress.elapsed_s)
        if not tally.complete:
            publishing.say("ended before everything was published and acknowledged")
            return 1
        if not published.vehicle + published.meter:
            publishing.say("nothing was published")
            return 1
        return 1 if published.undelivered else 0


def _range(plan: ReplayPlan) -> str:
    """The span of the recording, which reveals a wrong clock that the checks have not recognised."""
    if plan.first_s is None or plan.last_s is None:
        return "times are"
    return f"recorded {span.time_of(plan.first_s)} to {span.time_of(plan.last_s)}: times are"


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
