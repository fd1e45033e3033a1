"""Servers in a home folder, which keep running after the command that started them has ended.

``voltd.commands.local`` calls it. The folder holds data, logs and the ports, which stay the same over down and up.
"""

from __future__ import annotations

import fcntl
import os
import pathlib
import signal
from collections.abc import Mapping

from voltd import errors
from voltd.local import interfaces, process, servers


def default_home(environ: Mapping[str, str] = os.environ) -> pathlib.Path:
    """``$XDG_STATE_HOME/voltd/local`` or its default; as root a folder that the servers' user can reach."""
    if os.geteuid() == 0:
        return pathlib.Path("/var/lib/voltd-local")
    state = environ.get("XDG_STATE_HOME") or pathlib.Path.home() / ".local/state"
    return pathlib.Path(state, "voltd/local")


def up(home: pathlib.Path, progress: interfaces.Progress, environ: Mapping[str, str] = os.environ) -> servers.Servers:
    """Starts both servers, or finds them running; they stay up when this process ends.

    Raises:
        VoltdError: a server does not start; one that did start keeps running until ``down``.
    """
    home = home.resolve()
    process.claim(home)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second `up` waits here and then finds everything running
        if not servers.recorded(home):
            down(home)  # ends what an interrupted `up` left before it had recorded its ports
        if all(_running(home)):
            progress("The servers run already")
            progress = _say_nothing
        return servers.start(home, progress=progress, environ=environ, ephemeral=False)


def down(home: pathlib.Path) -> bool:
    """Shuts the home's servers down and blocks until they have ended; the data stays.

    Returns:
        False where none was running.
    """
    home = home.resolve()
    if not any(_running(home)):
        return False
    process.end(["mosquitto"], home / "mosquitto.conf", [(signal.SIGTERM, 20), (signal.SIGKILL, 10)])
    process.end(["postgres"], home / "postgresql", [(signal.SIGINT, 60), (signal.SIGQUIT, 20), (signal.SIGKILL, 10)])
    return True


def env(home: pathlib.Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables that point voltd at the home's servers; PATH too where psql or mosquitto_pub came with them.

    Raises:
        VoltdError: the servers do not run.
    """
    home = home.resolve()
    state = servers.recorded(home)
    if not state or not all(_running(home)):
        raise errors.VoltdError(f"no local servers run in {home}", hint="Start them with `voltd local up`.")
    variables = {
        "VOLTD_MQTT__HOST": "127.0.0.1",
        "VOLTD_MQTT__PORT": str(state["broker_port"]),
        "VOLTD_DATABASE__DSN": f"host=127.0.0.1 port={state['database_port']} dbname=volt user=postgres",
    }
    if state["tools"]:
        present = environ.get("PATH", os.defpath).split(os.pathsep)
        folders = [folder for folder in state["tools"] if folder not in present]
        variables["PATH"] = os.pathsep.join([*folders, *present])
    return variables


def _running(home: pathlib.Path) -> tuple[bool, bool]:
    """Whether the home's broker and its database run."""
    broker = process.find(["mosquitto"], home / "mosquitto.conf")
    return bool(broker), bool(process.find(["postgres"], home / "postgresql"))


def _say_nothing(_line: str) -> None:
    """Drops progress messages."""
