"""``voltd`` as a process whose wall clock is off, and steps when a test says so. The machine's clock stays alone.

A test makes a ``Clock``, has the daemon run by ``Clock.program``, and sets ``off_s``. In the daemon's process every
``datetime.now`` of voltd and of its scheduler is off by so much from then on; the monotonic clock goes on.
"""

import datetime as dt
import importlib
import mmap
import pathlib
import struct
import sys
import types
from typing import Any


class Clock:
    """The clock of daemons that run by ``program``.

    Args:
        file: where it is kept.
        off_s: how far it is ahead at first, s; negative: behind.
    """

    def __init__(self, file: pathlib.Path, off_s: float = 0.0) -> None:
        self._file = file
        file.write_bytes(struct.pack("d", off_s))

    @property
    def program(self) -> list[str]:
        """What to run in place of ``voltd``."""
        return [sys.executable, __file__, str(self._file)]

    def set(self, off_s: float) -> None:
        """Steps."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("d", off_s))


def _shift(file: str) -> None:
    """Puts a shifted clock in the place of ``datetime`` in every module of the daemon that asks for the time."""
    with pathlib.Path(file).open("rb") as opened:
        off_s = mmap.mmap(opened.fileno(), 8, access=mmap.ACCESS_READ)

    class Kind(type):
        def __instancecheck__(cls, one: object) -> bool:
            return isinstance(one, dt.datetime)

    class Shifted(dt.datetime, metaclass=Kind):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Any:
            return dt.datetime.now(tz) + dt.timedelta(seconds=struct.unpack("d", off_s[:8])[0])

    shifted = types.SimpleNamespace(**{**vars(dt), "datetime": Shifted})
    for name in ("voltd.daemon.app", "voltd.commands.check"):
        importlib.import_module(name)
    for name, module in list(sys.modules.items()):
        if name.startswith("voltd.") and getattr(module, "dt", None) is dt:
            vars(module)["dt"] = shifted
    for name in ("schedulers.base", "executors.base", "job"):
        module = importlib.import_module(f"apscheduler.{name}")
        if getattr(module, "datetime", None) is dt.datetime:
            vars(module)["datetime"] = Shifted


if __name__ == "__main__":
    from voltd import cli

    _shift(sys.argv.pop(1))
    sys.exit(cli.main())
