"""``voltd alerts list|show|ack|silence|silences|unsilence``: episodes and silences, for the people who are paged.

Works with the daemon's role (``database.dsn``); the daemon sees changes at its next look into the outbox. ``show``
lists and shows episodes, ``silence`` has the actions on silences.
"""

from __future__ import annotations

import argparse
import datetime as dt
from typing import Any

import psycopg

from voltd import config, terminal
from voltd.commands.alerts import show, silence
from voltd.database import connections, queries

_HINT = "listing needs the role volt_reader, acknowledging and silencing volt_writer: see database.dsn"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the actions and their filters."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show.add_arguments(actions)
    ack = terminal.action(actions, "ack", "take alerts on: they are not sent again until they escalate or resolve")
    ack.add_argument("ids", type=terminal.number, nargs="+", metavar="ID", help="an alert's id, as list prints it")
    ack.add_argument("--by", type=terminal.given, metavar="NAME", help="who takes them on (default: your login name)")
    ack.add_argument("--undo", action="store_true", help="take the acknowledgement back: the alerts are repeated again")
    silence.add_arguments(actions)


def run(args: argparse.Namespace, settings: config.Settings) -> int:
    """Runs the command; returns 1 if a named alert or silence does not exist (the others are processed all the same).

    Raises:
        ConfigurationError: this user may not do it, or there is no schema; nothing was done.
        StoreUnavailable: the database went away; nothing was done.
        UsageError: a silence covers everything without --all, or ends before it begins.
    """
    if args.action == "silence":
        silence.require_possible(args)
    with (
        terminal.explained(_HINT),
        psycopg.connect(connections.dsn(settings), row_factory=psycopg.rows.dict_row) as connection,
    ):
        connection.execute("SET TIME ZONE 'UTC'")
        if args.action == "list":
            return show.list_(connection, args)
        if args.action == "show":
            return show.show(connection, args)
        if args.action == "ack":
            return _acknowledge(connection, args)
        return silence.run(connection, args, settings.alerts.rules_file)


def _acknowledge(connection: psycopg.Connection[dict[str, Any]], args: argparse.Namespace) -> int:
    ids = list(dict.fromkeys(args.ids))
    query = "take_back_acknowledgements" if args.undo else "acknowledge_alerts"
    done = connection.execute(queries.text(query), {"ids": ids, "by": args.by or terminal.login()}).fetchall()
    changed = {row["alert_id"] for row in done}
    known = {row["alert_id"]: row for row in connection.execute(queries.text("acknowledged_alerts"), {"ids": ids})}
    connection.commit()
    for alert_id in ids:
        print(f"alert {alert_id}: {_result(known.get(alert_id), changed=alert_id in changed, undo=args.undo)}")
    return 0 if len(known) == len(ids) else 1


def _result(row: dict[str, Any] | None, *, changed: bool, undo: bool) -> str:
    if row is None:
        return "there is none with this number"
    resolved = " (it is over)" if row["resolved_at"] else ""
    if undo:
        return ("no longer acknowledged" if changed else "nobody had acknowledged it") + resolved
    by = terminal.printable(row["acknowledged_by"] or "")
    if changed:
        return f"acknowledged by {by}{resolved}"
    if row["acknowledged_at"] is None:  # taken back by somebody else in between
        return "not acknowledged"
    ago = terminal.lasting(dt.datetime.now(dt.UTC) - row["acknowledged_at"])
    return f"was acknowledged by {by} {ago} ago{resolved}"
