"""``voltd local up|down|env``: private Mosquitto and TimescaleDB that keep running after the command has ended."""

from __future__ import annotations

import argparse
import pathlib
import shlex
import sys

from voltd.local import persistent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The action and its home."""
    does = "up starts the servers, down stops them, env prints the variables that point voltd at them"
    parser.add_argument("action", choices=["up", "down", "env"], help=does)
    where = "folder of their data, logs and ports (default %(default)s)"
    parser.add_argument("--home", type=pathlib.Path, metavar="DIR", default=persistent.default_home(), help=where)


def run(args: argparse.Namespace) -> int:
    """Starts or stops the servers, or prints the variables that point voltd at them.

    Raises:
        VoltdError: a server does not start, or ``env`` finds none running.
    """
    home = args.home
    if args.action == "down":
        print("stopped" if persistent.down(home) else "nothing was running")
    elif args.action == "up":
        persistent.up(home, lambda line: print(line, file=sys.stderr))
        exports = f"{shlex.quote(sys.argv[0])} local env --home {shlex.quote(str(home))}"
        print(f'running; point voltd at it with: eval "$({exports})"')
    else:
        for name, value in persistent.env(home).items():
            print(f"export {name}={shlex.quote(value)}")
    return 0
