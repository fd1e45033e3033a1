"""Times that are numbers: seconds or milliseconds since 1970, which of the two their size says.

Shared by ``decode.fast`` and ``decode.timestamp``, so that both read the same time. Pure.
"""

from __future__ import annotations

import datetime as dt

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MILLISECONDS_FROM = 1e11  # as seconds the year 5138, as milliseconds 1973
_MICROSECONDS_FROM = 1e14


def from_epoch(value: float) -> dt.datetime:
    """Seconds since 1970 where they are below 1e11, else milliseconds; whole or with a fraction, to the microsecond.

    Raises:
        ValueError, OverflowError: neither is a time that anybody can have meant.
    """
    if not -_MICROSECONDS_FROM < value < _MICROSECONDS_FROM:
        raise ValueError("out of range")
    if -_MILLISECONDS_FROM < value < _MILLISECONDS_FROM:
        return _EPOCH + dt.timedelta(seconds=value)
    return _EPOCH + dt.timedelta(milliseconds=value)
