"""Server processes: which user runs them, how to find, signal and await them.

A server is recognised by its command line (program name and its folder or file in our home), never by a process id
alone, which another process may have by now. Used by ``postgres``, ``mosquitto`` and ``keeper``.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence

from voltd import errors

_POLL_S = 0.02
_MARK = ".voltd-home"


@dataclasses.dataclass(frozen=True)
class Account:
    """The user that runs the servers; ``switch`` is False when it is our own."""

    uid: int
    gid: int
    switch: bool


def account() -> Account:
    """Our own user, or as root an unprivileged one: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), switch=False)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, switch=True)
    raise errors.VoltdError(
        "there is neither a user 'postgres' nor 'nobody', and PostgreSQL refuses to run as root",
        hint="Run voltd as an ordinary user.",
    )


def claim(home: pathlib.Path) -> None:
    """Marks ``home`` as voltd's, so that changing owners in it and deleting it is safe.

    Raises:
        VoltdError: it contains files of others.
    """
    home.mkdir(parents=True, exist_ok=True)
    names = {path.name for path in home.iterdir()}
    if names and _MARK not in names:
        raise errors.VoltdError(
            f"{home} contains files that voltd did not make",
            hint="Choose a folder that is empty or does not exist yet.",
        )
    (home / _MARK).touch()


def hand_over(folder: pathlib.Path, to: Account) -> None:
    """Creates a folder of our home and gives it with all its content to the servers' account.

    Raises:
        VoltdError: that account cannot reach the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not to.switch:
        return
    for path in (folder, *folder.rglob("*")):
        if path.lstat().st_uid != to.uid:
            os.chown(path, to.uid, to.gid, follow_symlinks=False)
    if run(["test", "-w", str(folder)], to).returncode != 0:
        raise errors.VoltdError(
            f"the servers run as user {pwd.getpwuid(to.uid).pw_name!r}, who cannot reach {folder}",
            hint="Choose a folder whose parents all users may enter, for example below /var/lib or /tmp.",
        )


def run(command: Sequence[str], to: Account, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end as that account, with a clean environment; both outputs are in ``stdout``."""
    with tempfile.TemporaryFile("w+", errors="replace") as output:  # a daemon would keep a pipe open
        done = subprocess.run(
            command,
            user=to.uid if to.switch else None,
            group=to.gid if to.switch else None,
            extra_groups=[] if to.switch else None,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            cwd="/",
            umask=0o077,
            start_new_session=True,  # Ctrl-C is for voltd, which then stops its servers in order
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=timeout_s,
        )
        output.seek(0)
        return subprocess.CompletedProcess(command, done.returncode, output.read())


def find(programs: Iterable[str], argument: pathlib.Path) -> list[int]:
    """Ids of running processes of these program names that have ``argument`` on their command line."""
    names = {os.fsencode(name) for name in programs}
    wanted = os.fsencode(argument)
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended meanwhile
        if words[0].rpartition(b"/")[2] in names and wanted in words:
            found.append(int(entry.name))
    return found


def end(programs: Sequence[str], argument: pathlib.Path, steps: Sequence[tuple[signal.Signals, float]]) -> None:
    """Sends the signal of each step and waits up to its seconds until no such process is left.

    Raises:
        VoltdError: a process still runs after the last step.
    """
    for sig, patience_s in steps:
        for pid in find(programs, argument):
            try:
                os.kill(pid, sig)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + patience_s
        while find(programs, argument):
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        else:
            return
    raise errors.VoltdError(f"{programs[0]} of {argument} does not end, not even when killed")


def remove(folder: pathlib.Path) -> None:
    """Deletes a folder with its content; a missing folder is no error."""
    for _ in range(5):  # a server's last file may appear while we delete
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)
    raise errors.VoltdError(f"{folder} cannot be deleted", hint="Check who owns its files, and delete it by hand.")


def free_port() -> int:
    """A free TCP port of the loopback address; another program may take it at any time, so retry."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def tail(log: pathlib.Path, lines: int = 12) -> str:
    """The log's last lines, indented, for an error message."""
    try:
        text = log.read_text(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return "    (no log was written)"
    return "\n".join("    " + line for line in text) or "    (its log is empty)"
