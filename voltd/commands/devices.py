"""``voltd devices list|retire|activate|maintenance|pseudonym``: lists devices, sets their status, says pseudonyms.

The status is in the registry (``volt.vehicle``, ``volt.meter``), and rules observe it: a retired device raises no
alert, and its open alerts end without a notification. Its readings are still stored. The daemon may not
write the registry, so the actions that change it use the connection of ``voltd migrate``.
"""

from __future__ import annotations

import argparse
import datetime as dt
from typing import Any

import psycopg

from voltd import config, errors, terminal
from voltd.database import connections, queries
from voltd.pipeline.consume import pseudonyms

_LIST_HINT = "listing needs the role volt_reader, volt_writer or volt_owner"
_OWNER_HINT = (
    "changing the registry needs the role volt_registrar or volt_owner: set database.migrate_dsn"
    " (VOLTD_DATABASE__MIGRATE_DSN) to a user that has it"
)
_STATUSES = {"retire": "retired", "activate": "active", "maintenance": "maintenance"}
_LONGEST_ID = 64

_Connection = psycopg.Connection[Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the actions and their filters."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = terminal.action(actions, "list", "list devices that are registered or have sent messages")
    listing.add_argument("--type", choices=["vehicle", "meter"], help="only devices of this type")
    listing.add_argument("--status", choices=[*_STATUSES.values(), "unregistered"], help="only with this status")
    listing.add_argument("--fleet", type=terminal.given, help="only this fleet's devices")
    listing.add_argument("--limit", type=terminal.number, metavar="N", help="how many at most (default: all)")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    for action, sentence in (
        ("retire", "set devices to retired: rules ignore them"),
        ("activate", "set devices to active: rules apply to them"),
        ("maintenance", "set devices to maintenance: rules ignore them for now"),
    ):
        change = terminal.action(actions, action, sentence, "A device that is not registered is registered.")
        change.add_argument("type", choices=["vehicle", "meter"], help="what the devices are")
        change.add_argument("ids", type=_id, nargs="+", metavar="ID", help="a device's id, as in its messages")

    of = terminal.action(
        actions, "pseudonym", "say the pseudonym of a VIN, to register it and to look it up", "It asks no database."
    )
    of.add_argument("vins", type=_vin, nargs="+", metavar="VIN", help="a vehicle identification number")


def _vin(text: str) -> str:
    if not pseudonyms.is_vin(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no VIN: 17 letters and digits without I, O and Q, the last four digits"
        )
    return text


def _id(text: str) -> str:
    if not 1 <= len(text) <= _LONGEST_ID or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is no id of a device: 1 to {_LONGEST_ID} printable characters")
    return text


def run(args: argparse.Namespace, settings: config.Settings) -> int:
    """Runs the action.

    Raises:
        ConfigurationError: the user lacks the privilege; nothing was changed.
        StoreUnavailable: the connection was lost; nothing was changed.
    """
    if args.action == "pseudonym":
        return _pseudonyms(args.vins, settings)
    listing = args.action == "list"
    with (
        terminal.explained(_LIST_HINT if listing else _OWNER_HINT),
        psycopg.connect(connections.dsn(settings, migrate=not listing)) as connection,
    ):
        connection.execute("SET TIME ZONE 'UTC'")
        return _list(connection, args) if listing else _change(connection, args)


def _pseudonyms(vins: list[str], settings: config.Settings) -> int:
    renamed = pseudonyms.of(settings)
    if renamed is None:
        raise errors.ConfigurationError("pseudonyms are off", hint="set pseudonyms.key_file")
    for vin in vins:
        print(f"{vin} {renamed.of(vin)}")
    return 0


def _list(connection: _Connection, args: argparse.Namespace) -> int:
    filters = {"device_type": args.type, "status": args.status, "fleet": args.fleet}
    found = connection.execute(queries.text("list_devices"), filters).fetchall()
    shown = found[: args.limit]
    names = ("device_type", "device_id", "fleet_id", "status", "last_seen_at")
    if args.json:
        for row in shown:
            terminal.print_json(dict(zip(names, row[:-1], strict=True)))
        return 0
    cells = [
        (
            f"{device_type} {device_id}",
            fleet or "",
            status or "not registered",
            "never" if seen_at is None else f"{terminal.local(seen_at)} ({_ago(seconds)} ago)",
        )
        for device_type, device_id, fleet, status, seen_at, seconds in shown
    ]
    if cells:
        terminal.print_table(("DEVICE", "FLEET", "STATUS", "LAST HEARD"), cells)
    else:
        print("no devices")
    if len(found) > len(shown):
        print(f"the first {len(shown)} of {len(found)}; --limit shows more")
    return 0


def _ago(seconds: float) -> str:
    return terminal.lasting(dt.timedelta(seconds=seconds))


def _change(connection: _Connection, args: argparse.Namespace) -> int:
    status, ids = _STATUSES[args.action], list(dict.fromkeys(args.ids))
    before = connection.execute(queries.text("devices_before"), {"device_type": args.type, "ids": ids}).fetchall()
    connection.execute(queries.text(f"set_{args.type}_status"), {"ids": ids, "status": status})
    connection.commit()
    for device_id, was, seen, alerts in before:
        print(terminal.printable(f"{args.type} {device_id}: {_said(status, was, seen=seen, alerts=alerts)}"))
    return 0


def _said(status: str, was: str | None, *, seen: bool, alerts: int) -> str:
    if was == status:
        return f"is {status} already"
    text = f"{status}, was {was}" if was else f"{status}, and registered"
    if was is None and not seen:
        text += "; voltd has never heard it: is the name right?"
    if alerts and status != "active":
        many = "1 open alert ends" if alerts == 1 else f"{alerts} open alerts end"
        text += f"; {many} without a message, unless its rule names this status"
    return text
