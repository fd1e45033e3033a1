"""Writes the columns of the readings into SQL, as ``readings`` declares them.

A block of an SQL file from ``-- each device:`` to ``-- end`` is written out for vehicles and again for meters. In it:

- ``{device}``: vehicle or meter.
- ``{columns}``, ``{row.columns}``: the columns of a reading, or those of ``row``, separated by commas.
- ``{state}``: the columns of the current state, each value before its time.
- ``-- each value: TEXT``: a line ``TEXT`` for each measured value. ``{value}`` is its column, ``{at}`` that of its time
  in the current state, ``{known}`` the condition that it and those measured with it are there. ``{meaning}`` and
  ``{unit}`` are for texts in quotes.
- ``-- each time: TEXT``: a line for each such time, with ``{at}``, ``{known}`` and ``{values}``, what was
  measured at it.
- ``-- vehicle: TEXT``, ``-- meter: TEXT``: a line for one of the two.

Outside of blocks, as rules watch values of vehicles only:

- ``{metrics}``, ``{row.metrics}``: the columns that rules can watch, separated by commas.
- ``-- each metric: TEXT``: a line for each of them. ``{metric}`` is its column, ``{metric_at}`` that of its time in the
  current state.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from voltd import readings

_BLOCK = re.compile(r"^-- each device:\n(?P<body>.*?)^-- end\n", re.MULTILINE | re.DOTALL)
_LINE = re.compile(
    r"^(?P<indent> *)-- (?P<what>each value|each time|each metric|vehicle|meter): (?P<text>.*)\n", re.MULTILINE
)
_MARK = re.compile(
    r"^ *-- (?:each\b|end\b).*"
    r"|\{(?:device|(?:\w+\.)?(?:columns|metrics)|state|values?|at|known|meaning|unit|metric(?:_at)?)\}",
    re.MULTILINE,
)
_LIST = re.compile(r"\{(?:(?P<row>\w+)\.)?(?P<what>columns|metrics)\}")


def is_directive(line: str) -> bool:
    """Whether a comment line stands for others."""
    return _LINE.match(line + "\n") is not None


def leftover(text: str) -> list[str]:
    """Marks of an expanded text: misspelt, or outside of a block. To PostgreSQL most are comments, and say nothing."""
    return _MARK.findall(text)


def expand(text: str) -> str:
    """The text of an SQL file with its blocks written out."""

    def both(match: re.Match[str]) -> str:
        return "".join(_for_device(match["body"], device_type) for device_type in readings.DeviceType)

    metrics = readings.metrics()
    lines = [{"{metric}": column, "{metric_at}": field.at} for column, field in metrics.items()]
    return _listed("metrics", metrics, _lines({"each metric": lines}, _BLOCK.sub(both, text)))


def _for_device(text: str, device_type: readings.DeviceType) -> str:
    fields = readings.fields(device_type)
    known = {
        column: " AND ".join(f"{one} IS NOT NULL" for one in columns)
        for columns, at in readings.state(device_type)
        for column in (*columns, at)
    }
    values = [
        {
            "{value}": column,
            "{at}": field.at,
            "{known}": known[column],
            "{meaning}": field.meaning.replace("'", "''"),
            "{unit}": f", {field.unit}" if field.unit else "",
        }
        for column, field in fields.items()
    ]
    times = [
        {"{at}": at, "{known}": known[at], "{values}": " and ".join(columns)}
        for columns, at in readings.state(device_type)
    ]
    here: dict[str, list[dict[str, str]]] = {one: [{}] if one is device_type else [] for one in readings.DeviceType}
    state = [one for group, at in readings.state(device_type) for one in (*group, at)]
    text = _lines(here | {"each value": values, "each time": times}, text)
    text = _listed("columns", readings.CLASSES[device_type]._fields, text)
    return text.replace("{state}", ", ".join(state)).replace("{device}", device_type.value)


def _lines(chosen: Mapping[str, Iterable[Mapping[str, str]]], text: str) -> str:
    """The text with its lines of these kinds written out; lines of other kinds stay."""

    def lines(match: re.Match[str]) -> str:
        if match["what"] not in chosen:
            return match[0]
        return "".join(f"{match['indent']}{_replaced(match['text'], one)}\n" for one in chosen[match["what"]])

    return _LINE.sub(lines, text)


def _listed(what: str, columns: Iterable[str], text: str) -> str:
    """The text with its marks of this kind replaced by the columns."""

    def listed(match: re.Match[str]) -> str:
        prefix = f"{match['row']}." if match["row"] else ""
        return ", ".join(prefix + column for column in columns) if match["what"] == what else match[0]

    return _LIST.sub(listed, text)


def _replaced(text: str, values: Mapping[str, str]) -> str:
    for token, value in values.items():
        text = text.replace(token, value)
    return text
