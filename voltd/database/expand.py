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

Pure.
"""

from __future__ import annotations

import re

from voltd import readings

_BLOCK = re.compile(r"^-- each device:\n(?P<body>.*?)^-- end\n", re.MULTILINE | re.DOTALL)
_LINE = re.compile(r"^(?P<indent> *)-- (?P<what>each value|each time|vehicle|meter): (?P<text>.*)\n", re.MULTILINE)
_MARK = re.compile(
    r"^ *-- (?:each\b|end\b).*|\{(?:device|(?:\w+\.)?columns|state|values?|at|known|meaning|unit)\}", re.MULTILINE
)
_COLUMNS = re.compile(r"\{(?:(?P<row>\w+)\.)?columns\}")


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

    return _BLOCK.sub(both, text)


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
    columns = readings.CLASSES[device_type]._fields

    def lines(match: re.Match[str]) -> str:
        what = match["what"]
        chosen = {"each value": values, "each time": times}.get(what, [{}] if what == device_type else [])
        return "".join(f"{match['indent']}{_replaced(match['text'], one)}\n" for one in chosen)

    def listed(match: re.Match[str]) -> str:
        prefix = f"{match['row']}." if match["row"] else ""
        return ", ".join(prefix + column for column in columns)

    state = [one for group, at in readings.state(device_type) for one in (*group, at)]
    text = _LINE.sub(lines, text)
    text = _COLUMNS.sub(listed, text)
    return text.replace("{state}", ", ".join(state)).replace("{device}", device_type.value)


def _replaced(text: str, values: dict[str, str]) -> str:
    for token, value in values.items():
        text = text.replace(token, value)
    return text
