"""``voltd alerts silence|silences|unsilence``: times in which alerts are recorded and shown, but suppressed.

A silence that begins later is a maintenance window. Alerts that are still open when it ends are sent then, so that
ending a silence early is safe.
"""

from __future__ import annotations

import argparse
import datetime as dt
import pathlib
import sys
from typing import Any

import psycopg

from voltd import errors, terminal
from voltd.database import queries
from voltd.rules import load

_Connection = psycopg.Connection[dict[str, Any]]
_HELP = (
    "Alerts that match all of the filters are opened, shown and resolved as ever, but suppressed until the silence "
    "ends; those that are open then are sent. With --from it is a maintenance window. TIME is like "
    "2026-03-01T22:00Z (this machine's time zone if it has no offset)."
)


def add_arguments(actions: Any) -> None:
    """Adds the three actions."""
    given = terminal.given
    silence = terminal.action(actions, "silence", "suppress the alerts that match the filters for a while", _HELP)
    silence.add_argument("--rule", type=given, help="only alerts of this rule")
    silence.add_argument("--fleet", type=given, help="only alerts of this fleet's vehicles")
    device = silence.add_mutually_exclusive_group()
    device.add_argument("--vehicle", type=given, metavar="ID", help="only alerts of this vehicle")
    device.add_argument("--meter", type=given, metavar="ID", help="only alerts of this meter")
    silence.add_argument("--all", action="store_true", help="all alerts; without the filters above")
    end = silence.add_mutually_exclusive_group(required=True)
    end.add_argument("--for", dest="lasts", type=terminal.span, metavar="SPAN", help="how long: 90s, 30m, 2h, 1d")
    end.add_argument("--until", type=terminal.time, metavar="TIME", help="its end")
    silence.add_argument("--from", dest="begins", type=terminal.time, metavar="TIME", help="its begin (default: now)")
    silence.add_argument("--comment", type=given, required=True, help="why, for those who miss the alerts")
    silence.add_argument("--by", type=given, metavar="NAME", help="who silences (default: your login name)")
    listing = terminal.action(actions, "silences", "list the silences in force and those to come")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    ending = terminal.action(actions, "unsilence", "end silences now; one to come never begins")
    ending.add_argument("ids", type=terminal.number, nargs="+", metavar="ID", help="its id, as silences prints it")


def run(connection: _Connection, args: argparse.Namespace, rules_file: pathlib.Path | None) -> int:
    """Runs one of the three actions; see ``alerts.run``."""
    if args.action == "silence":
        return _silence(connection, args, rules_file)
    return _list(connection, args) if args.action == "silences" else _end(connection, args)


def require_possible(args: argparse.Namespace) -> None:
    """Raises ``UsageError`` where ``silence`` cannot be meant so, before the database is asked."""
    filtered = bool(args.rule or args.fleet or args.vehicle or args.meter)
    if filtered == args.all:
        problem = "--all and a filter contradict each other" if filtered else "this would silence every alert there is"
        raise errors.UsageError(problem, hint="name --rule, --fleet, --vehicle or --meter; or --all for everything")
    now = dt.datetime.now(dt.UTC)
    begins = args.begins or now
    latest = now + terminal.LONGEST
    ends = args.until or min(begins, latest) + args.lasts
    if max(begins, ends) > latest:
        raise errors.UsageError(
            f"a silence ends within 10 years: by {terminal.local(latest)}",
            hint='a rule that is never to notify is switched off in rules.toml: "enabled = false"',
        )
    if ends <= max(begins, now):
        raise errors.UsageError(
            f"a silence from {terminal.local(begins)} until {terminal.local(ends)} would be over already",
            hint="it must end later than it begins, and later than now",
        )


def _silence(connection: _Connection, args: argparse.Namespace, rules_file: pathlib.Path | None) -> int:
    wanted = {
        "rule": args.rule,
        "fleet": args.fleet,
        "device_type": "vehicle" if args.vehicle else "meter" if args.meter else None,
        "device": args.vehicle or args.meter,
    }
    covers = connection.execute(queries.text("silence_covers"), wanted).fetchone() or {}
    for warning in _warnings(args, covers, rules_file):
        print(f"warning: {terminal.printable(warning)}", file=sys.stderr)
    made = connection.execute(
        queries.text("insert_silence"),
        {
            **wanted,
            "begins_at": args.begins,
            "ends_at": args.until,
            "for_s": args.lasts.total_seconds() if args.lasts else None,
            "by": args.by or terminal.login(),
            "comment": args.comment,
        },
    ).fetchone()
    connection.commit()
    if made is None:
        raise errors.VoltdError("the silence was not made", hint="try again")
    coming = args.begins is not None and args.begins > dt.datetime.now(dt.UTC)
    span = f"from {terminal.local(made['begins_at'])} " if coming else ""
    print(
        f"silence {made['silence_id']}: {_scope(made)}, {span}until {terminal.local(made['ends_at'])}"
        f" ({terminal.lasting(made['ends_at'] - made['begins_at'])}){'' if coming else _many(covers['open'])}"
    )
    return 0


def _many(count: int) -> str:
    return f"; {count} open alert{' is' if count == 1 else 's are'} covered" if count else ""


def _warnings(args: argparse.Namespace, covers: dict[str, Any], rules_file: pathlib.Path | None) -> list[str]:
    """Filters that match nothing known: most likely a typing mistake."""
    found = []
    if args.rule and not covers["rule_known"] and args.rule not in _rules(rules_file, args.rule):
        found.append(f"there is no rule {args.rule!r} here, nor has it ever raised an alert")
    if args.fleet and not covers["fleet_known"]:
        found.append(f"there is no fleet {args.fleet!r}")
    device = args.vehicle or args.meter
    if device and not covers["device_known"]:
        found.append(f"no {'vehicle' if args.vehicle else 'meter'} {device!r} is registered or has ever been heard")
    if args.fleet and (
        args.meter or (args.vehicle and covers["device_known"] and covers["device_fleet"] != args.fleet)
    ):
        found.append(f"{device!r} is not in fleet {args.fleet!r}: this fits nothing")
    return found


def _rules(rules_file: pathlib.Path | None, named: str) -> set[str]:
    """Names of the rules in force; ``named`` if the file cannot be read, as that is no reason to doubt the name."""
    try:
        return {rule.name for rule in load.load(rules_file)}
    except errors.ConfigurationError:
        return {named}


def _scope(row: dict[str, Any]) -> str:
    parts = [f"rule {row['rule']}" if row["rule"] else "", f"fleet {row['fleet_id']}" if row["fleet_id"] else ""]
    parts.append(f"{row['device_type']} {row['device_id']}" if row["device_id"] else "")
    return terminal.printable(", ".join(part for part in parts if part) or "everything")


def _list(connection: _Connection, args: argparse.Namespace) -> int:
    rows = connection.execute(queries.text("list_silences")).fetchall()
    if args.json:
        for row in rows:
            terminal.print_json(row)
        return 0
    if not rows:
        print("no silences")
        return 0
    cells = [
        (
            str(row["silence_id"]),
            "to come" if row["coming"] else "in force",
            _scope(row),
            terminal.local(row["begins_at"]),
            terminal.local(row["ends_at"]),
            str(row["open"]),
            row["created_by"],
            row["comment"],
        )
        for row in rows
    ]
    terminal.print_table(("ID", "STATE", "OF", "FROM", "UNTIL", "OPEN", "BY", "COMMENT"), cells)
    return 0


def _end(connection: _Connection, args: argparse.Namespace) -> int:
    ids = list(dict.fromkeys(args.ids))
    ended = {row["silence_id"]: row for row in connection.execute(queries.text("end_silences"), {"ids": ids})}
    known = {row["silence_id"]: row for row in connection.execute(queries.text("known_silences"), {"ids": ids})}
    connection.commit()
    for number in ids:
        if number in ended:
            print(f"silence {number}: {'will not begin' if ended[number]['coming'] else 'ended'}")
        elif number in known:
            print(f"silence {number}: had ended {terminal.local(known[number]['ends_at'])}")
        else:
            print(f"silence {number}: there is none with this number")
    return 0 if len(known) == len(ids) else 1
