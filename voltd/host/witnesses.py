"""What speaks for or against this host's clock beside the devices: the kernel, the installation, the database.

Asked by ``host_clock``, by the jobs once a minute and by ``voltd check``. Reads only: nothing here sets a clock.
"""

from __future__ import annotations

import ctypes
import datetime as dt
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import psycopg

from voltd.database import queries

_STA_UNSYNC = 0x0040  # adjtimex(2)
_TIME_ERROR = 5
# Made by a running systemd-timesyncd, chrony, ntpd or OpenNTPD.
_SERVICES = ("systemd/timesync", "chrony", "chrony.pid", "chronyd.pid", "ntpd.pid", "ntpd.sock")
_SAMPLES = 3

Clock = Callable[[], dt.datetime]


class Kernel(NamedTuple):
    """What this host says of its own clock.

    Attributes:
        synchronised: as the kernel says; None: it does not say (a container, a sandbox).
        kept: whether a service here would synchronise it: only then is a clock that is not synchronised a reason for
            doubt. Many containers and virtual machines have a clock that is right and no service that says so.
        impossible: it is earlier than the installation of voltd.
    """

    synchronised: bool | None = None
    kept: bool = False
    impossible: bool = False

    @property
    def doubts(self) -> str:
        """Why it may be wrong, for people; empty: no reason."""
        if self.impossible:
            return "it is before the day on which voltd was installed"
        return "the kernel says that it is not synchronised" if self.synchronised is False and self.kept else ""


class DatabaseClock(NamedTuple):
    """The database's clock against this host's.

    Attributes:
        ahead_s: how far it is ahead; negative: behind.
        within_s: what half the round trip leaves uncertain.
    """

    ahead_s: float
    within_s: float

    def differs(self, by_s: float) -> bool:
        """Whether it is off by more than that, for certain. Then it is another clock: no clock differs from itself."""
        return abs(self.ahead_s) > by_s + self.within_s

    def agrees(self, ahead_s: float, tolerance_s: float) -> bool:
        """Whether it is as far ahead."""
        return abs(self.ahead_s - ahead_s) <= tolerance_s + self.within_s


class _Timex(ctypes.Structure):
    """The first fields of ``struct timex``, and room for the others."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("others", ctypes.c_char * 512),
    )


def kernel(run: pathlib.Path = pathlib.Path("/run")) -> Kernel:
    """Asks the kernel and looks around; blocks for no longer than a few files take."""
    kept = any((run / name).exists() for name in _SERVICES)
    return Kernel(_synchronised(), kept, time.time() < pathlib.Path(__file__).stat().st_ctime)


def _synchronised() -> bool | None:
    buffer = _Timex()  # modes = 0: only reads, which needs no privilege
    try:
        answer = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(buffer))
    except (OSError, AttributeError):
        return None
    if answer < 0:  # EPERM under a filter of system calls
        return None
    return answer != _TIME_ERROR and not buffer.status & _STA_UNSYNC


def database(connection: psycopg.Connection[Any], wall: Clock = lambda: dt.datetime.now(dt.UTC)) -> DatabaseClock:
    """Asks the database for the time, a few times; the quickest answer counts.

    Raises:
        psycopg.Error: as it comes.
    """
    found = []
    for _ in range(_SAMPLES):
        asked_at = wall()
        row = connection.execute(queries.text("clock")).fetchone()
        answered_at = wall()
        took = (answered_at - asked_at) / 2
        if row is not None:
            found.append(DatabaseClock((row[0] - (asked_at + took)).total_seconds(), abs(took.total_seconds())))
    return min(found, key=lambda one: one.within_s)
