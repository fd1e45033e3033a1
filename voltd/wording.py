"""Why a value is refused, in plain words: of settings, of rules and of readings.

``config.loading`` and ``rules.load`` describe pydantic's errors with it, ``pipeline.decode`` what is out of range.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import pydantic
import pydantic_core

_WORDS = {
    "missing": "is missing",
    "tuple_type": 'should be a list, like ["a", "b"]',
    "dict_type": "should be a table",
    "model_type": "should be a table",
    "string_type": "should be a text",
    "path_type": "should be a path",
    **dict.fromkeys(("bool_type", "bool_parsing"), "should be true or false"),
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), "should be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "should be a number"),
    "finite_number": "should be a finite number",
    **dict.fromkeys(("literal_error", "enum"), "should be {expected}"),
    "greater_than": "should be more than {gt:.15g}",
    "greater_than_equal": "should be at least {ge:.15g}",
    "less_than_equal": "should be at most {le:.15g}",
    "too_short": "should have at least {min_length} element(s)",
    "string_too_short": "should have at least {min_length} character(s)",
    "string_too_long": "should have at most {max_length} character(s)",
}


def at_least(limit: float) -> str:
    """What a number should be that is below ``limit``."""
    return _WORDS["greater_than_equal"].format(ge=limit)


def at_most(limit: float) -> str:
    """What a number should be that is above ``limit``."""
    return _WORDS["less_than_equal"].format(le=limit)


def matching(pattern: str, words: str) -> pydantic.AfterValidator:
    """Lets texts pass that match as a whole; ``words`` say for people what the pattern means."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"should be {words}")
        return text

    return pydantic.AfterValidator(check)


def reason(item: Mapping[str, Any]) -> str:
    """Why pydantic refuses a value, by an item of its ``errors()``: what is allowed."""
    words = _WORDS.get(item["type"])
    return words.format_map(item.get("ctx", {})) if words else str(item["msg"]).removeprefix("Value error, ")


def describe(
    error: pydantic.ValidationError,
    *,
    unknown: str,
    known: Collection[str] = (),
    secret: Callable[[pydantic_core.ErrorDetails], bool] = lambda _: False,
) -> str:
    """Each field that pydantic refuses, what was given and what is allowed: ``mqtt.port = 0: should be at least 1``.

    Args:
        error: pydantic's.
        unknown: what a name is that nothing has.
        known: names among which an unknown one may have a near match.
        secret: whether what was given must not be shown.
    """
    lines = []
    for item in error.errors(include_url=False):
        parts = [part for part in item["loc"] if part != "[key]"]
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")
        said = reason(item)
        if item["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(parts[-1]), known, n=1)
            said = unknown + (" here" if near == parts[-1:] else f", {near[0]} is one" if near else "")
        if item["type"] == "missing":
            lines.append(f"{where} {said}")
            continue
        hidden = isinstance(item["input"], dict | pydantic.BaseModel) or secret(item)
        shown = "" if hidden else f" = {item['input']!r}"
        lines.append(f"{where}{shown}: {said}" if where else said)
    return "; ".join(lines)
