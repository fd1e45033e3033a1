"""The commands: parses arguments, loads the settings, calls what does the work, turns errors into exit codes.

Exit codes: 0 done, 1 runtime failure, 2 usage, 78 configuration or schema. Each command's module is imported when
it runs, so that ``voltd --help`` and ``voltd run`` start fast.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shlex
import sys
from collections.abc import Callable, Sequence

import voltd
from voltd import config, errors, log
from voltd.config import loading


def main(argv: Sequence[str] | None = None) -> int:
    """The console script ``voltd``."""
    words = sys.argv[1:] if argv is None else argv
    args = _parser(words).parse_args(words)
    code = _execute(args)
    if args.name == "run":
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # all is said and done; a job's thread that hangs in the database must not hold up the exit
    return code


def _execute(args: argparse.Namespace) -> int:
    try:
        return int(args.command(args))
    except errors.VoltdError as error:
        print(f"voltd: {error}", file=sys.stderr)
        if error.hint:
            print(f"       {error.hint}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader, such as head, has left
        return 0


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="voltd", description="EV telemetry from MQTT into TimescaleDB.")
    parser.add_argument("--version", action="version", version=f"voltd {voltd.__version__}")
    parser.add_argument(
        "--config",
        type=pathlib.Path,
        metavar="FILE",
        help=f"settings (default {loading.DEFAULT_PATH}, if it exists)",
    )
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")
    for name, (sentence, arguments, command) in _COMMANDS.items():
        sub = commands.add_parser(name, help=sentence, description=sentence)
        if name in words:  # the others' modules stay unloaded
            arguments(sub)
        sub.set_defaults(command=command)
    return parser


def _none(_parser: argparse.ArgumentParser) -> None:
    """A command without arguments."""


def _settings(args: argparse.Namespace) -> config.Settings:
    settings = loading.load(args.config)
    log.configure(settings.log.level, settings.log.format)
    return settings


def _run(args: argparse.Namespace) -> int:
    from voltd.daemon import app

    return app.Daemon(_settings(args), args.config).run()


def _migrate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="only say what is missing; 78 when something is")
    parser.add_argument(
        "--lower-retention", action="store_true", help="let the settings shorten how long raw readings are kept"
    )


def _migrate(args: argparse.Namespace) -> int:
    from voltd.database import migrate, session

    settings = _settings(args)
    dsn = session.dsn(settings, migrate=True)
    if args.check:
        migrate.status(dsn).require_current()
        print("schema: up to date")
        return 0
    options = migrate.MigrateOptions(
        raw_retention_days=settings.raw_retention_days,
        columnstore_after_days=settings.retention.columnstore_after_days,
        expected_interval_s=settings.efficiency.expected_interval_s,
        dead_letter_days=settings.retention.dead_letter_days,
        alert_days=settings.retention.alert_days,
        lower_retention=args.lower_retention,
    )
    result = migrate.migrate(dsn, options, report=print)
    print(f"schema: up to date ({len(result.applied)} migrations applied)")
    return 0


def _check(args: argparse.Namespace) -> int:
    from voltd.commands import check

    return check.run(_settings(args))


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    from voltd.demo import commands

    commands.add_arguments(parser)


def _demo(args: argparse.Namespace) -> int:
    from voltd.demo import commands

    return commands.run(args)


def _simulate_arguments(parser: argparse.ArgumentParser) -> None:
    from voltd.simulate import commands

    commands.add_simulate_arguments(parser)


def _simulate(args: argparse.Namespace) -> int:
    from voltd.simulate import commands, target

    return commands.run_simulate(args, target.from_settings(_settings(args)))


def _replay_arguments(parser: argparse.ArgumentParser) -> None:
    from voltd.simulate import commands

    commands.add_replay_arguments(parser)


def _replay(args: argparse.Namespace) -> int:
    from voltd.simulate import commands, target

    settings = _settings(args)
    return commands.run_replay(args, target.from_settings(settings), settings)


def _status_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as the daemon published it")


def _status(args: argparse.Namespace) -> int:
    import json

    from voltd.daemon import status

    found = status.fetch(_settings(args))
    print(json.dumps(found) if args.json else status.show(found))
    return 0 if found["status"] == "online" else 1


def _dead_letters_arguments(parser: argparse.ArgumentParser) -> None:
    from voltd.commands import dead_letters

    dead_letters.add_arguments(parser)


def _dead_letters(args: argparse.Namespace) -> int:
    from voltd.commands import dead_letters

    return dead_letters.run(args, _settings(args))


def _alerts_arguments(parser: argparse.ArgumentParser) -> None:
    from voltd.commands import alerts

    alerts.add_arguments(parser)


def _alerts(args: argparse.Namespace) -> int:
    from voltd.commands import alerts

    return alerts.run(args, _settings(args))


def _rules_arguments(parser: argparse.ArgumentParser) -> None:
    from voltd.commands import rules

    rules.add_arguments(parser)


def _rules(args: argparse.Namespace) -> int:
    from voltd.commands import rules

    return rules.run(args, _settings(args))


def _devices_arguments(parser: argparse.ArgumentParser) -> None:
    from voltd.commands import devices

    devices.add_arguments(parser)


def _devices(args: argparse.Namespace) -> int:
    from voltd.commands import devices

    return devices.run(args, _settings(args))


def _local_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["up", "down", "env"], help="start, stop, or print the exports")
    parser.add_argument("--home", type=pathlib.Path, metavar="DIR", help="where data, logs and ports are kept")


def _local(args: argparse.Namespace) -> int:
    from voltd.local import commands

    home = args.home or commands.default_home()
    if args.action == "down":
        print("stopped" if commands.down(home) else "nothing was running")
        return 0
    if args.action == "up":
        commands.up(home, lambda line: print(line, file=sys.stderr))
        voltd_ = shlex.quote(sys.argv[0])
        print(f'running; point voltd at it with: eval "$({voltd_} local env --home {shlex.quote(str(home))})"')
        return 0
    for name, value in commands.env(home).items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


_Command = tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]]
_COMMANDS: dict[str, _Command] = {
    "run": ("the daemon", _none, _run),
    "migrate": ("bring the database's schema up to date", _migrate_arguments, _migrate),
    "check": ("configuration, broker, database, edition, schema: ok or what to do", _none, _check),
    "demo": ("everything private and local: see it work", _demo_arguments, _demo),
    "simulate": ("a simulated fleet that publishes to the broker", _simulate_arguments, _simulate),
    "replay": ("publish recorded readings (CSV, NDJSON, gz)", _replay_arguments, _replay),
    "status": ("what the daemon is doing", _status_arguments, _status),
    "dead-letters": ("what could not be stored, and why", _dead_letters_arguments, _dead_letters),
    "alerts": ("what is wrong now; acknowledge it, silence it", _alerts_arguments, _alerts),
    "rules": ("try rules on stored history, or check a file of rules", _rules_arguments, _rules),
    "devices": ("which devices there are; retire one", _devices_arguments, _devices),
    "local": ("private Mosquitto and TimescaleDB", _local_arguments, _local),
}


if __name__ == "__main__":
    sys.exit(main())
