"""``voltd simulate``: a simulated fleet that publishes. Progress goes to stderr, the tally to stdout.

SIGINT and SIGTERM end a run in order; a second one ends it at once.
"""

from __future__ import annotations

import argparse
import datetime as dt

import psycopg

from voltd import config, terminal
from voltd.commands import publishing
from voltd.database import connections
from voltd.simulate.families import catalogue
from voltd.simulate.fleet.fleet import Fleet
from voltd.simulate.fleet.registry import write_registry
from voltd.simulate.fleet.run import SimulateOptions, fleet_options, simulate
from voltd.simulate.publish.target import MqttTarget

_REGISTRAR_HINT = "--register needs the role volt_registrar or volt_owner: set database.migrate_dsn to a user with it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``voltd simulate``; the settings name the broker."""
    defaults = SimulateOptions(MqttTarget())
    add = parser.add_argument
    add("--vehicles", type=int, default=defaults.vehicles, metavar="N", help="how many vehicles (default %(default)s)")
    add("--meters", type=int, default=defaults.meters, metavar="N", help="how many meters (default %(default)s)")
    add("--interval", type=float, default=defaults.interval_s, metavar="S", help="seconds of simulated time between two readings of a device (default %(default)g)")  # fmt: skip # noqa: E501
    add("--speed", type=float, default=defaults.speed, metavar="X", help="simulated time runs X times as fast, and readings are dated by it (default %(default)g)")  # fmt: skip # noqa: E501
    add("--for", dest="duration_s", type=float, metavar="SECONDS", help="end after SECONDS (default: run until stopped)")  # fmt: skip # noqa: E501
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--start", type=publishing.moment, metavar="TIME", help=f"simulated time begins at TIME, {publishing.MOMENT}")  # fmt: skip # noqa: E501
    begin.add_argument("--past", dest="past_h", type=float, metavar="HOURS", help="simulated time begins HOURS ago, and continues in real time once it has caught up (default 24 with --speed over 1 and without --for)")  # fmt: skip # noqa: E501
    add("--seed", type=int, default=defaults.seed, metavar="N", help="the same seed and start give the same readings (default %(default)s)")  # fmt: skip # noqa: E501
    add("--bad-share", type=float, default=defaults.bad_share, metavar="P", help="malformed messages per good reading, 0 to 1 (default %(default)g)")  # fmt: skip # noqa: E501
    add("--duplicate-share", type=float, default=defaults.duplicate_share, metavar="P", help="share of the messages that are sent twice, 0 to 1 (default %(default)g)")  # fmt: skip # noqa: E501
    add("--offline-share", type=float, default=defaults.offline_share, metavar="P", help="share of the devices that are offline at a time, 0 to 0.5; their backlog follows as an array (default %(default)g)")  # fmt: skip # noqa: E501
    add("--rate", type=float, metavar="N", help="at most N messages a second (default: no limit)")
    add("--connections", type=int, default=defaults.connections, metavar="N", help="connections to the broker (default %(default)s)")  # fmt: skip # noqa: E501
    add("--as", dest="families", action="append", type=lambda text: text.split(","), default=[], metavar="FAMILY[,...]", help=f"speak as these device families do, shared out among the devices of their type: {', '.join(catalogue.FAMILIES)}, or {catalogue.OWN} for its own format, which is the default; may be given again")  # fmt: skip # noqa: E501
    add("--register", action="store_true", help="first write vehicles, meters and which meter feeds which vehicle into the registry, where they are missing")  # fmt: skip # noqa: E501
    add("--prefix", default=defaults.prefix, metavar="TEXT", help="put TEXT before every device id (default: nothing)")


def run(args: argparse.Namespace, settings: config.Settings) -> int:
    """Publishes until the duration is over or a signal arrives; 0 when it ended in order.

    Raises:
        BrokerUnavailable, BrokerRefused: the broker cannot be used.
        ConfigurationError, StoreUnavailable: the registry cannot be written; nothing was published.
        UsageError: the options contradict each other, or make no fleet.
    """
    families = tuple(name.strip() for names in args.families for name in names)
    catalogue.check(families)
    options = SimulateOptions(
        target=MqttTarget.from_settings(settings),
        vehicles=args.vehicles,
        meters=args.meters,
        interval_s=args.interval,
        speed=args.speed,
        seed=args.seed,
        duration_s=args.duration_s,
        start=args.start,
        past_h=args.past_h,
        bad_share=args.bad_share,
        duplicate_share=args.duplicate_share,
        offline_share=args.offline_share,
        rate=args.rate,
        connections=args.connections,
        prefix=args.prefix,
        families=families,
    )
    if families:
        _explain(families, options.speed)
    if args.register:
        dsn = connections.dsn(settings, migrate=True)
        with terminal.explained(_REGISTRAR_HINT), psycopg.connect(dsn) as connection:
            write_registry(connection, Fleet(fleet_options(options, dt.datetime.now(dt.UTC))).registry())
    progress = publishing.Progress()
    with publishing.signals() as stop:
        tally = simulate(
            options, stop=stop, on_progress=lambda tally: progress.show(publishing.counts(tally), tally.messages)
        )
    progress.end()
    publishing.print_tally(tally, progress.elapsed_s)
    if not args.register:
        publishing.say("efficiency needs to know which meter feeds which vehicle: --register writes it, if nobody has")
    return 0


def _explain(families: tuple[str, ...], speed: float) -> None:
    """Says on stderr which settings take the fleet, and what its readings cannot say."""
    publishing.say(f"Lines of voltd.toml that take this fleet:\n\n{catalogue.settings(families)}\n")
    undated = catalogue.undated(families)
    if undated and speed != 1:
        publishing.say(
            f"{', '.join(undated)}: without times of their own, so voltd dates them by their arrival: at --speed"
            f" {speed:g} power and energy contradict each other; --speed 1 is true to life"
        )
