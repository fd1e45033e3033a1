"""Which process a daemon is: how it identifies itself, and whether another one can still be alive.

``status`` and ``jobs`` publish it; ``consume.client_id.claim`` compares it with the daemon that has the client id.
Reads this machine's facts and nothing else. Every fact may be missing: containers and a strict service manager hide
some of them.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import enum
import functools
import hashlib
import os
import pathlib
import secrets
import socket
from typing import Any, NamedTuple

_START_TICKS = 19  # of /proc/<pid>/stat, counted from the state, which follows the name in brackets: proc(5), field 22


class Liveness(enum.Enum):
    """What is known of another process without asking it."""

    DEAD = "dead"
    HERE = "here"  # on this machine, and it may be alive
    ELSEWHERE = "elsewhere"


class Identity(NamedTuple):
    """One run of a daemon.

    Attributes:
        run: a random name of this run; no other run has it.
        host: name of its host.
        pid: its number, within ``namespace``.
        started_at: when it started.
        boot: names a boot of a machine; empty: hidden from it.
        machine: a hash that names a machine; empty: hidden from it.
        namespace: names the set of processes that ``pid`` counts in; empty: hidden from it.
        ticks: when it started, in ticks since its machine's boot; 0: hidden from it.
    """

    run: str
    host: str
    pid: int
    started_at: dt.datetime
    boot: str = ""
    machine: str = ""
    namespace: str = ""
    ticks: int = 0

    def facts(self) -> dict[str, Any]:
        """As JSON-ready values; ``parse`` takes them back."""
        return {**self._asdict(), "started_at": self.started_at.isoformat()}

    def __str__(self) -> str:
        """For people."""
        return f"host {self.host}, pid {self.pid}, started {self.started_at.isoformat(timespec='seconds')}"


def parse(facts: Any) -> Identity | None:
    """An identity from JSON that anybody may have written; None if it is malformed."""
    try:
        started_at = dt.datetime.fromisoformat(facts["started_at"])
        texts = [facts[name] for name in ("run", "host")] + [facts.get(name, "") for name in _HIDEABLE]
        numbers = [facts["pid"], facts.get("ticks", 0)]
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    right = all(isinstance(text, str) and text.isprintable() and len(text) <= 255 for text in texts)  # noqa: PLR2004
    right = right and all(type(number) is int and 0 <= number < 1 << 63 for number in numbers)
    if not right or not texts[0] or started_at.tzinfo is None:
        return None
    boot, machine, namespace = texts[2:]
    return Identity(texts[0], texts[1], numbers[0], started_at, boot, machine, namespace, numbers[1])


_HIDEABLE = ("boot", "machine", "namespace")


@functools.cache
def own() -> Identity:
    """This process; the same at each call."""
    machine = _read("/etc/machine-id")
    return Identity(
        run=secrets.token_hex(16),
        host=socket.gethostname(),
        pid=os.getpid(),
        started_at=dt.datetime.now(dt.UTC),
        boot=_read("/proc/sys/kernel/random/boot_id"),
        # not the id itself, which is not for others to know: machine-id(5)
        machine=hashlib.sha256(f"voltd:{machine}".encode()).hexdigest()[:32] if machine else "",
        namespace=_namespace(),
        ticks=_ticks(os.getpid()),
    )


def run_number() -> int:
    """This run as a number of 63 bits, for tables and files."""
    return int(own().run, 16) >> 65


def liveness(other: Identity, me: Identity) -> Liveness:
    """Whether another process can be alive, as far as this one can see."""
    boots_known = bool(other.boot and me.boot)
    same_host = bool(other.machine) and (other.machine, other.host) == (me.machine, me.host)
    if boots_known and other.boot != me.boot:
        return Liveness.DEAD if same_host else Liveness.ELSEWHERE  # this machine has been started again since
    if not boots_known and not same_host:
        return Liveness.ELSEWHERE
    if other.namespace and other.namespace == me.namespace and _is_gone(other):
        return Liveness.DEAD
    return Liveness.HERE


def _pid_is_gone(pid: int) -> bool:
    """Whether no process of this machine has that number, in this process's view."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:  # somebody else's
        return False
    return False


def _is_gone(other: Identity) -> bool:
    if other.pid <= 0 or _pid_is_gone(other.pid):
        return True
    ticks = _ticks(other.pid)
    return bool(ticks and other.ticks) and ticks != other.ticks  # another process has its number now


def _ticks(pid: int) -> int:
    with contextlib.suppress(IndexError, ValueError):
        return int(_read(f"/proc/{pid}/stat").rpartition(")")[2].split()[_START_TICKS])
    return 0


def _namespace() -> str:
    try:
        return str(pathlib.Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _read(path: str) -> str:
    try:
        return pathlib.Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
