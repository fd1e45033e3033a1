"""``voltd dead-letters list|show|replay|discard``: what could not be stored, and why.

Payloads may hold personal data. Only the schema's owner can read them, so every action but ``list`` uses the connection
of ``voltd migrate``. ``filters`` reads which dead letters are meant; ``replay`` processes them again.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import psycopg

from voltd import config, errors, models, terminal
from voltd.commands.dead_letters import filters, replay, tally
from voltd.database import connections, queries

_Connection = psycopg.Connection[dict[str, Any]]
_LIST_HINT = "listing needs the role volt_reader, volt_writer or volt_owner"
_OWNER_HINT = (
    "only the schema's owner may read and process payloads: set database.migrate_dsn"
    " (VOLTD_DATABASE__MIGRATE_DSN) to a user with the role volt_owner"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the actions and their filters."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = terminal.action(actions, "list", "list them, the newest first")
    filters.add(listing)
    listing.add_argument("--limit", type=terminal.number, default=50, metavar="N", help="how many at most (default 50)")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    show = terminal.action(actions, "show", "show one of them with its payload")
    show.add_argument("id", type=terminal.number, metavar="ID", help="its id, as list prints it")
    show.add_argument("--raw", action="store_true", help="print the payload alone, byte by byte, for a file")
    replaying = terminal.action(actions, "replay", "store what can be stored now; the others stay")
    filters.add(replaying)
    replaying.add_argument("--again", action="store_true", help="also those that were replayed before")
    replaying.add_argument("--dry-run", action="store_true", help="only print what would be stored")
    replaying.add_argument(
        "--overwrite",
        action="store_true",
        help="with --reason conflict: replace the stored values by these; volt.correction keeps the old ones",
    )
    discard = terminal.action(actions, "discard", "delete them for good")
    filters.add(discard)
    discard.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def run(args: argparse.Namespace, settings: config.Settings) -> int:
    """Runs the action; 1 if ``show`` finds nothing or ``replay`` leaves some.

    Raises:
        ConfigurationError: the user lacks the privilege, or there is no schema; nothing was done.
        StoreUnavailable: the connection was lost; a discard deleted nothing, a replay can be run again.
        UsageError: a discard without confirmation.
    """
    if args.action == "replay":
        if args.overwrite and args.reason != models.Reason.CONFLICT:
            raise errors.UsageError(
                "--overwrite replaces stored values, so it needs --reason conflict",
                hint="voltd dead-letters replay --reason conflict --overwrite [--topic FILTER | ID ...]",
            )
        options = replay.Options(
            filters.parameters(args), again=args.again, dry_run=args.dry_run, overwrite=args.overwrite
        )
        with terminal.explained(_OWNER_HINT):
            return replay.run(settings, options)
    hint = _LIST_HINT if args.action == "list" else _OWNER_HINT
    dsn = connections.dsn(settings, migrate=args.action != "list")
    with terminal.explained(hint), psycopg.connect(dsn, row_factory=psycopg.rows.dict_row) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        if args.action == "show":
            return _show(connection, args.id, raw=args.raw)
        if args.action == "discard":
            return _discard(connection, args)
        return _list(connection, args)


def _discard(connection: _Connection, args: argparse.Namespace) -> int:
    chosen = filters.parameters(args)
    row = connection.execute(queries.text("count_dead_letters"), chosen).fetchone() or {"count": 0, "last": None}
    connection.commit()  # no transaction stays open while the user decides
    many = tally.many(row["count"], "dead letter")
    if not args.yes:
        if not sys.stdin.isatty():
            raise errors.UsageError(f"{many} would be deleted for good", hint="add --yes to do it")
        if not row["count"] or not _confirmed(f"delete {many} for good? [y/N] "):
            print("nothing was deleted")
            return 0
    # Dead letters that arrived meanwhile were not counted and are not deleted.
    deleted = connection.execute(queries.text("discard_dead_letters"), {**chosen, "last": row["last"]}).rowcount
    connection.commit()
    print(f"{tally.many(deleted, 'dead letter')} deleted")
    return 0


def _confirmed(question: str) -> bool:
    try:
        return input(question).strip().lower() in {"y", "yes"}
    except EOFError:
        print()
        return False


def _list(connection: _Connection, args: argparse.Namespace) -> int:
    chosen = filters.parameters(args)
    rows = connection.execute(queries.text("list_dead_letters"), {**chosen, "limit": args.limit}).fetchall()
    if args.json:
        for row in rows:
            terminal.print_json(row)
        return 0
    for row in rows:
        element = "" if row["element"] is None else f"[{row['element']}]"
        head = f"{row['id']:>8}  {row['received_at']:%Y-%m-%d %H:%M:%S}Z  {row['reason']:<16} "
        print(head + terminal.printable(row["topic"] + element))
        times = (
            f" ({row['repeats']} times, last {row['last_received_at']:%H:%M:%S}Z)" if row["last_received_at"] else ""
        )
        replayed = f" (replayed {row['replayed_at']:%Y-%m-%d %H:%M:%S}Z)" if row["replayed_at"] else ""
        print(f"          {terminal.printable(row['detail'])}{times}{replayed}")
    if not rows:
        print("no dead letters")
    elif len(rows) == args.limit:
        found = connection.execute(queries.text("count_dead_letters"), chosen).fetchone()
        if found and found["count"] > args.limit:
            print(f"the newest {args.limit} of {tally.many(found['count'], 'dead letter')}; --limit shows more")
    return 0


def _show(connection: _Connection, identity: int, *, raw: bool) -> int:
    row = connection.execute(queries.text("show_dead_letter"), {"id": identity}).fetchone()
    if row is None:
        raise errors.VoltdError(f"no dead letter {identity}", hint="voltd dead-letters list prints their ids")
    payload: bytes = row.pop("payload")
    if raw:
        sys.stdout.buffer.write(payload)
        return 0
    for name, value in row.items():
        print(f"{name:<18}{'' if value is None else terminal.printable(str(value))}")
    print("payload")
    print(terminal.printable(payload.decode("utf-8", "backslashreplace"), keep="\n\t"))
    return 0
