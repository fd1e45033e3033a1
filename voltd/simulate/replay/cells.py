"""Reads the cells and times of a recording: numbers, decimal commas, cells that say NA, times and their zone.

``recording`` calls it for each cell. A value that it cannot read is passed on unchanged: the daemon decides whether it
can be stored. Pure.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import zoneinfo
from typing import Any, NamedTuple

from voltd import errors
from voltd.simulate.replay import fields

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_EPOCHS = ((1, 1e11), (1000, 1e14))  # seconds up to the year 5138, beyond that milliseconds, from 1973
_LEAST_EPOCH_S = 1e8  # digits of a text below that may be a date, as in 20261001
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_COMMA = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:\.\d{3})+),\d+")
_NA = {"na", "n/a", "#n/a", "<na>", "n.a.", "nan", "-nan", "null", "nil", "none", "-", "--", "?", "k.a.", "n.v."}
_NA_WORDS = {"na", "n/a", "#n/a", "<na>", "n.a.", "nan", "null"}  # in a column of texts, where "none" is a word


class Reading(NamedTuple):
    """How cells are read that are no payload values.

    Attributes:
        zone: the zone of times without offset; None leaves them without one.
        decimal_comma: ``63,5`` is 63.5, ``1.234,5`` is 1234.5.
        skip_na: leave cells out that say NA and the like.
    """

    zone: dt.tzinfo | None = None
    decimal_comma: bool = False
    skip_na: bool = False


class Time(NamedTuple):
    """When a row was recorded.

    Attributes:
        key: the payload field with the time.
        at: aware, or naive if neither the row nor the zone has an offset; None if it is no time.
        epoch: 1 or 1000 for a number in seconds or milliseconds; 0 for a text.
        naive: it was written without offset.
    """

    key: str
    at: dt.datetime | None
    epoch: int = 0
    naive: bool = False


def says_na(text: str, *, is_text: bool = False) -> bool:
    """Whether a cell means that there is no value; in a column of texts fewer words do."""
    return text.strip().lower() in (_NA_WORDS if is_text else _NA)


def has_decimal_comma(text: str) -> bool:
    """Whether a cell is a number with a decimal comma, with or without points between thousands."""
    return _COMMA.fullmatch(text.strip()) is not None


def json_text(name: str, cell: str, reading: Reading) -> str:
    """A cell as JSON: a number if it is one and the column is no text, an object in diagnostics, else a text."""
    if name in fields.TEXTS:
        return cell if name in fields.TIME_KEYS and _JSON_NUMBER.fullmatch(cell) else json.dumps(cell)
    if name == "diagnostics":
        return cell if _is_object(cell) else json.dumps(cell)
    if reading.decimal_comma and name in fields.NUMBERS and has_decimal_comma(cell):
        cell = cell.replace(".", "").replace(",", ".")
    if _JSON_NUMBER.fullmatch(cell):
        return cell
    try:
        number = float(cell)
    except ValueError:
        return json.dumps(cell)
    return repr(number) if math.isfinite(number) else json.dumps(cell)


def _is_object(cell: str) -> bool:
    try:
        return isinstance(json.loads(cell), dict)
    except (ValueError, RecursionError):
        return False


def time(key: str, written: Any, reading: Reading) -> Time:
    """Parses a time: RFC 3339 and similar forms, or seconds or milliseconds since the epoch."""
    number = float(written) if isinstance(written, str) and _JSON_NUMBER.fullmatch(written) else written
    epoch = _epoch(key, number)
    if not isinstance(written, str) or (epoch is not None and number >= _LEAST_EPOCH_S):
        return epoch or Time(key, None)
    try:
        at = dt.datetime.fromisoformat(written.strip())
    except ValueError:
        return epoch or Time(key, None)
    if at.tzinfo is not None:
        return Time(key, at)
    return Time(key, at if reading.zone is None else at.replace(tzinfo=reading.zone), naive=True)


def _epoch(key: str, number: Any) -> Time | None:
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        return None
    per_s = next((per_s for per_s, most in _EPOCHS if -most < number < most), None)
    try:
        return None if per_s is None else Time(key, EPOCH + dt.timedelta(seconds=number / per_s), per_s)
    except OverflowError:  # before the year 1
        return None


def time_text(time: Time, shift: dt.timedelta) -> str | None:
    """The JSON of a time ``shift`` later; None if it stays as written."""
    if time.at is None or not (shift or (time.naive and time.at.tzinfo)):
        return None
    try:
        # Add in UTC: adding to a local time is wrong by an hour when daylight saving time begins or ends.
        shifted = time.at + shift if time.at.tzinfo is None else (time.at.astimezone(dt.UTC) + shift)
        if time.at.tzinfo is not None:
            shifted = shifted.astimezone(time.at.tzinfo)
    except OverflowError:  # the year 9999 of a clock that was never set stays
        shifted = time.at
    if not time.epoch:
        return f'"{shifted.isoformat()}"'
    number = round((shifted - EPOCH) / dt.timedelta(microseconds=1)) / 1e6 * time.epoch
    return str(int(number)) if number == int(number) else repr(round(number, 6))


def zone(text: str) -> dt.tzinfo:
    """Parses a time zone: ``Europe/Berlin``, ``UTC``, ``+02:00``.

    Raises:
        UsageError: unknown.
    """
    offset = re.fullmatch(r"([+-])(\d\d):?([0-5]\d)", text)
    if offset and int(offset[2]) < 24:  # noqa: PLR2004
        length = dt.timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        return dt.timezone(-length if offset[1] == "-" else length)
    try:
        return zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise errors.UsageError(
            f"--zone {text!r} is no time zone known here",
            hint="write it like Europe/Berlin, UTC or --zone=+02:00 (a system without time zones: install tzdata)",
        ) from error


def is_ambiguous(time: Time) -> bool:
    """Whether a local time exists twice, in the hour in which the clock is set back; the first is used."""
    at = time.at
    return time.naive and at is not None and at.tzinfo is not None and at.utcoffset() != at.replace(fold=1).utcoffset()
