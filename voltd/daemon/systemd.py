"""The systemd side of the daemon: readiness, status line and watchdog over the notification socket.

Protocol: sd_notify(3); a datagram of VAR=VALUE lines to ``$NOTIFY_SOCKET``. Without that variable every call does
nothing, so the daemon runs the same from a shell.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping


class ServiceManager:
    """Sends state to the service manager; never raises and never blocks."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):  # abstract socket, sd_notify(3)
            self._address = "\0" + self._address[1:]
        usec = environ.get("WATCHDOG_USEC", "")
        pid = environ.get("WATCHDOG_PID", "")
        ours = not pid or pid == str(os.getpid())
        self.watchdog_s = int(usec) / 1e6 if usec.isdigit() and ours else 0.0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    def ready(self, status: str) -> None:
        """Start-up is complete."""
        self._send(f"READY=1\nSTATUS={status}")

    def waiting(self, reason: str) -> None:
        """Start-up takes longer and is not stuck: asks for another half minute (EXTEND_TIMEOUT_USEC)."""
        self._send(f"EXTEND_TIMEOUT_USEC=30000000\nSTATUS={reason}\nWATCHDOG=1")

    def status(self, line: str) -> None:
        """One line for ``systemctl status``."""
        self._send(f"STATUS={line}")

    def stopping(self) -> None:
        """Shutdown has begun."""
        self._send("STOPPING=1\nSTATUS=writing what is in flight")

    def watchdog(self) -> None:
        """All threads make progress; without this call in time systemd restarts the daemon."""
        self._send("WATCHDOG=1")

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()

    def _send(self, text: str) -> None:
        if self._address:
            with contextlib.suppress(OSError):
                self._socket.sendto(text.encode(), self._address)
