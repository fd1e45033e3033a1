"""A reading's time from what a device wrote: RFC 3339, epoch seconds or milliseconds, local time where its zone is set.

``decode`` asks for every payload that is not taken the fast way. Pure.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from typing import Annotated, Any

import msgspec

from voltd import hints, terminal
from voltd.models import Reason
from voltd.pipeline.decode import fields
from voltd.pipeline.decode.epoch import from_epoch

_WithOffset = Annotated[dt.datetime, msgspec.Meta(tz=True)]
_Local = Annotated[dt.datetime, msgspec.Meta(tz=False)]
_TELEGRAM = re.compile(r"[0-9]{12}[SW]", re.ASCII)
_LATE = dt.timedelta(hours=1)
_CLOCK_SET = 10  # an earlier year, of two digits, is that of a meter without a clock


class TimestampReader:
    """Reads times as the settings allow them.

    Args:
        epoch: whether numbers are taken.
        as_text: whether a number may be written as a text.
    """

    def __init__(self, *, epoch: bool, as_text: bool) -> None:
        self.epoch = epoch
        self._as_text = as_text

    def read(
        self, name: str, value: Any, zone: zoneinfo.ZoneInfo | None, received_at: dt.datetime | None = None
    ) -> dt.datetime:
        """The time.

        A local time that comes twice, at the end of summer time, is the one nearer to its arrival; of what arrives over
        an hour later nothing says which it is, and the first is taken. One that is left out at the begin of summer time
        counts on from before.

        Args:
            name: the field's, for the detail.
            value: as parsed from JSON.
            zone: what a time without offset is in; None: it is refused.
            received_at: when the message arrived; None: nobody knows, as if it was late.

        Raises:
            fields.Invalid: it is none.
        """
        kind = value.__class__
        if kind is str:
            return self._from_text(name, value, zone, received_at)
        if kind is int or kind is float:
            return self._from_number(name, value)
        raise _bad(f"{name}: a time belongs here, not {hints.shown(value)}", name)

    def _from_text(
        self, name: str, text: str, zone: zoneinfo.ZoneInfo | None, received_at: dt.datetime | None
    ) -> dt.datetime:
        try:
            return msgspec.convert(text, _WithOffset)
        except msgspec.ValidationError:
            pass
        if fields.is_number(text):
            if self._as_text:
                return self._from_number(name, float(text))
            raise _bad(f"{name}: {text!r:.60} is a text, and limits.numbers_as_text is off", name)
        try:
            local = msgspec.convert(text, _Local)
        except msgspec.ValidationError:
            shown = hints.shown(text)
            raise _bad(f"{name}: not RFC 3339 like 2026-05-01T12:00:00Z, but {shown}", name) from None
        if zone is None:
            raise _bad(
                f"{name}: {text!r:.60} has no offset: send one (Z or +02:00), or set timestamps.zone for its topic",
                name,
            )
        try:
            return _in_zone(local, zone, received_at)
        except OverflowError:
            raise _bad(f"{name}: {text!r:.60} is out of range", name) from None

    def _from_number(self, name: str, value: float) -> dt.datetime:
        if not self.epoch:
            raise _bad(f"{name}: {hints.shown(value)} is a number, and timestamps.epoch is off", name)
        try:
            return from_epoch(value)
        except (ValueError, OverflowError):
            shown = hints.shown(value)
            raise _bad(f"{name}: {shown} is neither seconds nor milliseconds since 1970", name) from None


class Range:
    """Between which times readings must be dated, seen from their arrival."""

    def __init__(self, max_age_days: int, max_future_s: int) -> None:
        self._max_age = dt.timedelta(days=max_age_days)
        self._max_future = dt.timedelta(seconds=max_future_s)

    def oldest(self, received_at: dt.datetime) -> dt.datetime:
        """The oldest time taken."""
        return received_at - self._max_age

    def newest(self, received_at: dt.datetime) -> dt.datetime:
        """The latest time taken."""
        return received_at + self._max_future

    def check(self, name: str, at: dt.datetime, received_at: dt.datetime) -> None:
        """Refuses a time outside; ``name`` is that of its field.

        Raises:
            fields.Invalid: it is outside.
        """
        ahead = at - received_at
        if ahead > self._max_future:
            most = int(self._max_future.total_seconds())
            detail = f"{name}: {terminal.lasting(ahead)} ahead of its arrival, limits.max_future_s = {most}"
            raise fields.Invalid(Reason.IN_FUTURE, detail, name)
        if -ahead > self._max_age:
            detail = f"{name}: {(-ahead).days} days before its arrival, limits.max_age_days = {self._max_age.days}"
            raise fields.Invalid(Reason.TOO_OLD, detail, name)


def _in_zone(local: dt.datetime, zone: zoneinfo.ZoneInfo, received_at: dt.datetime | None) -> dt.datetime:
    first = local.replace(tzinfo=zone).astimezone(dt.UTC)
    if received_at is None:
        return first
    second = local.replace(tzinfo=zone, fold=1).astimezone(dt.UTC)
    comes_twice = second > first
    live = abs(received_at - second) < abs(received_at - first) and received_at - second <= _LATE
    return second if comes_twice and live else first


def from_telegram(name: str, value: Any) -> dt.datetime | None:
    """The time of a P1 telegram: ``YYMMDDhhmmss`` and S for summer (+02:00) or W for winter (+01:00).

    The letter says which hour it is when summer time ends.

    Returns:
        The time, UTC; None: the meter's clock is not set (``000101010000W``).

    Raises:
        fields.Invalid: it is none.
    """
    if value.__class__ is str and _TELEGRAM.fullmatch(value):
        if int(value[:2]) < _CLOCK_SET:
            return None
        zone = dt.timezone(dt.timedelta(hours=2 if value[-1] == "S" else 1))
        try:
            year, month, day, hour, minute, second = (int(value[place : place + 2]) for place in range(0, 12, 2))
            return dt.datetime(2000 + year, month, day, hour, minute, second, tzinfo=zone).astimezone(dt.UTC)
        except ValueError:
            pass
    raise _bad(f"{name}: not a time of a P1 telegram like 230310180022W, but {hints.shown(value)}", name)


def is_local(text: str) -> bool:
    """Whether it is a time without offset."""
    try:
        msgspec.convert(text, _Local)
    except msgspec.ValidationError:
        return False
    return True


def _bad(detail: str, name: str) -> fields.Invalid:
    return fields.Invalid(Reason.BAD_TIME, detail, name)
