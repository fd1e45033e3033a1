"""``voltd alerts list`` and ``show``: what is wrong now, and everything about one episode. Reads only.

Without filters ``list`` answers the question of a person who was woken up: which episodes are open, the worst first,
and which of them nobody has acknowledged yet.
"""

from __future__ import annotations

import argparse
import datetime as dt
from typing import Any

import psycopg

from voltd import errors, terminal
from voltd.alerts import notifications
from voltd.database import queries

_Connection = psycopg.Connection[dict[str, Any]]
_HEAD = ("ID", "SEVERITY", "RULE", "DEVICE", "FLEET", "SINCE", "FOR", "PEAK", "ACKNOWLEDGED", "SILENCED")
_ORDER = (
    "Without --all: the alerts that are open; those that nobody has acknowledged and no silence covers come first, the "
    "worst of them at the top, then the newest. With --all also those that are resolved, the newest first. --since and "
    "--until: those that were open at any time between, which implies --all unless --open is given. "
)


def add_arguments(actions: Any) -> None:
    """Adds both actions."""
    listing = terminal.action(actions, "list", "list what is wrong now, the worst first", _ORDER + terminal.when())
    which = listing.add_mutually_exclusive_group()
    which.add_argument("--open", action="store_true", help="only what is open (default)")
    which.add_argument("--all", action="store_true", help="also what is resolved")
    given = terminal.given
    listing.add_argument("--rule", type=given, help="only of this rule")
    listing.add_argument("--fleet", type=given, help="only of this fleet's vehicles")
    listing.add_argument("--device", type=given, metavar="ID", help="only of this vehicle, meter or daemon")
    listing.add_argument("--severity", choices=notifications.SEVERITIES, help="only this severity")
    listing.add_argument("--since", type=terminal.moment, metavar="WHEN", help="only what was open at WHEN or later")
    listing.add_argument("--until", type=terminal.moment, metavar="WHEN", help="only what was opened before WHEN")
    listing.add_argument("--limit", type=terminal.number, default=50, metavar="N", help="how many at most (default 50)")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    showing = terminal.action(actions, "show", "show one alert, and the channels that were notified of it")
    showing.add_argument("id", type=terminal.number, metavar="ID", help="its id, as list prints it")
    showing.add_argument("--json", action="store_true", help="one JSON object")


def list_(connection: _Connection, args: argparse.Namespace) -> int:
    """Prints the episodes asked for."""
    only_open = args.open or not (args.all or args.since or args.until)
    names = ("rule", "fleet", "device", "severity", "since", "until")
    filters = {"open": only_open, **{name: getattr(args, name) for name in names}}
    rows = connection.execute(queries.text("list_alerts"), {**filters, "limit": args.limit}).fetchall()
    if args.json:
        for row in rows:
            terminal.print_json(row)
        return 0
    if rows:
        now = dt.datetime.now(dt.UTC)
        terminal.print_table(_HEAD, [_cells(row, now) for row in rows])
    else:
        print("nothing is open" if only_open else "no alerts")
    counted = connection.execute(queries.text("count_alerts"), filters).fetchone() or {"count": 0, "ended": 0}
    if counted["count"] > len(rows):
        print(f"the first {len(rows)} of {counted['count']}; --limit shows more")
    if only_open and not args.open and counted["ended"]:
        print(f"{counted['ended']} ended within the last 24 h: --all --since 24h shows them")
    return 0


def _cells(row: dict[str, Any], now: dt.datetime) -> tuple[str, ...]:
    ended = row["resolved_at"]
    length = terminal.lasting((ended or now) - row["opened_at"])
    state = f"{length}, {'past' if row['past'] else 'over'}" if ended else length
    silence, until = row["silence_id"], row["silenced_until"]
    return (
        str(row["alert_id"]),
        row["severity"],
        row["rule"],
        f"{row['device_type']} {row['device_id']}",
        row["fleet_id"] or "",
        terminal.local(row["opened_at"]),
        state,
        terminal.figure(row["peak_value"]),
        row["acknowledged_by"] or ("" if row["acknowledged_at"] is None else "yes"),
        f"by {silence} until {terminal.local(until)}" if silence else "",
    )


def show(connection: _Connection, args: argparse.Namespace) -> int:
    """Prints everything about one episode.

    Raises:
        VoltdError: there is no such alert.
    """
    row = connection.execute(queries.text("show_alert"), {"id": args.id}).fetchone()
    if row is None:
        raise errors.VoltdError(f"no alert {args.id}", hint="voltd alerts list --all shows which there are")
    deliveries = connection.execute(queries.text("deliveries_of_alert"), {"id": args.id}).fetchall()
    if args.json:
        terminal.print_json({**row, "deliveries": deliveries})
        return 0
    for name, value in row.items():
        text = terminal.local(value) if isinstance(value, dt.datetime) else value
        print(f"{name:<16} {'' if text is None else terminal.printable(str(text))}".rstrip())
    print()
    if not deliveries:
        print("nobody was notified")
        return 0
    head = ("DELIVERY", "CHANNEL", "TRANSITION", "SEVERITY", "STATUS", "SINCE", "SENT", "ATTEMPTS", "RESULT")
    terminal.print_table(head, [_delivery_cells(delivery) for delivery in deliveries])
    return 0


def _delivery_cells(delivery: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(delivery["delivery_id"]),
        delivery["channel"],
        delivery["transition"] + (" (quiet)" if delivery["quiet"] else ""),
        delivery["severity"],
        delivery["status"],
        terminal.local(delivery["created_at"]),
        terminal.local(delivery["sent_at"]) if delivery["sent_at"] else "",
        str(delivery["attempts"]),
        delivery["result"] or "",
    )
