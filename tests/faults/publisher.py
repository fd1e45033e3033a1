"""A fleet that publishes steadily at QoS 1 and knows which of its messages the broker has acked.

Every reading has a number of its own, and so a time of its own: the oracle finds it in the tables by it. What was not
acked when a connection broke is published again, possibly a second time, as a real device would.
"""

import collections
import dataclasses
import datetime as dt
import threading
import time

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from support import harness

_NOBODY_LISTENS = 0x10  # MQTT 5, 3.4.2.1: acked, but no subscriber: not a promise to keep it
_MOST_UNACKED = 1000
DAY = dt.timedelta(days=1)


@dataclasses.dataclass
class Sent:
    """One message.

    Attributes:
        kind: ``vehicle``, ``meter``, ``malformed`` or ``future`` (a reading that must become a dead letter).
        at: the time of its reading.
        tries: how often it was published.
        acked: whether the broker has acked it.
        promised: whether it must be stored: False if the broker itself may have lost it.
        split: whether it was published as two messages.
        waiting: acks of these messages that have not come yet.
    """

    kind: str
    at: dt.datetime
    tries: int = 0
    acked: bool = False
    promised: bool = True
    split: bool = False
    waiting: int = 0


class Publisher:
    """Publishes in a thread of its own, until ``close``; reconnects by itself.

    Attributes:
        sent: by number, the messages since the last ``new_round``.
        rate: messages a second.
        offset: added to the readings' times; more than a few minutes ahead is what must be refused.
        split_behind: readings come in two messages, the second so many readings behind the first; 0: whole.
    """

    def __init__(self, address, name, rate):
        self._address, self._name = address, name
        self.rate = rate
        self.epoch = dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(hours=6)
        self.offset = dt.timedelta(0)
        self.split_behind = 0
        self._halves = collections.deque()  # second ones, with the number from which on each is due
        self.sent = {}
        self.number = 0
        self._acks = collections.deque()
        self._unacked = {}
        self._again = collections.deque()
        self._running = threading.Event()
        self._idle = threading.Event()
        self._closing = False
        self._failure = None
        self._thread = threading.Thread(target=self._guarded, name="publisher", daemon=True)
        self._thread.start()

    # -- from the test's thread

    def go(self):
        self._running.set()

    def pause(self):
        """Pauses; on return nothing new is published."""
        self._running.clear()
        self._idle.clear()
        harness.wait_for(self._idle.is_set, what="the publisher's pause")
        self._raise()

    def settle(self, within_s=60.0):
        """Pauses; returns when the broker has acked everything."""
        self.pause()

        def acked():
            self._raise()
            return not self._unacked and not self._again and not self._halves and self._idle.is_set()

        harness.wait_for(acked, within_s, "the broker's acks")

    def await_acked(self, count, within_s=60.0):
        """Until so many more messages are acked."""
        goal = self.acked + count

        def reached():
            self._raise()
            return self.acked >= goal

        harness.wait_for(reached, within_s, f"acks of {count} more messages")

    def publish_again(self, count):
        """Publishes acked readings of this round once more, as a device does that missed the ack."""
        acked = [n for n, sent in self.sent.copy().items() if sent.acked and sent.kind in {"vehicle", "meter"}]
        self._again.extend(acked[-count:])

    def broker_forgot(self):
        """Marks what is acked so far as possibly lost by the broker. Call it while the broker is down."""
        self.pause()
        for sent in self.sent.values():
            sent.promised = sent.promised and not sent.acked

    def new_round(self):
        """Forgets what was sent; only while settled."""
        self.sent = {}
        return self.number

    def close(self):
        self._closing = True
        self._thread.join(10)

    def _raise(self):
        if self._failure is not None:
            raise self._failure

    # -- the thread

    acked = 0

    def _guarded(self):
        try:
            while not self._closing:
                self._connection()
        except BaseException as error:  # noqa: BLE001 shown by whoever waits
            self._failure = error

    def _connection(self):
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, reconnect_on_failure=False)
        client.max_inflight_messages_set(_MOST_UNACKED)
        client.on_publish = lambda _c, _u, mid, reason, _p: self._acks.append((mid, reason.value))
        try:
            client.connect(*self._address)
        except OSError:
            self._rest()
            return
        client.loop_start()
        try:
            ends = time.monotonic() + 5
            while not client.is_connected() and time.monotonic() < ends and not self._closing:
                self._rest()
            self._again.extend(dict.fromkeys(self._unacked.values()))
            self._unacked = {}
            self._acks.clear()
            while client.is_connected() and not self._closing:
                self._turn(client)
        finally:
            client.disconnect()
            client.loop_stop()

    def _turn(self, client):
        """A hundredth of a second's messages, and reads acks."""
        started = time.monotonic()
        self._take_acks()
        for _ in range(min(len(self._again), 100)):
            self._publish(client, self._again.popleft(), again=True)
        while self._halves and (self._halves[0][0] <= self.number or not self._running.is_set()):
            self._send(client, *self._halves.popleft()[1:])
        if self._running.is_set():
            for _ in range(min(self.rate // 100 or 1, _MOST_UNACKED - len(self._unacked))):
                n = self.number
                self.number += 1
                at = self.epoch + self.offset + dt.timedelta(milliseconds=n)
                self.sent[n] = Sent(self._kind(n), at, split=self.split_behind > 0)
                self._publish(client, n)
            time.sleep(max(0.0, started + 0.01 - time.monotonic()))
        else:
            self._take_acks()
            self._rest()

    def _rest(self):
        if not self._running.is_set():
            self._idle.set()
        time.sleep(0.02)

    def _take_acks(self):
        while self._acks:
            mid, reason = self._acks.popleft()
            n = self._unacked.pop(mid, None)
            if n is None:
                continue
            if reason == _NOBODY_LISTENS:
                self._again.append(n)
            elif reason < 0x80:
                sent = self.sent[n]
                sent.waiting -= 1
                if sent.waiting <= 0:
                    sent.acked = True
                    self.acked += 1
            else:
                raise AssertionError(f"the broker refused message {n}: reason {reason:#x}")

    def _kind(self, n):
        if n % 50 == 49:
            return "malformed"
        if self.offset > dt.timedelta(hours=12):
            return "future"
        return "meter" if n % 3 == 0 else "vehicle"

    def _publish(self, client, n, *, again=False):
        sent = self.sent[n]
        sent.tries += 1
        bodies = self._bodies(n, sent)
        sent.waiting = len(bodies)
        topic = f"meter/M{n % 47}" if sent.kind == "meter" else f"vehicle/V{n % 97}"
        self._send(client, n, topic, bodies[0])
        for body in bodies[1:]:
            due = n if again else n + self.split_behind
            self._halves.append((due, n, topic, body))

    def _send(self, client, n, topic, body):
        info = client.publish(f"{self._name}/{topic}", body, qos=1)
        self._unacked[info.mid] = n

    @staticmethod
    def _bodies(n, sent):
        """What is published of a number: one message, or two with a field each."""
        at = sent.at.isoformat(timespec="milliseconds")
        if sent.kind == "malformed":
            return [f'{{"timestamp":"{at}","odometer":{n},']
        first, second = ("power", "voltage") if sent.kind == "meter" else ("odometer", "soc")
        fields = [f'"{first}":{n}', f'"{second}":{n % (900 if sent.kind == "meter" else 101)}']
        parts = fields if sent.split and sent.kind in {"vehicle", "meter"} else [",".join(fields)]
        return [f'{{"timestamp":"{at}",{part}}}' for part in parts]
