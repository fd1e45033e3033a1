"""One Mosquitto process on a free port of the loopback address, with its configuration and data in a home folder.

Called by ``servers``. The process detaches itself, so it may outlive the command that started it; it is found
again by its configuration file. What it queues for a client that is offline is bounded on purpose.
"""

from __future__ import annotations

import pathlib
import signal
import socket
import time
from collections.abc import Sequence

from voltd import errors
from voltd.local import interfaces, process

_START_TIMEOUT_S = 20
_ATTEMPTS = 5
# MQTT 5 CONNECT, clean start, keep alive 10 s, no properties, client id left to the broker (MQTT 5, 3.1)
_CONNECT = b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x0a\x00\x00\x00"


class Mosquitto(interfaces.BrokerServer):
    """A broker of our own.

    Args:
        program: path of the mosquitto executable.
        home: folder for configuration, log and stored messages; belongs to ``account``.
        port: the port to try first; 0 for a free one. After the first start it does not change.
        conf: extra lines of mosquitto.conf; they replace ours of the same name.
    """

    def __init__(
        self, program: pathlib.Path, home: pathlib.Path, account: process.Account, *, port: int, conf: Sequence[str]
    ) -> None:
        self.host = "127.0.0.1"
        self.port = port
        self._settled = False  # clients know the port
        self._program = program
        self._account = account
        self._conf = conf
        self._file = home / "mosquitto.conf"
        self._log = home / "mosquitto.log"
        self._data = home / "mosquitto"

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return bool(process.find(["mosquitto"], self._file))

    def start(self) -> None:
        """See BrokerServer."""
        if self.port and self.running:
            self._settled = True
            return
        process.hand_over(self._data, self._account)
        for attempt in range(_ATTEMPTS):
            keep = self.port and (self._settled or attempt == 0)
            port = self.port if keep else process.free_port()
            if self._try(port):
                self.port = port
                self._settled = True
                return
        raise errors.VoltdError(
            f"Mosquitto cannot listen on 127.0.0.1:{port}: another program has taken the port; its log ends with\n"
            + process.tail(self._log)
        )

    def stop(self) -> None:
        """See BrokerServer."""
        self._end([(signal.SIGTERM, 20), (signal.SIGKILL, 10)])

    def kill(self) -> None:
        """See BrokerServer."""
        self._end([(signal.SIGKILL, 10)])

    def _end(self, steps: Sequence[tuple[signal.Signals, float]]) -> None:
        process.end(["mosquitto"], self._file, steps)

    def _try(self, port: int) -> bool:
        """Starts it on this port; False when another program has the port."""
        self._file.write_text(
            configuration(f"listener {port} 127.0.0.1", f"{self._data}/", f"file {self._log}", self._conf)
        )
        self._file.chmod(0o644)
        log_start = self._log.stat().st_size if self._log.exists() else 0
        launched = process.run([str(self._program), "-c", str(self._file), "-d"], self._account)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while launched.returncode == 0 and time.monotonic() < deadline:
            if not self.running:
                break
            # its log first: on a port that another broker has, that one would answer
            if b" running" in self._news(log_start) and answers(self.host, port):
                return True
            time.sleep(0.02)
        self.kill()
        if b"Address already in use" in self._news(log_start):
            time.sleep(0.1)
            return False
        raise errors.VoltdError(
            f"Mosquitto ({self._program}) did not start. {launched.stdout.strip()}\n"
            f"Its log {self._log} ends with\n{process.tail(self._log)}"
        )

    def _news(self, start: int) -> bytes:
        """The log from this byte on."""
        return self._log.read_bytes()[start:] if self._log.exists() else b""


def configuration(listener: str, data: str, log: str, conf: Sequence[str]) -> str:
    """mosquitto.conf as text; lines of ``conf`` replace ours of the same name."""
    ours = [
        listener,
        "allow_anonymous true",
        "persistence true",
        f"persistence_location {data}",
        "autosave_interval 5",  # seconds; a killed broker loses at most so much
        "max_queued_messages 1000000",  # readings wait here while the daemon is down; the default drops after 1000
        "max_inflight_messages 0",  # a client's own Receive Maximum is the limit
        "set_tcp_nodelay true",
        f"log_dest {log}",
        *(f"log_type {kind}" for kind in ("error", "warning", "notice", "information")),  # how its start is seen
        "log_timestamp_format %Y-%m-%dT%H:%M:%S",
    ]
    replaced = {line.split()[0] for line in conf if line.strip()} - {"listener", "log_dest", "log_type"}
    kept = [line for line in ours if line.split()[0] not in replaced]
    return "\n".join(["# written by voltd at each start; changes are lost", *kept, *conf, ""])


def answers(host: str, port: int) -> bool:
    """Whether a broker reacts to CONNECT: with CONNACK, or, as a TLS listener, by closing the connection."""
    try:
        with socket.create_connection((host, port), timeout=2) as connection:
            connection.sendall(_CONNECT)
            connection.recv(4)
    except ConnectionResetError:
        return True
    except OSError:
        return False
    return True
