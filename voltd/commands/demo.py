"""``voltd demo``: servers, daemon and fleet on this machine, a view of them, and the sum at the end."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import pathlib
import threading
import time
from collections.abc import Callable
from typing import Any

from voltd import errors
from voltd.commands import publishing
from voltd.demo import environment, facts, view
from voltd.simulate.fleet.fleet import Fleet
from voltd.simulate.fleet.run import SimulateOptions, fleet_options, simulate
from voltd.simulate.publish.publication import Tally
from voltd.simulate.publish.target import MqttTarget

_ONLINE_WITHIN_S = 30.0
_SETTLE_WITHIN_S = 30.0
_SPEED = 240.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``voltd demo``."""
    add = parser.add_argument
    add("--vehicles", type=int, default=200, metavar="N", help="how many vehicles (default %(default)s)")
    add("--meters", type=int, default=200, metavar="N", help="how many meters (default %(default)s)")
    add("--for", dest="duration_s", type=float, metavar="SECONDS", help="end after SECONDS (default: at Ctrl-C)")
    add("--speed", type=float, default=_SPEED, metavar="X", help="run X times as fast as life (default %(default)g)")
    add(
        "--bad-share",
        type=float,
        default=0.005,
        metavar="P",
        help="malformed messages per good reading, 0 to 1 (default %(default)g)",
    )
    add("--seed", type=int, default=1, metavar="N", help="the same seed gives the same fleet (default %(default)s)")
    add("--summary", type=pathlib.Path, metavar="FILE", help="write the counts of the run to FILE, as JSON")


def run(args: argparse.Namespace) -> int:
    """Runs the demo; 0 if every published reading was stored, dead-lettered or a duplicate.

    Raises:
        ServersNotFound, VoltdError: servers or daemon did not come up; nothing is left running.
    """
    if args.summary is not None and not args.summary.resolve().parent.is_dir():
        raise errors.UsageError(f"--summary {args.summary}: no such folder", hint="create it first")
    with publishing.signals() as stop, environment.Environment(_say) as on:
        summary = _play(args, on, stop)
    _say("")
    for line in _report(summary):
        _say(line)
    if args.summary is not None:
        args.summary.write_text(json.dumps(summary, indent=2) + "\n")
    missing = facts.difference(summary)
    if missing:
        raise errors.VoltdError(f"the numbers do not add up: {missing} readings without a known fate")
    return 0


def _play(args: argparse.Namespace, on: environment.Environment, stop: threading.Event) -> dict[str, Any]:
    broker = on.servers.broker
    options = SimulateOptions(
        target=MqttTarget(broker.host, broker.port),
        vehicles=args.vehicles,
        meters=args.meters,
        speed=args.speed,
        duration_s=args.duration_s,
        bad_share=args.bad_share,
        seed=args.seed,
        families=environment.FAMILIES,
    )
    made_of = fleet_options(options, dt.datetime.now(dt.UTC))
    on.write_registry(Fleet(made_of).registry())
    on.start_daemon()
    headline = f"voltd demo   {args.vehicles} vehicles, {args.meters} meters, {args.speed:g} x real time"
    with facts.Facts(on.dsn, broker.host, broker.port, environment.INSTANCE) as known:
        _wait(lambda: known.online, _ONLINE_WITHIN_S, on)
        _say(f"{headline}, TimescaleDB {on.edition.label} edition")
        _say("Meters speak as Tasmota, zigbee2mqtt, OCPP gateways and dsmr-reader do; other devices voltd's own format")
        _say(f"Look at the data:  {on.psql}")
        fleet = _Fleet(options, stop)
        began_s = time.monotonic()
        with view.make(headline, on.psql) as shown:
            while fleet.is_alive():
                on.check_daemon()
                shown.show(time.monotonic() - began_s, fleet.tally, known)
                fleet.join(1.0)
            published = fleet.result()
            expected = published.readings - published.duplicates
            _wait(lambda: known.counts().fates >= expected, _SETTLE_WITHIN_S, on)
            shown.show(time.monotonic() - began_s, published, known)
        on.stop_daemon()
        return known.summary(published, on.edition.file_suffix)


class _Fleet(threading.Thread):
    """The simulated fleet in a thread; ``tally`` is what the broker has acknowledged so far."""

    def __init__(self, options: SimulateOptions, stop: threading.Event) -> None:
        super().__init__(name="fleet", daemon=True)
        self._options, self._ending = options, stop
        self._error: BaseException | None = None
        self.tally = Tally()
        self.start()

    def run(self) -> None:
        try:
            self.tally = simulate(self._options, stop=self._ending, on_progress=self._progress, progress_s=0.1)
        except BaseException as error:  # noqa: BLE001 raised again in the main thread
            self._error = error

    def result(self) -> Tally:
        """The final tally; raises the error that ended the fleet."""
        if self._error is not None:
            raise self._error
        return self.tally

    def _progress(self, tally: Tally) -> None:
        self.tally = tally


def _wait(fact: Callable[[], bool], within_s: float, on: environment.Environment) -> bool:
    """Waits until ``fact`` is true; False if it is not in time. A daemon that ends meanwhile is an error."""
    ends = time.monotonic() + within_s
    while not fact():
        on.check_daemon()
        if time.monotonic() > ends:
            return False
        time.sleep(0.1)
    return True


def _report(summary: dict[str, Any]) -> list[str]:
    published, stored = summary["published"], summary["stored"]
    sent = published["vehicle"] + published["meter"] + published["bad"]
    kinds = "({vehicle:,} vehicle, {meter:,} meter, {bad:,} bad)".format_map(published)
    return [
        f"published   {sent:>9,} readings {kinds}",
        f"stored      {sum(stored.values()):>9,} ({stored['vehicle']:,} vehicle, {stored['meter']:,} meter)",
        f"duplicates  {summary['duplicates']:>9,}",
        f"dead letters{summary['dead_letters']:>9,}",
        f"unaccounted {facts.difference(summary):>9,}",
        f"efficiency  {summary['efficiency_rows']:>9,} vehicle-hours by volt.vehicle_efficiency",
        f"p99 from arrival to COMMIT: {summary['p99_ms']} ms",
    ]


def _say(line: str) -> None:
    print(line, flush=True)
