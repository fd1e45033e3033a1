"""Active hours: the times of the week in which a rule may fire, in a time zone of their own.

Part of a rule (``model``), asked by ``advance`` and ``inactivity`` with the time of the event. No clock.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
import zoneinfo
from typing import Annotated, Literal

import pydantic
from pydantic import Field

_Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_DAYS: tuple[_Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]|24):([0-5]\d)")
_MIDNIGHT_MIN = 24 * 60


def _checked_hours(text: str) -> str:
    match = _HOURS.fullmatch(text)
    if match is None:
        raise ValueError('should be "HH:MM-HH:MM", like "22:00-06:00"')
    begin, end = _minutes(text)
    if begin == end or end > _MIDNIGHT_MIN:
        raise ValueError('should be a part of the day; all day is "00:00-24:00"')
    return text


def _minutes(text: str) -> tuple[int, int]:
    begin, _, end = text.partition("-")
    return int(begin[:2]) * 60 + int(begin[3:]), int(end[:2]) * 60 + int(end[3:])


@functools.cache
def _zone(name: str) -> dt.tzinfo:
    return dt.UTC if name == "UTC" else zoneinfo.ZoneInfo(name)


def _checked_zone(name: str) -> str:
    try:
        _zone(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("no such time zone here: write one like Europe/Berlin (package tzdata holds them)") from error
    return name


class ActiveHours(pydantic.BaseModel):
    """From ``hours`` to ``hours`` (the end excluded) on ``days``; hours over midnight belong to the day they begin on.

    They follow the clock on the wall: on the two days when it is changed they are an hour longer or shorter.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    hours: Annotated[str, pydantic.AfterValidator(_checked_hours)] = "00:00-24:00"
    days: Annotated[tuple[_Day, ...], Field(min_length=1)] = _DAYS
    timezone: Annotated[str, pydantic.AfterValidator(_checked_zone)] = "UTC"

    def contain(self, at: dt.datetime) -> bool:
        """Whether the aware time ``at`` is within them."""
        local = at.astimezone(_zone(self.timezone))
        begin, end = _minutes(self.hours)
        minute = local.hour * 60 + local.minute
        today, yesterday = _DAYS[local.weekday()], _DAYS[local.weekday() - 1]
        if begin < end:
            return begin <= minute < end and today in self.days
        return (minute >= begin and today in self.days) or (minute < end and yesterday in self.days)
