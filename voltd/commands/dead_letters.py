"""``voltd dead-letters list|show|replay|discard``: what could not be stored and why, for the people who mend devices.

Payloads may hold personal data: only the schema's owner can read them, so all but ``list`` use the connection of
``voltd migrate``. Which dead letters are meant is in ``dead_letters_filters``, replaying in ``dead_letters_replay``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import psycopg

from voltd import config, errors, models
from voltd.commands import dead_letters_filters, dead_letters_replay
from voltd.database import queries, session, sqlstate

_Connection = psycopg.Connection[dict[str, Any]]
_LIST_HINT = "listing needs the role volt_reader, volt_writer or volt_owner"
_OWNER_HINT = (
    "payloads are for the schema's owner only, and so is what is done with them: set database.migrate_dsn"
    " (VOLTD_DATABASE__MIGRATE_DSN) to a user with the role volt_owner"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions and their filters."""
    actions = parser.add_subparsers(dest="action", required=True)
    listing = actions.add_parser("list", help="newest first")
    dead_letters_filters.add(listing)
    listing.add_argument("--limit", type=dead_letters_filters.number, default=50, help="how many (default 50)")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    show = actions.add_parser("show", help="one of them with its payload")
    show.add_argument("id", type=dead_letters_filters.number, metavar="ID")
    show.add_argument("--raw", action="store_true", help="the payload alone, byte by byte, for a file")
    replay = actions.add_parser("replay", help="store what can be stored now; the others stay")
    dead_letters_filters.add(replay)
    replay.add_argument("--again", action="store_true", help="also those that were replayed before")
    replay.add_argument("--dry-run", action="store_true", help="only say what would come of it")
    replay.add_argument(
        "--overwrite",
        action="store_true",
        help="with --reason conflict: put the new values in instead of the stored ones; volt.correction keeps the old",
    )
    discard = actions.add_parser("discard", help="delete them for good")
    dead_letters_filters.add(discard)
    discard.add_argument("--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace, settings: config.Settings) -> int:
    """The command; 1 where ``show`` finds nothing or ``replay`` leaves some.

    Raises:
        ConfigurationError: this user may not do it, or there is no schema; nothing was done.
        StoreUnavailable: the database went away; a discard deleted nothing, a replay can be run again.
        UsageError: a discard that nobody has confirmed.
    """
    if args.action == "replay":
        if args.overwrite and args.reason != models.Reason.CONFLICT:
            raise errors.UsageError(
                "--overwrite replaces stored values, so it needs --reason conflict",
                hint="voltd dead-letters replay --reason conflict --overwrite [--topic FILTER | ID ...]",
            )
        options = dead_letters_replay.Options(
            dead_letters_filters.parameters(args), again=args.again, dry_run=args.dry_run, overwrite=args.overwrite
        )
        with _explained(_OWNER_HINT):
            return dead_letters_replay.run(settings, options)
    hint = _LIST_HINT if args.action == "list" else _OWNER_HINT
    dsn = session.dsn(settings, migrate=args.action != "list")
    with _explained(hint), psycopg.connect(dsn, row_factory=psycopg.rows.dict_row) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        if args.action == "show":
            return _show(connection, args.id, raw=args.raw)
        if args.action == "discard":
            return _discard(connection, args)
        return _list(connection, args)


@contextlib.contextmanager
def _explained(privilege_hint: str) -> Iterator[None]:
    """Database errors as ours, with the two that an admin can mend told apart."""
    try:
        yield
    except (psycopg.Error, errors.StoreUnavailable) as error:
        cause = error if isinstance(error, psycopg.Error) else error.__cause__
        if isinstance(cause, psycopg.errors.InsufficientPrivilege):
            raise errors.ConfigurationError(_first_line(cause), hint=privilege_hint) from error
        if isinstance(cause, psycopg.errors.UndefinedTable | psycopg.errors.InvalidSchemaName):
            raise errors.SchemaError(_first_line(cause), hint='run "voltd migrate"') from error
        if isinstance(error, psycopg.Error):
            raise sqlstate.wrap(error) from error
        raise


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().split("\n", 1)[0]


def _discard(connection: _Connection, args: argparse.Namespace) -> int:
    filters = dead_letters_filters.parameters(args)
    row = connection.execute(queries.text("count_dead_letters"), filters).fetchone() or {"count": 0, "last": None}
    connection.commit()  # no transaction stays open while a person thinks
    many = _many(row["count"])
    if not args.yes:
        if not sys.stdin.isatty():
            raise errors.UsageError(f"{many} would be deleted for good", hint="add --yes to do it")
        if not row["count"] or not _confirmed(f"delete {many} for good? [y/N] "):
            print("nothing was deleted")
            return 0
    # What came since was not counted and is not deleted.
    deleted = connection.execute(queries.text("discard_dead_letters"), {**filters, "last": row["last"]}).rowcount
    connection.commit()
    print(f"{_many(deleted)} deleted")
    return 0


def _confirmed(question: str) -> bool:
    try:
        return input(question).strip().lower() in {"y", "yes"}
    except EOFError:
        print()
        return False


def _many(count: int) -> str:
    return f"{count} dead letter{'' if count == 1 else 's'}"


def _list(connection: _Connection, args: argparse.Namespace) -> int:
    filters = dead_letters_filters.parameters(args)
    rows = connection.execute(queries.text("list_dead_letters"), {**filters, "limit": args.limit}).fetchall()
    if args.json:
        for row in rows:
            print(json.dumps(row, default=lambda moment: moment.isoformat()))
        return 0
    for row in rows:
        element = "" if row["element"] is None else f"[{row['element']}]"
        head = f"{row['id']:>8}  {row['received_at']:%Y-%m-%d %H:%M:%S}Z  {row['reason']:<16} "
        print(head + _printable(row["topic"] + element))
        times = (
            f" ({row['repeats']} times, last {row['last_received_at']:%H:%M:%S}Z)" if row["last_received_at"] else ""
        )
        replayed = f" (replayed {row['replayed_at']:%Y-%m-%d %H:%M:%S}Z)" if row["replayed_at"] else ""
        print(f"          {_printable(row['detail'])}{times}{replayed}")
    if not rows:
        print("no dead letters")
    elif len(rows) == args.limit:
        found = connection.execute(queries.text("count_dead_letters"), filters).fetchone()
        if found and found["count"] > args.limit:
            print(f"the newest {args.limit} of {_many(found['count'])}; --limit shows more")
    return 0


def _show(connection: _Connection, identity: int, *, raw: bool) -> int:
    row = connection.execute(queries.text("show_dead_letter"), {"id": identity}).fetchone()
    if row is None:
        raise errors.VoltdError(f"no dead letter {identity}", hint="voltd dead-letters list shows which there are")
    payload: bytes = row.pop("payload")
    if raw:
        sys.stdout.buffer.write(payload)
        return 0
    for name, value in row.items():
        print(f"{name:<18}{'' if value is None else _printable(str(value))}")
    if row["reason"] == models.Reason.TOO_LARGE and dead_letters_replay.is_cut(payload, row["detail"]):
        print(f"payload           (only the first {len(payload)} bytes were kept)")
    else:
        print("payload")
    print(_printable(payload.decode("utf-8", "backslashreplace"), keep="\n\t"))
    return 0


def _printable(text: str, keep: str = "") -> str:
    """Without what would steer a terminal: anybody who may publish decides on this text."""
    return re.sub(
        r"[\x00-\x1f\x7f-\x9f]", lambda found: found[0] if found[0] in keep else f"\\x{ord(found[0]):02x}", text
    )
