"""The oracle: everything that the broker acked to the publisher is in the tables, once, and nothing else is.

It reads only what a user sees: the tables, and ``voltd status``. A round is what was published since the last check.
"""

import collections
import dataclasses
import re
import time

from faults.publisher import DAY, Publisher

_NUMBER = re.compile(rb'"odometer":(\d+)')


@dataclasses.dataclass
class Figures:
    """The result of rounds.

    Attributes:
        readings: acked readings, each of them searched for.
        dead_letters: acked malformed messages, likewise.
        lost: acked and in no table.
        doubled: in a table more often than it was published.
        strangers: rows that were not published.
        broker_lost: acked, then lost by a broker without persistence, before the daemon had them.
    """

    readings: int = 0
    dead_letters: int = 0
    lost: int = 0
    doubled: int = 0
    strangers: int = 0
    broker_lost: int = 0
    miscounted: str = ""

    def add(self, other):
        for field in dataclasses.fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    @property
    def faultless(self):
        return not (self.lost or self.doubled or self.strangers or self.miscounted)


class Oracle:
    """Publishes on a stage and compares the tables with it.

    Attributes:
        publisher: what publishes; faults may pause it or shift its clock.
        DAY: for the publisher's clock.
        broker_repeats: set by a fault after which the broker itself may send an acked message as a new one.
    """

    DAY = DAY

    def __init__(self, stage, rate=500):
        self._stage = stage
        self.publisher = Publisher((stage.broker.host, stage.broker.port), stage.daemon.name, rate)
        self._first = 0
        self._last_letter = 0
        self.broker_repeats = False

    def close(self):
        self.publisher.close()

    def check(self, within_s=60.0):
        """Waits until everything is stored, compares, and begins a new round.

        Returns:
            The figures of this round. What is missing after the time is lost.
        """
        publisher = self.publisher
        publisher.settle()
        expected = {n for n, sent in publisher.sent.items() if sent.acked and sent.promised}
        ends = time.monotonic() + within_s
        while True:
            rows, letters, strangers = self._present()
            if expected <= rows.keys() | letters.keys() or time.monotonic() > ends:
                break
            time.sleep(0.1)
        status = self._stage.at_rest(max(10.0, ends - time.monotonic()))
        rows, letters, strangers = self._present()
        figures = self._compare(rows, letters)
        figures.strangers += strangers
        figures.miscounted = self._miscounted(status)
        self._first = publisher.new_round()
        self._last_letter = self._newest_letter()
        self.broker_repeats = False
        return figures

    def _compare(self, rows, letters):
        figures = Figures()
        for n, sent in self.publisher.sent.items():
            here, other = (rows, letters) if sent.kind in {"vehicle", "meter"} else (letters, rows)
            stored = here.get(n, 0)
            if other.get(n):
                figures.strangers += other[n]  # stored as what it is not
            if not sent.acked:
                continue
            if here is rows:
                figures.readings += 1
            else:
                figures.dead_letters += 1
            if not stored and sent.promised:
                figures.lost += 1
            elif not stored:
                figures.broker_lost += 1
            most = 1 if here is rows else sent.tries + self.broker_repeats
            figures.doubled += max(0, stored - most)
        figures.strangers += sum(n not in self.publisher.sent for n in (rows.keys() | letters.keys()))
        return figures

    def _present(self):
        """How often each number of this round is in the hypertables, in the dead letters, and rows without one."""
        rows, letters, strangers = collections.Counter(), collections.Counter(), 0
        times = [sent.at for sent in self.publisher.sent.copy().values()]
        with self._stage.admin() as connection:
            if times:
                for n, device, soc in connection.execute(
                    "SELECT odometer_km::bigint, vehicle_id, soc_pct FROM volt.vehicle_reading"
                    " WHERE recorded_at BETWEEN %(from)s AND %(to)s AND odometer_km >= %(first)s"
                    " UNION ALL SELECT power_kw::bigint, meter_id, voltage_v FROM volt.meter_reading"
                    " WHERE recorded_at BETWEEN %(from)s AND %(to)s AND power_kw >= %(first)s",
                    {"from": min(times), "to": max(times), "first": self._first},
                ).fetchall():
                    rows[n] += 1
                    half = soc is None and self._may_be_half(n)
                    strangers += not half and (device, soc) not in {(f"V{n % 97}", n % 101), (f"M{n % 47}", n % 900)}
            for (payload,) in connection.execute(
                "SELECT payload FROM volt.dead_letter WHERE id > %s", [self._last_letter]
            ).fetchall():
                number = _NUMBER.search(payload)
                if number:
                    letters[int(number[1])] += 1
                else:
                    strangers += 1
        return rows, letters, strangers

    def _may_be_half(self, n):
        """Whether the other half of a reading may rightly be missing: the broker never had it, or has lost it."""
        sent = self.publisher.sent.get(n)
        return sent is not None and sent.split and not (sent.acked and sent.promised)

    def _newest_letter(self):
        with self._stage.admin() as connection:
            return connection.execute("SELECT coalesce(max(id), 0) FROM volt.dead_letter").fetchone()[0]

    def _miscounted(self, status):
        """Where the daemon's counters differ from the tables; empty: nowhere."""
        wrong = [f"dropped_total {status['dropped_total']}"] if status["dropped_total"] else []
        counted = self._stage.counted()
        if counted is not None:
            said = (status["readings_written_total"], sum(status["messages_dead_lettered_total"].values()))
            names = ("readings_written_total", "messages_dead_lettered_total")
            wrong += [
                f"{name} {mine}, the table gained {real}; "
                for name, mine, real in zip(names, said, counted, strict=True)
                if mine != real
            ]
        return "".join(wrong)
