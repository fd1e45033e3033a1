"""The scenes of the rules: their cost for ingest, the duration of a cycle, the time until a channel is notified."""

from __future__ import annotations

import datetime as dt
import http.server
import json
import tempfile
import threading
import time

import load
import psycopg
import scenes
from rig import Daemon, Rig

from voltd import resources

_DEVICES = 10_000
_LOW = 1_500  # vehicles below 15 %: what load.py publishes
_LONG_S = 30.0


def cost(rig: Rig, count: int, low_pct: int) -> dict[str, float]:
    """Messages a second out of a queue of recent readings, with and without rules; some vehicles are low."""
    rates: dict[str, list[float]] = {"true": [], "false": []}
    for enabled in ("false", "true", "true", "false", "false", "true"):
        rig.empty()
        daemon = rig.daemon(mqtt__receive_maximum=65535, alerts__enabled=enabled)
        daemon.subscribe()
        scenes.publish(rig, load.packets(count, scenes.start(0.1), dt.timedelta(microseconds=500), low_pct=low_pct))
        rates[enabled].append(scenes.drain(daemon, count, stop=False))
        if enabled == "true":
            _wait_for_alerts(rig, _DEVICES * low_pct // 100)
        daemon.stop()
        scenes.verify(rig, count)
    value, reference = (sorted(rates[enabled])[1] for enabled in ("true", "false"))
    return {"value": value, "reference": reference, "ratio": value / reference}


def notified(rig: Rig, seconds: float) -> dict[str, float]:
    """Times of one minute of a fleet, each device once: from planned publishing to the webhook, and of the cycles.

    The time from publishing includes that of storing, so it is no underestimate. Each low vehicle must notify once.
    """
    rig.empty()
    receiver = _Receiver()
    channel = {"url": f"json://127.0.0.1:{receiver.port}/", "group_s": 0, "max_per_hour": 1_000_000}
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as rules:
        rules.write(_at_once())
        rules.flush()
        daemon = rig.daemon(alerts__channels=json.dumps({"hook": channel}), alerts__rules_file=rules.name)
        daemon.start()
    count = 2 * _DEVICES
    rate = count / seconds
    began = scenes.publish_as_it_happens(rig, count, rate, block=1)
    _wait_for_alerts(rig, _LOW)
    time.sleep(10)  # some cycles without readings, and time for a second notification
    daemon.stop()
    receiver.close()
    scenes.verify(rig, count)
    waits = sorted(1000 * (at - (began + 2 * number / rate)) for number, at in _notified(rig, receiver.received))
    if len(waits) != _LOW:
        raise RuntimeError(f"{len(waits)} vehicles notified instead of {_LOW}: the figure is invalid")
    checks = sorted(_checks(daemon))
    return {
        "p50_ms": waits[len(waits) // 2],
        "p99_ms": waits[len(waits) * 99 // 100],
        "check_p50_ms": checks[len(checks) // 2],
        "check_max_ms": checks[-1],
        "checks": float(len(checks)),
    }


def _at_once() -> str:
    """The shipped rules, but one reading is enough: each device sends a low value once."""
    text = (resources.share("config") / "rules.toml").read_text(encoding="utf-8")
    return text.replace("min_count = 2\nalone_after_intervals = 2.0\n", "")


def _notified(rig: Rig, received: list[tuple[str, float]]) -> list[tuple[int, float]]:
    """Each vehicle's number and the arrival of its alert; a message that arrives twice counts twice."""
    with psycopg.connect(rig.dsn) as connection:
        rows = connection.execute(
            "SELECT message_id, device_id FROM volt.alert_delivery JOIN volt.alert USING (alert_id)"
            " WHERE channel = 'hook'"
        )
        devices: dict[str, list[str]] = {}
        for message_id, device in rows:
            devices.setdefault(str(message_id), []).append(device)
    return [(int(device[1:]), at) for message_id, at in received for device in devices[message_id]]


def _checks(daemon: Daemon) -> list[float]:
    """Milliseconds of each cycle, evaluation and database, after the first, which reads the backlog."""
    lines = (json.loads(line) for line in daemon.log.read_text().splitlines() if '"rules.checked"' in line)
    return [line["ms"] for line in lines][1:]


def _wait_for_alerts(rig: Rig, wanted: int) -> None:
    ends = time.monotonic() + _LONG_S
    while (found := rig.rows("alert")) < wanted:
        if time.monotonic() > ends:
            raise RuntimeError(f"{found} alerts instead of {wanted}: the rules were not in force")
        time.sleep(0.2)


class _Receiver:
    """A webhook that records messages and their arrival."""

    def __init__(self) -> None:
        self.received: list[tuple[str, float]] = []
        received = self.received

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                received.append((body["message"].split()[-1], time.time()))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stops the server."""
        self._server.shutdown()
        self._server.server_close()
