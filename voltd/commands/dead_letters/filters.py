"""The filters of ``voltd dead-letters``: arguments, and parameters of its SQL. Alike for list, replay and discard.

An empty filter is an error, not "all": ``discard --topic "$UNSET"`` would delete every dead letter.
"""

from __future__ import annotations

import argparse
import datetime as dt
import re
from typing import Any

from voltd import models, terminal

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the filters to a parser."""
    when = "WHEN is a time (RFC 3339; UTC where it names no offset), or how long ago: 90s, 15m, 6h, 7d"
    parser.epilog = f"Several filters: those that pass all of them. {when}."
    parser.add_argument("ids", type=terminal.number, nargs="*", metavar="ID", help="only these (default: all)")
    reasons = [str(reason) for reason in models.Reason]
    parser.add_argument("--reason", choices=reasons, metavar="REASON", help=f"only this reason: {', '.join(reasons)}")
    parser.add_argument("--topic", type=_topic, help="only this topic; MQTT's wildcards allowed", metavar="FILTER")
    parser.add_argument("--since", type=_moment, help="received since then", metavar="WHEN")
    parser.add_argument("--until", type=_moment, help="received before then", metavar="WHEN")


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


def _moment(text: str) -> dt.datetime:
    try:
        if text[-1:] in _UNITS and text[:-1].isdigit():
            return dt.datetime.now(dt.UTC) - dt.timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
        moment = dt.datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is neither an RFC 3339 time nor a span such as 15m") from None
