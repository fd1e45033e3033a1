"""Where a value is in a JSON document: keys and indexes, as ``ENERGY.Total`` or ``sensors.0.value``.

A key with a dot is quoted: ``"a.b".c``. A number is an index where it stands after a key, and a key where it is quoted.
"""

from __future__ import annotations

import re
from typing import Any

Step = str | int
_STEP = re.compile(r'"((?:[^"\\]|\\.)*)"|([^".]+)')
_MOST_STEPS = 12
MISSING: Any = object()


def parse(text: str) -> tuple[Step, ...]:
    """The steps of a path.

    Raises:
        ValueError: it is none.
    """
    steps: list[Step] = []
    at = 0
    while True:
        found = _STEP.match(text, at)
        if found is None:
            raise ValueError(f"{text!r} is no path: write keys with dots between them, as ENERGY.Total")
        quoted, plain = found.groups()
        if quoted is not None:
            steps.append(re.sub(r"\\(.)", r"\1", quoted))
        else:
            steps.append(int(plain) if plain.isascii() and plain.isdigit() and steps else plain)
        at = found.end()
        if at == len(text):
            break
        if text[at] != ".":
            raise ValueError(f"{text!r} is no path: a dot belongs behind a quoted key")
        at += 1
    if len(steps) > _MOST_STEPS:
        raise ValueError(f"{text!r} is no path: it has over {_MOST_STEPS} steps")
    return tuple(steps)


def look_up(document: Any, steps: tuple[Step, ...]) -> Any:
    """The value there; ``MISSING`` where the document has none."""
    for step in steps:
        if step.__class__ is str:
            if document.__class__ is not dict or step not in document:
                return MISSING
        elif document.__class__ is not list or step >= len(document):  # type: ignore[operator]
            return MISSING
        document = document[step]
    return document
