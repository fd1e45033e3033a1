"""A process that cleans up after voltd's ephemeral servers, even when voltd itself was killed.

``servers`` starts it before any server and keeps its standard input open. When that is closed, the keeper ends the
servers of the home folder and deletes the folder. It must never touch anything else.
"""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys

import voltd
from voltd.local import process

_CODE = "import pathlib, sys; from voltd.local import keeper; keeper.watch(pathlib.Path(sys.argv[1]))"


class Keeper:
    """The starting side: one keeper for one home folder."""

    def __init__(self, home: pathlib.Path) -> None:
        self._home = home
        package = pathlib.Path(voltd.__file__).resolve().parent.parent
        search = os.pathsep.join([str(package), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CODE, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env={**os.environ, "PYTHONPATH": search},
        )

    def finish(self) -> None:
        """Blocks until no server of the home is left and the home is deleted."""
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()
        _clean(self._home)  # a keeper that was killed did nothing


def watch(home: pathlib.Path) -> None:
    """The keeper itself: waits for the end of standard input, then cleans up."""
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, signal.SIG_IGN)
    sys.stdin.buffer.read()
    _clean(home)


def _clean(home: pathlib.Path) -> None:
    kill = [(signal.SIGKILL, 10.0)]
    process.end(["initdb"], home / "postgresql", kill)
    process.end(["postgres"], home / "postgresql", [(signal.SIGQUIT, 10.0), *kill])
    process.end(["mosquitto"], home / "mosquitto.conf", kill)
    process.remove(home)
