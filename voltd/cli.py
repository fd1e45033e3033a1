"""The console script: parses arguments, loads the settings, runs a command, turns errors into exit codes.

Exit codes: 0 done, 1 runtime failure, 2 usage, 78 configuration or schema, or another daemon has the client id, 130
Ctrl-C. Each command is a module of ``voltd.commands``, imported when it is named, so that ``voltd --help`` starts fast.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

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
        os._exit(code)  # a job that hangs in the database must not delay the exit
    return code


def _execute(args: argparse.Namespace) -> int:
    try:
        module = _module(args.name)
        return int(module.run(args) if args.name in _WITHOUT_SETTINGS else module.run(args, _settings(args)))
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
        help=f"file of the settings (default {loading.DEFAULT_PATH}, if it exists)",
    )
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")
    for name, sentence in _COMMANDS.items():
        sub = commands.add_parser(name, help=sentence, description=sentence)
        if name in words:  # the others' modules stay unloaded
            _module(name).add_arguments(sub)
    return parser


def _module(name: str) -> Any:
    """``voltd.commands.<name>``, with ``add_arguments(parser)`` and ``run(args, settings)``."""
    return importlib.import_module(f"voltd.commands.{name.replace('-', '_')}")


def _settings(args: argparse.Namespace) -> config.Settings:
    settings = loading.load(args.config)
    log.configure(settings.log.level, settings.log.format)
    return settings


_COMMANDS = {
    "run": "run the daemon",
    "migrate": "bring the database's schema up to date",
    "check": "test settings, broker, database, spool, rules and clock; each line says ok, or what to do",
    "doctor": "listen to a broker: what publishes there, which device family it is, what would be stored",
    "demo": "show voltd at work, with private servers and a simulated fleet",
    "simulate": "publish the readings of a simulated fleet",
    "replay": "publish recorded readings (CSV, NDJSON, gz)",
    "status": "show what the daemon is doing",
    "dead-letters": "list, show, replay or discard what could not be stored",
    "alerts": "list, acknowledge and silence alerts",
    "sessions": "export the charging sessions of a month",
    "rules": "try rules on stored history, or check a file of rules",
    "devices": "list devices and set their status",
    "local": "start and stop a private Mosquitto and TimescaleDB",
}
_WITHOUT_SETTINGS = frozenset({"demo", "local"})  # they bring servers of their own


if __name__ == "__main__":
    sys.exit(main())
