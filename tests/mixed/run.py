"""A mixed fleet beside the same fleet in voltd's own format, in real time: ``make mixed DEVICES=2000 MINUTES=30``.

Half of the devices are vehicles, half are the meters at their chargers. Each is there twice: once it speaks as its
family does, once voltd's own format. Both live the same life, through one broker into one daemon and one database, and
every figure is compared. Meanwhile a daemon starts into what is retained, devices go offline, registers are reset, and
the daemon is killed. Ends with exit code 1 where figures differ by more than the formats' steps.
"""

import argparse
import collections
import contextlib
import datetime as dt
import json
import pathlib
import resource
import sys
import tempfile
import time
import tomllib

import psycopg

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # tests/

from mixed import compare, twins
from support import databases, harness, homes
from support.families import shipped
from voltd import local
from voltd.database import migrate
from voltd.simulate.families import catalogue
from voltd.simulate.fleet.registry import write_registry
from voltd.simulate.publish.publisher import Publisher

_REPORTS_BEFORE = 2  # that nobody hears, so that the daemon starts into what is retained
_OFFLINE_AT, _RESET_AT, _KILLED_AT = 0.3, 0.5, 0.7  # of the run
_DOWN_REPORTS = 3


def main():
    asked = _arguments()
    servers = local.start(homes.new("mixed"), progress=_say)
    try:
        dsn = servers.database.dsn
        migrate.migrate(dsn, migrate.MigrateOptions(), report=lambda _line: None)
        with tempfile.TemporaryDirectory(prefix="voltd-test-mixed-") as folder:
            daemon = harness.Daemon(
                dsn=dsn, mqtt=(servers.broker.host, servers.broker.port), name="mixed", log=pathlib.Path(folder, "log")
            )
            try:
                began = time.monotonic()
                found, made = fleets(daemon, dsn, asked.devices // 2, asked.interval, asked.minutes * 60, say=_say)
                _say(f"{time.monotonic() - began:.0f} s altogether")
                _report(found, made)
            finally:
                daemon.close()
    finally:
        databases.end_sessions()
        servers.stop()
    return 1 if found.mistakes else 0


def fleets(daemon, dsn, pairs, interval_s, duration_s, *, names=None, say=lambda _line: None):
    """Runs both fleets through a daemon that is not started yet; what was found, and the fleets.

    Args:
        daemon: with its broker and database.
        dsn: of the database, which has the schema.
        pairs: vehicles and meters of each fleet.
        interval_s: seconds between two reports of a device.
        duration_s: how long they live.
        names: the families; None: all.
        say: called with lines for people.
    """
    names = names or twins.every_family(shipped())
    devices = tomllib.loads(catalogue.settings(names))["devices"]
    for kind in ("VEHICLE", "METER", "INGEST"):
        daemon.env.pop(f"VOLTD_MQTT__TOPICS__{kind}")
    daemon.env |= {"VOLTD_DEVICES": json.dumps(devices), "VOLTD_LOG__LEVEL": "info"}
    began = dt.datetime.now(dt.UTC)
    made = twins.Twins(pairs, interval_s, names, began)
    for fleet in (made.own, made.mixed):
        with psycopg.connect(dsn) as connection:
            write_registry(connection, fleet.registry())
    with (
        Publisher(daemon.env["VOLTD_MQTT__HOST"], int(daemon.env["VOLTD_MQTT__PORT"])) as publisher,
        _listener(daemon, made.mixed.commands) as listener,
    ):
        clockwork = twins.Clockwork(made, publisher, listener)
        run = _Run(daemon, made, clockwork, began, say)
        events = run.live(duration_s)
        clockwork.finish()
        tally = publisher.tally()
    say(
        f"published {tally.messages:,} messages ({tally.messages / duration_s:,.0f}/s), {tally.vehicle:,} vehicle and"
        f" {tally.meter:,} meter readings; the publisher was late by {clockwork.latest.total_seconds():.2f} s at most"
    )
    harness.wait_for(lambda: _is_idle(daemon), 120, "the end of the stream")
    _count(daemon, say)
    assert daemon.terminate() == 0
    say("comparing")
    return compare.Comparison(dsn, made, events).all(), made


@contextlib.contextmanager
def _listener(daemon, filters):
    """Hears what voltd asks of devices."""
    listener = Publisher(daemon.env["VOLTD_MQTT__HOST"], int(daemon.env["VOLTD_MQTT__PORT"]), connections=1)
    for topic_filter in filters:
        listener.listen(topic_filter)
    with listener:
        yield listener


class _Run:
    """The run with its events; ``clockwork`` steps ``made``, which begin at ``began``."""

    def __init__(self, daemon, made, clockwork, began, say):
        self._daemon, self._made, self._clockwork, self._began, self._say = daemon, made, clockwork, began, say

    def live(self, duration_s):
        """Returns when it is over."""
        interval, clockwork = self._made.interval, self._clockwork
        clockwork.run(self._began + _REPORTS_BEFORE * interval)
        compared_from = self._start() + 2 * interval
        leaves = max(self._at(_OFFLINE_AT, duration_s), compared_from)
        clockwork.run(leaves)
        self._made.go_offline(leaves)  # not now: a busy machine lags, and what was due since is not reported
        self._say("a tenth of the devices goes offline")
        clockwork.run(max(self._at(_RESET_AT, duration_s), self._made.away[1] + interval))
        self._made.reset()
        self._say(f"registers of {twins.RESET_FAMILY} are reset")
        clockwork.run(max(self._at(_KILLED_AT, duration_s), dt.datetime.now(dt.UTC) + 2 * interval))
        down = dt.datetime.now(dt.UTC)
        _count(self._daemon, self._say)
        self._daemon.kill()
        self._say("the daemon is killed")
        clockwork.run(down + _DOWN_REPORTS * interval)
        up = self._start()
        ended = max(self._at(1, duration_s), up + 4 * interval)
        clockwork.run(ended)
        return compare.Events(compared_from, ended - interval, down, up)

    def _at(self, share, duration_s):
        return self._began + dt.timedelta(seconds=share * duration_s)

    def _start(self):
        """Starts the daemon; when it is connected, the fleets having lived on."""
        connected = self._daemon.events("broker.connected")
        starting = dt.datetime.now(dt.UTC)
        self._daemon.start(wait=False)
        while self._daemon.events("broker.connected") <= connected:
            assert dt.datetime.now(dt.UTC) - starting < dt.timedelta(seconds=90), self._daemon.log()[-3000:]
            self._clockwork.run(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=0.1))
        up = dt.datetime.now(dt.UTC)
        self._say(f"the daemon is connected after {(up - starting).total_seconds():.1f} s")
        return up


def _is_idle(daemon):
    """Whether the daemon has nothing in flight, twice in a row."""
    seen = []
    for _ in range(2):
        status = daemon.status()
        seen.append((status.get("in_flight"), status.get("messages_received_total")))
        time.sleep(1.2)
    return seen[0] == seen[1] and seen[0][0] == 0


def _count(daemon, say):
    status = daemon.status()
    used = pathlib.Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(") ")[2].split()
    cpu_s = (int(used[11]) + int(used[12])) / 100
    received = status["messages_received_total"]
    each_us = cpu_s / max(received, 1) * 1e6
    say(
        f"the daemon received {received:,} messages in {cpu_s:.1f} s of CPU ({each_us:.0f} us each); it stored"
        f" {status['readings_written_total']:,} readings, duplicates {status['readings_duplicate_total']:,},"
        f" dead letters {sum(status['messages_dead_lettered_total'].values())}"
    )


def _report(found, made):
    devices = collections.Counter(twin.family or "voltd" for twin in made.twins)
    for name in dict.fromkeys(key[0] for key in found.compared):
        _say(f"\n{name}: {devices[name]} devices")
        for (family, field), count in found.compared.items():
            if family == name:
                _say(f"  {field:<24}{count:>10,} compared, furthest apart {found.furthest[family, field]:.6g}")
    _say("\nleft out:")
    for reason, count in found.left_out.items():
        _say(f"  {count:>10,} {reason}")
    compared = sum(found.compared.values())
    _say(f"\n{compared:,} figures compared, {found.mistakes:,} differ by more than the formats' steps")
    for line in found.wrong:
        _say(f"  {line}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    _say(f"({peak:.0f} MiB used by this script)")


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--devices", type=int, default=100, help="vehicles and meters, half each (default %(default)s)")
    add("--minutes", type=float, default=3.0, help="how long they live (default %(default)s)")
    add("--interval", type=float, default=10.0, help="seconds between two reports of a device (default %(default)g)")
    return parser.parse_args()


def _say(line):
    print(line, flush=True)  # noqa: T201 a script that reports


if __name__ == "__main__":
    sys.exit(main())
