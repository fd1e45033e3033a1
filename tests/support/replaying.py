"""A broker that acknowledges everything at once on a clock of its own, and recordings replayed against it."""

import datetime as dt
import json
import pathlib
import threading
from typing import Any

from voltd.simulate.publish.publication import Publication, Tally
from voltd.simulate.publish.target import MqttTarget
from voltd.simulate.replay.plan import ReplayOptions, prepare
from voltd.simulate.replay.recording import Fault
from voltd.simulate.replay.run import Replay, ReplayTally

NOW = dt.datetime(2026, 5, 1, 8, 0, 0, 500_000, tzinfo=dt.UTC)
CSV = """vehicleId,timestamp,soc,speed,chargingStatus,odometer,firmware
EV-1,2021-03-29T11:00:00Z,87.50,0,007,,4.2
EV-1,2021-03-29T11:00:10+00:00,87.4,,"idle, warm",12.5,v4

EV-2,2021-03-29T12:00:20+01:00,nan,1e2,,,
"""


class Broker:
    """Acknowledges everything at once; remembers when it came, by the same clock that waiting moves."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.now_s = 0.0
        self.sent: list[tuple[float, Publication]] = []
        self.stop = Stop(self)
        self._stop_after = stop_after

    def publish(
        self,
        publication: Publication,
        *,
        stop: threading.Event | None = None,  # noqa: ARG002
        timeout_s: float | None = None,  # noqa: ARG002
    ) -> bool:
        self.sent.append((self.now_s, publication))
        if len(self.sent) == self._stop_after:
            self.stop.set()
        return True

    def drain(self, timeout_s: float) -> bool:  # noqa: ARG002
        return True

    def tally(self) -> Tally:
        return Tally(sum(p.vehicle for _, p in self.sent), sum(p.meter for _, p in self.sent), messages=len(self.sent))


class Stop(threading.Event):
    """Waiting moves the clock instead of taking time."""

    def __init__(self, broker: Broker) -> None:
        super().__init__()
        self._broker = broker

    def wait(self, timeout: float | None = None) -> bool:
        self._broker.now_s += timeout or 0.0
        return self.is_set()


def replay(
    path: pathlib.Path, *, broker: Broker | None = None, at: dt.datetime = NOW, **options: Any
) -> tuple[list[tuple[float, Publication]], ReplayTally, list[Fault]]:
    made = ReplayOptions(MqttTarget(), path, **{"speed": 0.0, **options})
    broker = broker or Broker()
    faults: list[Fault] = []
    plan = prepare(made, at)
    tally = Replay(made, plan, broker, stop=broker.stop, on_fault=faults.append, monotonic=lambda: broker.now_s).run()
    return broker.sent, tally, faults


def payloads(sent: list[tuple[float, Publication]]) -> list[Any]:
    return [json.loads(publication.payload) for _, publication in sent]
