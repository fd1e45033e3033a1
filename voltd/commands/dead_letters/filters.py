"""The filters of ``voltd dead-letters``: arguments, and parameters of its SQL. Alike for list, replay and discard.

An empty filter is an error, not "all": ``discard --topic "$UNSET"`` would delete every dead letter.
"""

from __future__ import annotations

import argparse
import datetime as dt
import functools
import re
from typing import Any

from voltd import models, terminal

_when = functools.partial(terminal.moment, zone=dt.UTC)


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the filters to a parser."""
    parser.epilog = f"A dead letter must pass all filters. {terminal.when('UTC')}"
    parser.add_argument("ids", type=terminal.number, nargs="*", metavar="ID", help="only these ids (default: all)")
    reasons = [str(reason) for reason in models.Reason]
    parser.add_argument("--reason", choices=reasons, metavar="REASON", help=f"only this reason: {', '.join(reasons)}")
    parser.add_argument("--topic", type=_topic, help="only of this topic; + and # as in MQTT", metavar="FILTER")
    parser.add_argument("--since", type=_when, help="only what was received at WHEN or later", metavar="WHEN")
    parser.add_argument("--until", type=_when, help="only what was received before WHEN", metavar="WHEN")


def parameters(args: argparse.Namespace) -> dict[str, Any]:
    """The filters as the parameters of the queries in ``dead_letters.sql``; None: not asked for."""
    return {
        "ids": args.ids or None,
        "reason": args.reason,
        "topic": args.topic,
        "since": args.since,
        "until": args.until,
    }


def _topic(text: str) -> str:
    """An MQTT filter as a regular expression: ``+`` is one level, ``#`` the rest and the one above (MQTT 5, 4.7.1)."""
    levels = text.split("/")
    if not text or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is no topic filter")
    if any("#" in level for level in levels[:-1]) or any(len(level) > 1 and set("+#") & set(level) for level in levels):
        raise argparse.ArgumentTypeError(f"{text!r}: + may only be a whole level, # the whole last one")
    if levels == ["#"]:
        return ""
    ends = "(/.*)?$" if levels[-1] == "#" else "$"
    named = levels[:-1] if levels[-1] == "#" else levels
    return "^" + "/".join("[^/]*" if level == "+" else _literal(level) for level in named) + ends


def _literal(text: str) -> str:
    """Escapes a text for a regular expression of PostgreSQL."""
    return re.sub(r"[.^$*+?()\[\]{}|\\]", r"\\\g<0>", text)
