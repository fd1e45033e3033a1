"""``voltd rules test|check``: try rules on stored history before they page people, and check a file of rules.

``test`` reads stored history with a reader's rights and prints the episodes; it changes nothing and notifies nobody.
"""

from __future__ import annotations

import argparse
import datetime as dt
import heapq
import pathlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import psycopg

from voltd import config, errors, terminal
from voltd.commands import rules_text
from voltd.database import connections
from voltd.rules import load, model
from voltd.rules.backtest import episodes, history

_HINT = "history is for the roles volt_reader, volt_writer and volt_owner"
_SHOWN = 100
_HELP = (
    f"{terminal.when()} Every reading is evaluated as if on arrival; one that arrived later than late_after_s could "
    "only become part of a past episode, which is marked so. Excursions and inactivity count from the beginning of "
    "the period, and how often a device usually reports is learnt anew from there. Inactivity is the time between "
    "arrivals of stored readings: an outage of voltd counts as inactivity, and so does a device that only repeats "
    "what is stored (for the daemon a duplicate is a sign of life); whether a message was retained is not known. The "
    "registry (fleets, models, status) is today's. Rules on ingest_lag_s and unit_factor cannot be tested: what they "
    "watch is not stored, and the report says so. The rules in force are those that the settings name; if FILE differs "
    "from them both are run. Notifications: fired, worse and resolved, each once, before grouping and silences."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The two actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    test = terminal.action(actions, "test", "print the alerts that FILE would have raised over stored history", _HELP)
    test.add_argument("file", type=pathlib.Path, metavar="FILE", help="file of rules, written like rules.toml")
    moment = terminal.moment
    test.add_argument("--from", dest="begins", type=moment, required=True, metavar="WHEN", help="begin of the period")
    test.add_argument("--to", dest="ends", type=moment, metavar="WHEN", help="end of the period (default: now)")
    test.add_argument("--fleet", type=terminal.given, help="only this fleet's vehicles")
    test.add_argument(
        "--vehicle", type=terminal.given, action="append", metavar="ID", help="only this vehicle; may be repeated"
    )
    most = f"print at most N episodes (default {_SHOWN}; with --json all)"
    test.add_argument("--limit", type=terminal.number, metavar="N", help=most)
    test.add_argument("--json", action="store_true", help="one JSON object a line: episodes, then a summary per rule")
    check = terminal.action(actions, "check", "check a file of rules, and explain each rule")
    check.add_argument("file", type=pathlib.Path, nargs="?", metavar="FILE", help="default: the rules in force")


def run(args: argparse.Namespace, settings: config.Settings) -> int:
    """The command.

    Raises:
        ConfigurationError: the file is broken, or this user may not read history.
        StoreUnavailable: the database went away; run it again.
        UsageError: a period that ends before it begins.
    """
    if args.action == "check":
        rules = load.load(args.file or settings.alerts.rules_file)
        if rules:
            terminal.print_table(rules_text.RULE_HEAD, [rules_text.rule_cells(rule) for rule in rules])
        else:
            print("no rules: nothing will ever be raised")
        return 0
    return _test(args, settings)


class _Trial(NamedTuple):
    """What is run: the rules of the file, then those in force that differ from them."""

    rules: tuple[model.Rule, ...]
    own: int  # so many of them are the file's
    in_force: tuple[model.Rule, ...]  # all of them
    differs: bool


def _trial(path: pathlib.Path, in_force_path: pathlib.Path | None) -> _Trial:
    own = load.load(path)
    try:
        in_force = load.load(in_force_path)
    except errors.ConfigurationError as error:
        print(f"warning: no comparison with the rules in force: {error}", file=sys.stderr)
        return _Trial(own, len(own), (), differs=False)
    others = tuple(rule for rule in in_force if rule not in own)
    return _Trial(own + others, len(own), in_force, differs=bool(others) or len(own) != len(in_force))


def _test(args: argparse.Namespace, settings: config.Settings) -> int:
    now = dt.datetime.now(dt.UTC)
    ends = min(args.ends or now, now)  # the future is no inactivity
    if ends <= args.begins:
        raise errors.UsageError("--to is not after --from, or all of it is still to come", hint="name a past period")
    trial = _trial(args.file, settings.alerts.rules_file)
    period = history.Period(args.begins, ends, args.fleet, tuple(args.vehicle) if args.vehicle else None)
    summaries = [rules_text.Summary() for _ in trial.rules]
    with terminal.explained(_HINT), psycopg.connect(connections.dsn(settings)) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        connection.commit()
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        found = _counted(history.run(connection, trial.rules, period), summaries)
        own = (one for one in found if one.number < trial.own)
        if args.json:
            _print_json(own, args.limit)
        else:
            _print_episodes(own, args.limit or _SHOWN, summaries[: trial.own], ends)
    _print_summaries(trial, summaries, period, as_json=args.json)
    return 0


def _counted(
    found: Iterator[history.FoundEpisode], summaries: Sequence[rules_text.Summary]
) -> Iterator[history.FoundEpisode]:
    for one in found:
        summaries[one.number].add(one.episode)
        yield one


def _print_json(found: Iterable[history.FoundEpisode], limit: int | None) -> None:
    """In the order in which they are found, one at a time."""
    for count, (_, one) in enumerate(found):
        if limit is None or count < limit:
            values = {name: value for name, value in one._asdict().items() if name != "device"}
            whose = {name: getattr(one.device, name) for name in ("device_type", "device_id", "fleet_id")}
            terminal.print_json({"kind": "episode", **values, **whose})


def _print_episodes(
    found: Iterable[history.FoundEpisode], limit: int, summaries: Sequence[rules_text.Summary], ends: dt.datetime
) -> None:
    """The first ones by time; no more than these are in memory."""
    first = heapq.nsmallest(limit, (one.episode for one in found), key=_order)
    if first:
        cells = [rules_text.episode_cells(one, ends) for one in first]
        terminal.print_table(rules_text.EPISODE_HEAD, cells)
    total = sum(one.episodes for one in summaries)
    if total > len(first):
        print(f"the first {len(first)} of {total}; --limit shows more")
    print("" if first else "no episodes\n")


def _order(one: episodes.Episode) -> tuple[object, ...]:
    return (one.opened_at, one.rule, one.device.device_type, one.device.device_id)


def _print_summaries(
    trial: _Trial, summaries: Sequence[rules_text.Summary], period: history.Period, *, as_json: bool
) -> None:
    length = period.ends - period.begins
    names = [rule.name for rule in trial.rules[: trial.own]]
    names += [rule.name for rule in trial.in_force if rule.name not in names] if trial.differs else []
    rows = []
    totals = (rules_text.Total(), rules_text.Total())  # of these rules, and of those in force
    for name in names:
        own = _of(name, trial.rules[: trial.own], trial, summaries)
        other = _of(name, trial.in_force, trial, summaries) if trial.differs else None
        for total, one in zip(totals, (own, other), strict=True):
            total.add(one)
        if as_json:
            why = next((why for one in trial.rules if one.name == name and (why := rules_text.not_tested(one))), None)
            _print_summary(name, own, other, length, why)
            continue
        rows.append((name, *_cells(own, length), *(_cells(other, length) if trial.differs else ())))
    if as_json:
        _print_total(totals, length, differs=trial.differs)
    elif rows:
        head = ("RULE", "EPISODES", "DEVICES", "NOTIFICATIONS A DAY")
        compared = ("IN FORCE: EPISODES", "DEVICES", "NOTIFICATIONS A DAY") if trial.differs else ()
        in_force = totals[1].cells(length) if trial.differs else ()
        terminal.print_table((*head, *compared), [*rows, ("all rules", *totals[0].cells(length), *in_force)])
    if not as_json:
        for note in rules_text.notes(trial.rules[: trial.own]):
            print(note)


def _of(
    name: str, rules: Sequence[model.Rule], trial: _Trial, summaries: Sequence[rules_text.Summary]
) -> rules_text.Summary | None:
    """Of the rule with this name among ``rules``; None: there is none, or no history of its metric."""
    rule = next((one for one in rules if one.name == name), None)
    if rule is None or not history.testable(rule):
        return None
    return summaries[trial.rules.index(rule)]


def _cells(summary: rules_text.Summary | None, length: dt.timedelta) -> tuple[str, ...]:
    if summary is None:
        return ("-", "-", "-")
    late = f" ({summary.past} too late)" if summary.past else ""
    return (f"{summary.episodes}{late}", str(len(summary.devices)), summary.a_day(length))


def _print_total(totals: Sequence[rules_text.Total], length: dt.timedelta, *, differs: bool) -> None:
    row: dict[str, object] = {"kind": "total"}
    for prefix, one in zip(("", "in_force_"), totals, strict=True):
        if differs or not prefix:
            row[f"{prefix}episodes"], row[f"{prefix}devices"] = one.episodes, len(one.devices)
            row[f"{prefix}notifications_a_day"] = round(one.messages / (length / dt.timedelta(days=1)), 3)
    terminal.print_json(row)


def _print_summary(
    name: str, own: rules_text.Summary | None, other: rules_text.Summary | None, length: dt.timedelta, why: str | None
) -> None:
    days = length / dt.timedelta(days=1)
    row: dict[str, object] = {"kind": "summary", "rule": name}
    for prefix, one in (("", own), ("in_force_", other)):
        row[f"{prefix}episodes"] = one.episodes if one else None
        row[f"{prefix}past"] = one.past if one else None
        row[f"{prefix}devices"] = len(one.devices) if one else None
        row[f"{prefix}notifications_a_day"] = round(one.messages / days, 3) if one else None
        row[f"{prefix}messages_a_day"] = row[f"{prefix}notifications_a_day"]
    if why is not None:
        row["note"] = why
    terminal.print_json(row)
