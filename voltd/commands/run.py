"""``voltd run``: the daemon."""

from __future__ import annotations

import argparse

from voltd import config
from voltd.daemon import app


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """Adds nothing: the command has no arguments."""


def run(args: argparse.Namespace, settings: config.Settings) -> int:
    """Runs until a signal ends the daemon."""
    return app.Daemon(settings, args.config).run()
