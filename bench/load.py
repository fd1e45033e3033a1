"""The load generator: prebuilt MQTT 5 PUBLISH packets over a plain socket; acks are only counted.

It must offer more than the daemon can take, so it does the minimum per message: packets are built before the clock
starts and are sent in blocks; a PUBACK has four bytes, so the bytes received are the count.
"""

from __future__ import annotations

import datetime as dt
import itertools
import select
import socket
import struct
import time

PUBACK_BYTES = 4
BLOCK = 100
_DISCONNECT = b"\xe0\x00"


def packet(topic: bytes, payload: bytes, packet_id: int) -> bytes:
    """A QoS 1 PUBLISH without properties (MQTT 5, 3.3)."""
    body = struct.pack("!H", len(topic)) + topic + struct.pack("!HB", packet_id, 0) + payload
    length, rest = bytearray(), len(body)
    while True:
        rest, low = divmod(rest, 128)
        length.append(low | (0x80 if rest else 0))
        if not rest:
            return b"\x32" + bytes(length) + body


def readings(
    count: int, start: dt.datetime, step: dt.timedelta, *, devices: int = 10_000, low_pct: int = 15
) -> itertools.chain[tuple[bool, str, bytes]]:
    """Vehicles and meters half and half: is it a vehicle, its id, its payload (about 190 bytes, 9 fields).

    ``low_pct`` of a hundred vehicles are below 15 %.
    """
    return itertools.chain.from_iterable(
        (
            (True, f"V{n % devices:05d}", _vehicle(n % devices, start + step * 2 * n, low_pct)),
            (False, f"M{n % devices:05d}", _meter(n % devices, start + step * (2 * n + 1))),
        )
        for n in range(count // 2)
    )


def _vehicle(number: int, at: dt.datetime, low_pct: int = 15) -> bytes:
    soc = number % 100
    soc = soc if soc < low_pct else max(soc, 15)
    return (
        f'{{"vehicleId":"V{number:05d}","timestamp":"{at.isoformat(timespec="microseconds")}","soc":{soc}.5,'
        f'"speed":63.2,"batteryTemp":31.5,"kwhDeliveredDc":0.25,"latitude":48.137154,"longitude":11.576124,'
        f'"odometer":12345.6}}'
    ).encode()


def _meter(number: int, at: dt.datetime) -> bytes:
    return (
        f'{{"meterId":"M{number:05d}","timestamp":"{at.isoformat(timespec="microseconds")}","kwhConsumedAc":0.0123,'
        f'"kwhConsumedAcTotal":12345.678,"voltage":231.2,"current":15.93,"power":3.68}}'
    ).encode()


def packets(
    count: int, start: dt.datetime, step: dt.timedelta, *, malformed_every: int = 0, low_pct: int = 15
) -> list[bytes]:
    """One message per reading; with ``malformed_every`` n each nth payload is malformed."""
    made = []
    for number, (is_vehicle, device, payload) in enumerate(readings(count, start, step, low_pct=low_pct)):
        topic = f"volt/{'vehicle' if is_vehicle else 'meter'}/{device}/telemetry".encode()
        body = payload[:-1] if malformed_every and number % malformed_every == 0 else payload
        made.append(packet(topic, body, number % 65535 + 1))
    return made


def arrays(messages: int, size: int, start: dt.datetime, step: dt.timedelta) -> tuple[list[bytes], list[bytes]]:
    """Backlogs of vehicles: packets of ``size`` readings each, and the same rows as lines of CSV."""
    made, lines, second = [], [], 0
    for number in range(messages):
        device = number % 1000
        elements = []
        for _ in range(size):
            at = start + step * second
            second += 1
            elements.append(_vehicle(device, at))
            lines.append(
                f"V{device:05d},{at.isoformat()},{device % 100}.5,63.2,31.5,0.25,,48.137154,11.576124,,12345.6,,"
                f"{at.isoformat()}\n".encode()
            )
        topic = f"volt/vehicle/V{device:05d}/telemetry".encode()
        made.append(packet(topic, b"[" + b",".join(elements) + b"]", number % 65535 + 1))
    return made, lines


def forget(port: int, client_id: str) -> None:
    """Ends a client's session at the broker, which would otherwise queue all that later scenes publish."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(_connect(client_id))
        connection.recv(1024)
        connection.sendall(_DISCONNECT)


def _connect(client_id: str) -> bytes:
    """CONNECT with Clean Start and a session that ends with the connection (MQTT 5, 3.1)."""
    name = client_id.encode()
    body = b"\x00\x04MQTT\x05\x02\x00\x3c\x00" + struct.pack("!H", len(name)) + name
    return bytes([0x10, len(body)]) + body


class Publisher:
    """One connection at QoS 1."""

    def __init__(self, port: int, name: str = "bench-load") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(_connect(name))
        self._socket.recv(1024)
        self.began_at = 0.0  # wall clock at which the schedule of the last ``send`` began
        self.acked = 0
        self._bytes = 0

    def send(self, made: list[bytes], rate: float | None = None, window: int = 10_000) -> float:
        """Publishes all, at ``rate`` messages a second or as fast as it goes; returns seconds until the last PUBACK.

        With a rate the schedule is fixed: a stall is made up for (no coordinated omission).
        """
        blocks = [b"".join(made[start : start + BLOCK]) for start in range(0, len(made), BLOCK)]
        self.began_at = time.time()
        began, base = time.monotonic(), self.acked
        for number, block in enumerate(blocks):
            if rate:
                late = began + number * BLOCK / rate - time.monotonic()
                while late > 0:
                    self._receive(late)
                    late = began + number * BLOCK / rate - time.monotonic()
            while number * BLOCK - (self.acked - base) > window:
                self._receive(1.0)
            self._socket.sendall(block)
            self._receive(0.0)
        while self.acked - base < len(made):
            self._receive(1.0)
        return time.monotonic() - began

    def close(self) -> None:
        """DISCONNECT."""
        self._socket.sendall(_DISCONNECT)
        self._socket.close()

    def _receive(self, timeout_s: float) -> None:
        while select.select([self._socket], [], [], timeout_s)[0]:
            self._bytes += len(self._socket.recv(1 << 20))
            self.acked = self._bytes // PUBACK_BYTES
            timeout_s = 0.0
