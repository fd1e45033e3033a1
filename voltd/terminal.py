"""What commands read and print alike: times, durations, names, tables, errors of the database.

Times are read and printed in the user's time zone (TZ); JSON is in UTC. Sends no query.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import getpass
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg

from voltd import errors
from voltd.database import sqlstate

_DAYS = {"today": dt.timedelta(), "yesterday": dt.timedelta(days=1)}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST = dt.timedelta(days=3660)
_LARGEST = (1 << 63) - 1  # of PostgreSQL's bigint


def action(actions: Any, name: str, sentence: str, epilog: str = "") -> argparse.ArgumentParser:
    """Adds an action of a command; ``sentence`` says what it does in both helps."""
    parser: argparse.ArgumentParser = actions.add_parser(name, help=sentence, description=sentence, epilog=epilog)
    return parser


def when(zone: str = "this machine's time zone") -> str:
    """What WHEN is, for helps; ``zone`` is where times without offset are, and where days begin."""
    return (
        f"WHEN is a time like 2026-03-01T22:00Z ({zone} if it has no offset), how long ago: 90s, 15m, 6h, 7d, or the"
        " begin of today or yesterday."
    )


def span(text: str) -> dt.timedelta:
    """A duration such as 90s, 30m, 2h, 1d; more than zero, at most ten years."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    length = dt.timedelta(seconds=int(found[1]) * _UNITS[found[2]]) if found else dt.timedelta()
    if not dt.timedelta() < length <= LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is no span such as 90s, 30m, 2h, 1d (at most 10 years)")
    return length


def time(text: str, zone: dt.tzinfo | None = None) -> dt.datetime:
    """A time as RFC 3339, in UTC; without an offset it is in ``zone``, None is local time."""
    try:
        found = dt.datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 2026-03-01T22:00 or ...T22:00Z") from None


def moment(text: str, zone: dt.tzinfo | None = None) -> dt.datetime:
    """A time as in ``time``, how long ago that was, or ``today`` or ``yesterday``: the midnight with which it began."""
    if re.fullmatch(r"[0-9]+[smhd]", text):
        return dt.datetime.now(dt.UTC) - span(text)
    if text in _DAYS:
        return time(str(dt.datetime.now(zone).date() - _DAYS[text]), zone)
    try:
        return time(text, zone)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, no span such as 15m, 6h, 7d, nor today or yesterday") from None


def given(text: str) -> str:
    """A filter that is not empty: an empty one is a mistake, not "all"."""
    if not text.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} names nothing")
    return text


def number(text: str) -> int:
    """A count or an id, from 1 on."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:20]) <= _LARGEST):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def login() -> str:
    """The user's name, also behind sudo."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        return f"uid {os.getuid()}"


def local(moment: dt.datetime) -> str:
    """A time to the second with the local offset; in UTC where the calendar ends."""
    try:
        moment = moment.astimezone()
    except OverflowError:  # year 1 or 9999
        moment = moment.astimezone(dt.UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S%z}"


def lasting(length: dt.timedelta) -> str:
    """A duration in its two largest units: ``45 s``, ``2 h 5 min``, ``3 d``."""
    seconds = max(0, round(length.total_seconds()))
    sizes = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    first = next((index for index, (_, size) in enumerate(sizes) if seconds >= size), len(sizes) - 1)
    parts: list[str] = []
    for unit, size in sizes[first : first + 2]:
        count, seconds = divmod(seconds, size)
        parts.append(f"{count} {unit}" if count or not parts else "")
    return " ".join(part for part in parts if part)


def figure(value: float | None) -> str:
    """A value with at most two decimals."""
    return "" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")


def printable(text: str, keep: str = "") -> str:
    """Escapes control characters but those in ``keep``: publishers choose the text, which must not steer a terminal."""
    return re.sub(
        r"[\x00-\x1f\x7f-\x9f]", lambda found: found[0] if found[0] in keep else f"\\x{ord(found[0]):02x}", text
    )


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints columns as wide as their widest cell; the last one is not padded."""
    cells = [[printable(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_json(row: Mapping[str, Any]) -> None:
    """Prints one object on one line, times in UTC."""
    print(json.dumps(dict(row), default=lambda moment: moment.astimezone(dt.UTC).isoformat()))


@contextlib.contextmanager
def explained(privilege_hint: str) -> Iterator[None]:
    """Raises database errors as voltd's own; a missing privilege or schema becomes a ConfigurationError with a hint."""
    try:
        yield
    except (psycopg.Error, errors.StoreUnavailable) as error:
        cause = error if isinstance(error, psycopg.Error) else error.__cause__
        first_line = str(cause).strip().split("\n", 1)[0]
        if isinstance(cause, psycopg.errors.InsufficientPrivilege):
            raise errors.ConfigurationError(first_line, hint=privilege_hint) from error
        if isinstance(cause, psycopg.errors.UndefinedTable | psycopg.errors.InvalidSchemaName):
            raise errors.SchemaError(first_line, hint='run "voltd migrate"') from error
        if isinstance(error, psycopg.Error):
            raise sqlstate.wrap(error) from error
        raise
