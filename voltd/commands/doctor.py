"""``voltd doctor``: what devices publish on a broker, which family they are, and what would be stored.

It listens beside the daemon, with a session of its own, and works before anything is configured.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Collection

import psycopg

from voltd import config, errors, terminal
from voltd.database import connections, queries
from voltd.doctor import listen, proposal, report, survey
from voltd.models import DeviceType
from voltd.pipeline.decode.devices import catalogue

_LISTEN_S = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How long to listen, and where to write what was found."""
    parser.add_argument(
        "--listen", type=_seconds, default=_LISTEN_S, metavar="SPAN", help="for how long, as 30, 90s or 5m (default 30)"
    )
    parser.add_argument(
        "--write",
        type=pathlib.Path,
        metavar="FILE",
        help="write the settings that take all of it into a new file",
    )


def run(args: argparse.Namespace, settings: config.Settings) -> int:
    """Listens and reports; 0 if the settings take everything that makes readings, 1 if not.

    Raises:
        VoltdError: the broker cannot be reached, a description is wrong, or the file cannot be written.
    """
    described = catalogue.described(settings.devices_directory)
    seconds = args.listen
    print(f"Listening on {settings.mqtt.host}:{settings.mqtt.port} for {seconds:g} s.", file=sys.stderr)
    heard = listen.listen(settings, seconds)
    groups = survey.survey(heard, settings, described)
    text = proposal.settings_text(groups, settings, described)
    for line in report.lines(groups, seconds, _registered(settings)):
        print(line)
    if heard.left_out:
        print(f"\n{heard.left_out} messages on further or very long topics were not looked at.")
    if text and args.write:
        _write(args.write, text)
        print(f"\nWritten to {args.write}: add its lines to voltd.toml.")
    elif text:
        print(f"\nThese lines of voltd.toml take what is not taken yet (--write FILE writes them):\n\n{text}", end="")
    return 1 if text or any(group.trouble for group in groups) else 0


def _seconds(text: str) -> float:
    return terminal.span(f"{text}s" if text.isdigit() else text).total_seconds()


def _registered(settings: config.Settings) -> Collection[tuple[DeviceType, str]] | None:
    try:
        with psycopg.connect(connections.dsn(settings), connect_timeout=2) as connection:
            rows = connection.execute(queries.text("registered_devices")).fetchall()
    except psycopg.Error as error:
        reason = str(error).strip().split("\n", 1)[0]
        print(f"The registry was not looked at: {reason}", file=sys.stderr)
        return None
    return {(DeviceType(device_type), device_id) for device_type, device_id in rows}


def _write(file: pathlib.Path, text: str) -> None:
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        raise errors.ConfigurationError(
            f"{file} cannot be written: {error.strerror}",
            hint="name a new file, in a folder of yours",
        ) from error
