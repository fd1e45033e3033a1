"""A host whose clock is wrong, for unit tests: time passes and steps as they say."""

import datetime as dt

from voltd.host import host_clock, witnesses

T0 = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
HOUR = 3600.0
SURE = witnesses.Kernel(synchronised=True, kept=True)
LOST = witnesses.Kernel(synchronised=False, kept=True)
NEVER = witnesses.Kernel(synchronised=False, kept=False)


def at(seconds: float) -> dt.datetime:
    return T0 + dt.timedelta(seconds=seconds)


class World:
    """A host whose clock is off by ``off_s``; ``clock`` is what voltd sees of it."""

    def __init__(self, kernel: witnesses.Kernel = SURE, off_s: float = 0.0) -> None:
        self.kernel, self.off_s, self.passed_s = kernel, off_s, 0.0
        self.clock = host_clock.HostClock(lambda: at(self.passed_s + self.off_s), lambda: self.passed_s, self._kernel)

    def _kernel(self) -> witnesses.Kernel:
        return self.kernel

    def step(self, by_s: float) -> int:
        self.off_s += by_s
        return self.clock.look()

    def passes(self, seconds: float) -> int:
        self.passed_s += seconds
        return self.clock.look()
