"""TCP proxies in front of a broker or a database, which make a network fail as a test wants it to."""

import contextlib
import select
import socket
import threading
import time


class Proxy:
    """A TCP proxy in front of a server that can hold what the client sends, or cut every connection."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self._held = threading.Event()
        self._silent = threading.Event()
        self._shut = threading.Event()
        self._kept = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def hold_client(self) -> None:
        """From now on nothing of what clients send reaches the server."""
        self._held.set()

    def fall_silent(self) -> None:
        """From now on nothing passes in either direction, and nothing is closed: a black hole."""
        self._held.set()
        self._silent.set()

    def keep_open(self) -> None:
        """From now on the server does not hear that a client has gone; ``cut`` ends what is left."""
        self._kept = True

    def pass_on(self) -> None:
        self._held.clear()
        self._silent.clear()

    def shut_out(self) -> None:
        """New connections are closed at once."""
        self._shut.set()

    def admit(self) -> None:
        self._shut.clear()

    def accepts(self) -> bool:
        """Whether to take a new connection; for subclasses."""
        return True

    def passes(self, data: bytes, *, from_client: bool) -> bool:  # noqa: ARG002 for subclasses
        """Whether to pass these bytes on; False cuts the connection."""
        return True

    def transfer(self, data: bytes, sink: socket.socket, *, from_client: bool) -> None:  # noqa: ARG002 for subclasses
        """Passes bytes on."""
        sink.sendall(data)

    def cut(self) -> None:
        """Closes every connection."""
        for pair in self._pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self._pairs = []

    def close(self) -> None:
        """On return nobody can connect any more: closing alone would let one more in, whom ``accept`` waits for."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._shut.is_set() or not self.accepts():
                    client.close()
                    continue
                try:
                    server = socket.create_connection(self._target)
                except OSError:
                    client.close()
                    continue
                self._pairs.append((client, server))
                threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, from_client: bool) -> None:
        with contextlib.suppress(OSError, ValueError):
            while True:
                held = self._held if from_client else self._silent
                if held.is_set():
                    time.sleep(0.01)
                    continue
                ready, _, _ = select.select([source], [], [], 0.05)
                if not ready or held.is_set():
                    continue
                data = source.recv(65536)
                if not data:
                    break
                if not self.passes(data, from_client=from_client):
                    break
                self.transfer(data, sink, from_client=from_client)
        source.close()
        if not (self._kept and from_client):
            sink.close()


class CommitLosingProxy(Proxy):
    """Cuts the connection when the server has answered a COMMIT and the client has not heard it yet."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._lose = threading.Event()
        self._refuse = threading.Event()

    def lose_reply_of_commit(self) -> None:
        self._lose.set()

    def refuse_once(self) -> None:
        self._refuse.set()

    def accepts(self) -> bool:
        refused = self._refuse.is_set()
        self._refuse.clear()
        return not refused

    def passes(self, data: bytes, *, from_client: bool) -> bool:
        """False cuts. CommandComplete 'COMMIT' is the server's word that it is durable."""
        if not from_client and self._lose.is_set() and b"COMMIT\0" in data:
            self._lose.clear()
            return False
        return True
