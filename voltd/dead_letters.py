"""``voltd dead-letters list|show|replay|discard``: what could not be stored and why, for the people who mend devices.

Payloads may hold personal data: only the schema's owner can read them, so all but ``list`` use the connection of
``voltd migrate``. Replaying itself is in ``dead_letters_replay``.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from typing import Any

import psycopg

from voltd import config, dead_letters_replay, errors, models
from voltd.database import queries, session, sqlstate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions and their filters."""
    actions = parser.add_subparsers(dest="action", required=True)
    listing = actions.add_parser("list", help="newest first")
    _add_filters(listing)
    listing.add_argument("--limit", type=_positive, default=50, help="how many (default 50)")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    show = actions.add_parser("show", help="one of them with its payload")
    show.add_argument("id", type=int)
    replay = actions.add_parser("replay", help="store what can be stored now; the others stay")
    _add_filters(replay)
    replay.add_argument("--again", action="store_true", help="also those that were replayed before")
    replay.add_argument("--dry-run", action="store_true", help="only say what would come of it")
    discard = actions.add_parser("discard", help="delete them for good")
    _add_filters(discard)
    discard.add_argument("--yes", action="store_true", help="do not ask")


def _add_filters(parser: argparse.ArgumentParser) -> None:
    when = "(RFC 3339, or 90s, 15m, 6h, 7d ago)"
    parser.add_argument("ids", type=_positive, nargs="*", metavar="ID", help="only these (default: all)")
    parser.add_argument("--reason", choices=[str(reason) for reason in models.Reason], help="only this reason")
    parser.add_argument("--topic", help="only this topic; MQTT wildcards allowed", metavar="FILTER")
    parser.add_argument("--since", type=_moment, help=f"received since {when}", metavar="WHEN")
    parser.add_argument("--until", type=_moment, help=f"received before {when}", metavar="WHEN")


def run(args: argparse.Namespace, settings: config.Settings) -> int:
    """The command; 1 where ``show`` finds nothing or ``replay`` leaves some."""
    if args.action == "replay":
        options = dead_letters_replay.Options(_filters(args), again=args.again, dry_run=args.dry_run)
        return dead_letters_replay.run(settings, options)
    dsn = session.dsn(settings, migrate=args.action != "list")
    try:
        with psycopg.connect(dsn, row_factory=psycopg.rows.dict_row) as connection:
            connection.execute("SET TIME ZONE 'UTC'")
            if args.action == "show":
                return _show(connection, args.id)
            if args.action == "discard":
                return _discard(connection, args)
            return _list(connection, args)
    except psycopg.errors.InsufficientPrivilege as error:
        raise errors.ConfigurationError(str(error).strip(), hint=dead_letters_replay.OWNER_HINT) from error
    except psycopg.Error as error:
        raise sqlstate.wrap(error) from error


def _filters(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "ids": args.ids or None,
        "reason": args.reason,
        "topic": _like(args.topic) if args.topic else None,
        "since": args.since,
        "until": args.until,
    }


def _discard(connection: psycopg.Connection[dict[str, Any]], args: argparse.Namespace) -> int:
    filters = _filters(args)
    row = connection.execute(queries.text("count_dead_letters"), filters).fetchone()
    count = row["count"] if row else 0
    if not args.yes:
        if not sys.stdin.isatty():
            raise errors.UsageError(f"{count} dead letters would be deleted for good", hint="add --yes to do it")
        if input(f"delete {count} dead letters for good? [y/N] ").strip().lower() not in {"y", "yes"}:
            print("nothing was deleted")
            return 0
    print(f"{connection.execute(queries.text('discard_dead_letters'), filters).rowcount} dead letters deleted")
    return 0


def _list(connection: psycopg.Connection[dict[str, Any]], args: argparse.Namespace) -> int:
    filters = {**_filters(args), "limit": args.limit}
    rows = connection.execute(queries.text("list_dead_letters"), filters).fetchall()
    if args.json:
        for row in rows:
            print(json.dumps(row, default=str))
        return 0
    for row in rows:
        element = "" if row["element"] is None else f"[{row['element']}]"
        print(f"{row['id']:>8}  {row['received_at']:%Y-%m-%d %H:%M:%S}Z  {row['reason']:<16} {row['topic']}{element}")
        replayed = f" (stored {row['replayed_at']:%Y-%m-%d %H:%M:%S}Z)" if row["replayed_at"] else ""
        print(f"          {row['detail']}{replayed}")
    if not rows:
        print("no dead letters")
    return 0


def _show(connection: psycopg.Connection[dict[str, Any]], identity: int) -> int:
    row = connection.execute(queries.text("show_dead_letter"), {"id": identity}).fetchone()
    if row is None:
        raise errors.VoltdError(f"no dead letter {identity}", hint="voltd dead-letters list shows which there are")
    payload: bytes = row.pop("payload")
    for name, value in row.items():
        print(f"{name:<12}{'' if value is None else value}")
    print("payload")
    print(payload.decode("utf-8", "backslashreplace"))
    return 0


def _like(topic_filter: str) -> str:
    """An MQTT filter as a POSIX regular expression: ``+`` is one level, ``#`` the rest."""
    parts = ["[^/]*" if level == "+" else ".*" if level == "#" else _escape(level) for level in topic_filter.split("/")]
    return "^" + "/".join(parts) + "$"


def _escape(text: str) -> str:
    return "".join(f"\\{char}" if char in r".^$*+?()[]{}|\\" else char for char in text)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def _moment(text: str) -> dt.datetime:
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    if text[-1:] in units and text[:-1].isdigit():
        return dt.datetime.now(dt.UTC) - dt.timedelta(**{units[text[-1]]: int(text[:-1])})
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither RFC 3339 nor a span such as 15m") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
