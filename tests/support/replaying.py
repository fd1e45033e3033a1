"""A broker that acknowledges everything at once on a clock of its own, and recordings replayed against it."""

import datetime as dt
import json
import threading

from voltd.simulate.publish import MqttTarget, Tally
from voltd.simulate.replay import Replay, ReplayOptions, prepare

NOW = dt.datetime(2026, 5, 1, 8, 0, 0, 500_000, tzinfo=dt.UTC)
CSV = """vehicleId,timestamp,soc,speed,chargingStatus,odometer,firmware
EV-1,2021-03-29T11:00:00Z,87.50,0,007,,4.2
EV-1,2021-03-29T11:00:10+00:00,87.4,,"idle, warm",12.5,v4

EV-2,2021-03-29T12:00:20+01:00,nan,1e2,,,
"""


class Broker:
    """Acknowledges everything at once; remembers when it came, by the same clock that waiting moves."""

    def __init__(self, stop_after=None):
        self.now_s = 0.0
        self.sent = []
        self.stop = Stop(self)
        self._stop_after = stop_after

    def publish(self, publication, *, stop=None, timeout_s=None):  # noqa: ARG002
        self.sent.append((self.now_s, publication))
        if len(self.sent) == self._stop_after:
            stop.set()
        return True

    def drain(self, timeout_s):  # noqa: ARG002
        return True

    def tally(self):
        return Tally(sum(p.vehicle for _, p in self.sent), sum(p.meter for _, p in self.sent), messages=len(self.sent))


class Stop(threading.Event):
    """Waiting moves the clock instead of taking time."""

    def __init__(self, broker):
        super().__init__()
        self._broker = broker

    def wait(self, timeout=None):
        self._broker.now_s += timeout
        return self.is_set()


def replay(path, *, broker=None, at=NOW, **options):
    made = ReplayOptions(MqttTarget(), path, **{"speed": 0.0, **options})
    broker = broker or Broker()
    faults = []
    plan = prepare(made, at)
    tally = Replay(made, plan, broker, stop=broker.stop, on_fault=faults.append, monotonic=lambda: broker.now_s).run()
    return broker.sent, tally, faults


def payloads(sent):
    return [json.loads(publication.payload) for _, publication in sent]
