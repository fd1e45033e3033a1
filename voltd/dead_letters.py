"""``voltd dead-letters list|show``: what could not be stored and why, for the people who mend devices.

Reads ``volt.dead_letter``; changes nothing. The payload is shown by ``show`` only: it may hold personal data, and
the readers' role may not select it.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
from typing import Any

import psycopg

from voltd import config, errors, models
from voltd.database import queries, session, sqlstate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``list`` with its filters and ``show ID``."""
    actions = parser.add_subparsers(dest="action", required=True)
    listing = actions.add_parser("list", help="newest first")
    listing.add_argument("--reason", choices=[str(reason) for reason in models.Reason], help="only this reason")
    listing.add_argument("--topic", help="only this topic; MQTT wildcards allowed", metavar="FILTER")
    listing.add_argument("--since", type=_moment, help="received since (RFC 3339, or 90s, 15m, 6h, 7d)", metavar="WHEN")
    listing.add_argument("--limit", type=_positive, default=50, help="how many (default 50)")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    show = actions.add_parser("show", help="one of them with its payload")
    show.add_argument("id", type=int)


def run(args: argparse.Namespace, settings: config.Settings) -> int:
    """The command; 1 where ``show`` finds nothing."""
    try:
        with psycopg.connect(session.dsn(settings), row_factory=psycopg.rows.dict_row) as connection:
            connection.execute("SET TIME ZONE 'UTC'")
            if args.action == "show":
                return _show(connection, args.id)
            return _list(connection, args)
    except psycopg.Error as error:
        raise sqlstate.wrap(error) from error


def _list(connection: psycopg.Connection[dict[str, Any]], args: argparse.Namespace) -> int:
    filters = {
        "reason": args.reason,
        "topic": _like(args.topic) if args.topic else None,
        "since": args.since,
        "limit": args.limit,
    }
    rows = connection.execute(queries.text("list_dead_letters"), filters).fetchall()
    if args.json:
        for row in rows:
            print(json.dumps(row, default=str))
        return 0
    for row in rows:
        element = "" if row["element"] is None else f"[{row['element']}]"
        print(f"{row['id']:>8}  {row['received_at']:%Y-%m-%d %H:%M:%S}Z  {row['reason']:<16} {row['topic']}{element}")
        print(f"          {row['detail']}")
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
