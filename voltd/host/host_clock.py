"""This host's clock: its steps, and whether it is to be believed.

``wiring`` makes one. ``app`` has it look twice a second, the jobs pass it the database's time once a minute, and the
clock guard of ``flush`` asks it whether a fleet that seems to be ahead may be right. After a step,
``corrected`` brings a time of receipt that was taken before it into the frame of the present clock.
"""

from __future__ import annotations

import collections
import datetime as dt
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import structlog

from voltd.host import witnesses

_log = structlog.get_logger()

STEP_S = 1.0  # a smaller one is none
DIFFERS_S = 5.0  # from the database's clock
OFF_S = 30.0  # from which on people should know
CASE_S = 60.0  # a case for the rule of the daemons
TOLERANCE_S = 120.0  # devices' clocks are off by some seconds, too
_TOLERANCE = 0.02  # of the amount: a device that was off counts as well
_MOST_FRAMES = 100
_MOMENT_S, _TRIES = 0.1, 100
_SLACK = dt.timedelta(seconds=STEP_S)
_FEW = 3
_DRIFT_S = 300.0  # no step: who agreed with the clock before may not any more
_SUSPECTED_S = 180.0  # the rules look each minute
_QUARTER_S, _LARGEST_ZONE_S = 900.0, 14 * 3600.0 + 60
ADVICE = "set the clock: timedatectl set-ntp true, or chronyc makestep; timedatectl shows how it stands"


def _monotonic() -> float:
    """Counts while the machine sleeps as well: waking up is no step."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class _Frame(NamedTuple):
    """A time between two steps.

    Attributes:
        begins: the first time of it; None: of the first frame.
        before: the last time of the frame before it, by that one's clock.
        by: how far the step went.
    """

    begins: dt.datetime | None = None
    before: dt.datetime | None = None
    by: dt.timedelta = dt.timedelta(0)


class Suspicion(NamedTuple):
    """This host's clock is wrong.

    Attributes:
        ahead_s: how far the devices are ahead of it; negative: behind.
        devices: how many agree on that.
        of: of how many.
        witness: who else says so.
    """

    ahead_s: float
    devices: int
    of: int
    witness: str

    def __str__(self) -> str:
        """For people."""
        side = "behind" if self.ahead_s > 0 else "ahead"
        who = f"{self.devices} of {self.of} devices" if self.of > 1 else "the device that was heard"
        return f"this host's clock is {spell(abs(self.ahead_s))} {side}, as {who} show; {self.witness}"


class HostClock:
    """May be asked by any thread.

    Args:
        wall: the clock.
        monotonic: seconds that no step touches.
        kernel: what the host says of its own clock.
    """

    def __init__(
        self,
        wall: witnesses.Clock = lambda: dt.datetime.now(dt.UTC),
        monotonic: Callable[[], float] = _monotonic,
        kernel: Callable[[], witnesses.Kernel] = witnesses.kernel,
    ) -> None:
        self._wall, self._monotonic, self._kernel = wall, monotonic, kernel
        self._lock = threading.Lock()
        self._frames = collections.deque([_Frame()], maxlen=_MOST_FRAMES)
        self._seen = self._both()
        self._database: witnesses.DatabaseClock | None = None
        self._agreed = False
        self._suspected: tuple[Suspicion, float] | None = None
        self.steps = 0  # so far
        self.accepted = False  # an admin takes it for right, until it steps
        self.confirmed = False  # devices have agreed with it, since it last stepped

    def now(self) -> dt.datetime:
        """The time by this clock."""
        return self._wall()

    def _both(self) -> tuple[dt.datetime, float]:
        """Wall and monotonic time of one moment: a process that is stopped between the two readings sees no step."""
        for _ in range(_TRIES):
            before_s, now, after_s = self._monotonic(), self._wall(), self._monotonic()
            if after_s - before_s <= _MOMENT_S:
                break
        return now, after_s

    def look(self) -> int:
        """How often the clock has stepped so far. To be called twice a second: a step is dated by the last look."""
        with self._lock:
            (last, last_s), (now, now_s) = self._seen, self._both()
            self._seen = (now, now_s)
            passed = dt.timedelta(seconds=now_s - last_s)
            by = now - (last + passed)
            if abs(by) >= dt.timedelta(seconds=STEP_S):
                self._frames.append(_Frame(last + by, last + passed, by))
                self.steps += 1
                self.accepted = self.confirmed = self._agreed = False
                self._suspected = None
                if self._database is not None:
                    ahead_s = self._database.ahead_s - by.total_seconds()
                    self._database = self._database._replace(ahead_s=ahead_s)
                _log.warning("clock.stepped", by_s=round(by.total_seconds(), 1))
            return self.steps

    def corrected(self, at: dt.datetime) -> dt.datetime:
        """A time that this clock gave at any time since the start, as it would be by the present clock.

        Where it may be of two frames the later one counts.
        """
        with self._lock:
            by, ends = dt.timedelta(0), self._wall()
            for frame in reversed(self._frames):
                if frame.begins is None or frame.begins - _SLACK <= at <= ends + _SLACK:
                    break
                by += frame.by
                ends = frame.before or ends
        return at + by

    def note_database(self, found: witnesses.DatabaseClock) -> None:
        """What the database's clock says now. While the database is away both clocks are taken to run on."""
        with self._lock:
            known = self._database
            if known is not None and known.differs(DIFFERS_S) and not found.differs(DIFFERS_S):
                self._agreed = True  # another clock, as it was off, and now it is not
            self._database = found

    def wrong(self, ahead_s: float, devices: int, *, by_database: bool = False) -> str:
        """Who agrees with most devices that this clock is wrong and theirs are right; empty: nobody.

        Args:
            ahead_s: how far the devices are ahead; negative: behind.
            devices: how many agree on that.
            by_database: no other witness will do.
        """
        if self.accepted:
            return ""
        database, tolerance_s = self._database, max(TOLERANCE_S, _TOLERANCE * abs(ahead_s))
        if database is not None and database.differs(DIFFERS_S):
            most_s = database.ahead_s + database.within_s + tolerance_s
            agrees = 0 < ahead_s <= most_s or database.agrees(ahead_s, tolerance_s)  # readings may be late, not early
            return "the database's clock agrees with them" if agrees else ""
        kernel = self._kernel()
        believed = self.confirmed and abs(ahead_s) > _DRIFT_S
        if by_database or believed or (kernel.impossible and ahead_s < 0):
            return ""
        if devices < _FEW and not kernel.impossible and _is_zone(ahead_s):  # as likely the mistake of one firmware
            return ""
        return kernel.doubts

    def suspect(self, suspicion: Suspicion | None) -> None:
        """What the rules found at their last look at the devices' clocks; None: nothing against this one."""
        with self._lock:
            self._suspected = None if suspicion is None else (suspicion, self._monotonic())

    def trouble(self) -> tuple[float, str]:
        """By how many seconds this clock is off, if people have to set it, and a text for them; 0 and empty: right.

        Devices show it, or the database's clock. If that one is far off while devices agree with this one, the
        database's is wrong.
        """
        with self._lock:
            suspected, database, now_s = self._suspected, self._database, self._monotonic()
        if self.accepted:
            return 0.0, ""
        if suspected is not None and now_s - suspected[1] <= _SUSPECTED_S:
            return abs(suspected[0].ahead_s), f"{suspected[0]}; {ADVICE}"
        if database is None or not database.differs(CASE_S) or self.mistrusts_database():
            return 0.0, ""
        off_s = abs(database.ahead_s)
        return off_s, f"this host's clock is {self.describe()}; {ADVICE}; where it is right, set the database host's"

    def mistrusts_database(self) -> bool:
        """Whether the database's clock is far off, and devices agree with this one."""
        database = self._database
        return self.confirmed and database is not None and database.differs(_DRIFT_S)

    def vouched(self) -> bool:
        """Whether somebody says that this clock is right: an admin, another clock, or the kernel."""
        if self.accepted:
            return True
        database = self._database
        if database is not None and database.differs(DIFFERS_S):
            return False
        return self._agreed or self._kernel().synchronised is True

    def describe(self) -> str:
        """What is wrong with this clock as far as is known without the devices, for people; empty: nothing."""
        database = self._database
        if database is not None and database.differs(OFF_S):
            side = "behind" if database.ahead_s > 0 else "ahead of"
            return f"{spell(abs(database.ahead_s))} {side} the database's"
        return "before the day on which voltd was installed" if self._kernel().impossible else ""


def _is_zone(ahead_s: float) -> bool:
    """Whether it looks like a time zone: whole quarter hours."""
    return abs(ahead_s) < _LARGEST_ZONE_S and abs((ahead_s + _QUARTER_S / 2) % _QUARTER_S - _QUARTER_S / 2) <= OFF_S


def spell(seconds: float) -> str:
    """A span for people: 95 s, 61 min, 26.0 h, 400 days."""
    for unit, length_s, from_s, digits in (
        ("days", 86400, 3 * 86400, 0),
        ("h", 3600, 3 * 3600, 1),
        ("min", 60, 600, 0),
    ):
        if seconds >= from_s:
            return f"{seconds / length_s:.{digits}f} {unit}"
    return f"{seconds:.0f} s"
