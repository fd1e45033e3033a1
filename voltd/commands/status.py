"""``voltd status``: what the daemon is doing, as it published it on its retained status topic."""

from __future__ import annotations

import argparse
import json

from voltd import config
from voltd.daemon import status


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The one option."""
    parser.add_argument("--json", action="store_true", help="one JSON object, as the daemon published it")


def run(args: argparse.Namespace, settings: config.Settings) -> int:
    """Prints the status; 1 where the daemon is not online.

    Raises:
        VoltdError: the broker cannot be reached, or it has no status of this instance.
    """
    found = status.fetch(settings)
    print(json.dumps(found) if args.json else status.show(found))
    return 0 if found["status"] == "online" else 1
