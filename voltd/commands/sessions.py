"""``voltd sessions export``: the charging sessions of a month, or what they come to a vehicle, as CSV or JSON.

A month is that of the fleet's calendar; times are written with the fleet's offset. Reads only.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import datetime as dt
import decimal
import json
import pathlib
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

import psycopg

from voltd import config, errors, terminal
from voltd.database import connections, queries

_HINT = "exporting needs the role volt_reader: see database.dsn"
_FIRST_YEAR = 2000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the action and its filters."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    export = terminal.action(
        actions,
        "export",
        "print the charging sessions of a month, or what they come to",
        "A session belongs to the month in which it starts, by the calendar of its fleet (fleet.timezone, else the "
        "setting timezone). docs/sessions.md explains the columns.",
    )
    export.add_argument("--month", type=_month, required=True, metavar="YYYY-MM", help="which month, such as 2026-10")
    export.add_argument("--fleet", type=terminal.given, help="only of vehicles that were in this fleet then")
    export.add_argument("--format", choices=("csv", "json"), default="csv", help="default: csv")
    export.add_argument("--totals", action="store_true", help="CSV: a line a vehicle; JSON has both")
    export.add_argument("--output", type=pathlib.Path, metavar="FILE", help="write to this file (default: print)")


def run(args: argparse.Namespace, settings: config.Settings) -> int:
    """Exports.

    Raises:
        ConfigurationError: this user may not read, or there is no schema.
        StoreUnavailable: the database went away; a file that was there is as it was.
        UsageError: there is no such fleet, or the file cannot be written.
    """
    values = {"month": args.month, "fleet": args.fleet}
    with (
        terminal.explained(_HINT),
        psycopg.connect(connections.dsn(settings), row_factory=psycopg.rows.dict_row) as connection,
    ):
        if args.fleet and not connection.execute(queries.text("fleet_exists"), values).fetchone():
            raise errors.UsageError(
                f"there is no fleet {args.fleet!r}", hint="SELECT fleet_id FROM volt.fleet lists them"
            )
        wants = {"sessions": not args.totals, "totals": args.totals or args.format == "json"}
        sessions = (
            [_session(row) for row in connection.execute(queries.text("sessions_of_month"), values)]
            if wants["sessions"] or args.format == "json"
            else []
        )
        totals = (
            connection.execute(queries.text("session_totals_of_month"), values).fetchall() if wants["totals"] else []
        )
    with _output(args.output) as file:
        if args.format == "json":
            _write_json(file, args, sessions, totals)
        else:
            _write_csv(file, totals if args.totals else sessions, _TOTALS if args.totals else _SESSIONS)
    active = sum(one["status"] == "ACTIVE" for one in sessions)
    if active:
        print(f"{active} of {len(sessions)} sessions may still go on", file=sys.stderr)
    return 0


_SESSIONS = (
    "session_id", "vehicle_id", "fleet_id", "meter_id", "source", "start_date_time", "end_date_time", "status", "kwh",
    "dc_kwh", "efficiency_pct", "efficiency_low_pct", "efficiency_high_pct", "quality", "dc_source", "ac_source",
    "duration_s", "charging_s", "soc_start_pct", "soc_end_pct", "odometer_start_km", "odometer_end_km", "power_max_kw",
    "battery_temp_max_c", "latitude", "longitude", "found_by", "estimated",
)  # fmt: skip
_TOTALS = (
    "vehicle_id", "fleet_id", "sessions", "active", "without_kwh", "kwh", "dc_kwh", "efficiency_pct", "duration_s",
    "charging_s",
)  # fmt: skip


def _month(text: str) -> dt.date:
    """The first day of a month such as 2026-10."""
    found = re.fullmatch(r"(\d{4})-(\d{2})", text, re.ASCII)
    if not found or not 1 <= int(found[2]) <= 12 or int(found[1]) < _FIRST_YEAR:  # noqa: PLR2004 -- months
        raise argparse.ArgumentTypeError(f"{text!r} is no month such as 2026-10")
    return dt.date(int(found[1]), int(found[2]), 1)


def _session(row: dict[str, Any]) -> dict[str, Any]:
    """A row as it is exported: times with the offset of the fleet's time zone."""
    row["start_date_time"] = _with_offset(row["start_local"], row["started_at"])
    row["end_date_time"] = _with_offset(row["end_local"], row["ended_at"])
    return row


def _with_offset(local: dt.datetime | None, moment: dt.datetime | None) -> str | None:
    if local is None or moment is None:
        return None
    zone = dt.timezone(local.replace(tzinfo=dt.UTC) - moment.astimezone(dt.UTC))
    return moment.astimezone(zone).isoformat(timespec="seconds")


@contextlib.contextmanager
def _output(path: pathlib.Path | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        return
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield file
        part.replace(path)
    except OSError as error:
        raise errors.UsageError(f"{path} cannot be written: {error.strerror}", hint="name another file") from error


def _write_csv(file: TextIO, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row[column]) for column in columns] for row in rows)


def _cell(value: Any) -> Any:
    """What a spreadsheet takes for a formula is none: devices choose their ids."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value


def _write_json(
    file: TextIO, args: argparse.Namespace, sessions: list[dict[str, Any]], totals: list[dict[str, Any]]
) -> None:
    """One object, with a line for each session and vehicle."""
    file.write(f'{{"month": "{args.month:%Y-%m}", "fleet": {json.dumps(args.fleet)},\n"sessions": ')
    _write_list(file, ({column: one[column] for column in _SESSIONS} for one in sessions))
    file.write(',\n"totals": ')
    _write_list(file, totals)
    file.write("}\n")


def _write_list(file: TextIO, rows: Iterable[dict[str, Any]]) -> None:
    file.write("[\n" + ",\n".join(json.dumps(row, default=_number) for row in rows) + "\n]")


def _number(value: decimal.Decimal) -> float | int:
    return int(value) if value == value.to_integral_value() else float(value)
