"""Examples of documents: statements with what psql shows for them."""

import datetime as dt
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import psycopg

ANALYSTS = pathlib.Path(__file__).parents[2] / "docs" / "analysts.md"
_NUMBERS = (int, float)


def section(heading: str) -> str:
    """The text under a heading of docs/analysts.md, to the next heading of its level or a higher one."""
    text = f"\n{ANALYSTS.read_text()}"
    level = heading.split(maxsplit=1)[0]
    return re.split(rf"\n#{{2,{len(level)}}} ", text.split(f"\n{heading}\n")[1])[0]


def examples(text: str) -> list[tuple[str, str]]:
    """Each statement with the table below it."""
    return re.findall(r"```sql\n(.*?)```\n\n```\n(.*?)```", text, re.DOTALL)


def shown(cursor: psycopg.Cursor[Any]) -> str:
    """The result as psql aligns it, without the number of rows and without blanks at the ends of lines."""
    names = [column.name for column in cursor.description or ()]
    found = cursor.fetchall()
    cells = [[_cell(value) for value in row] for row in found]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    right = [
        any(isinstance(row[n], _NUMBERS) or hasattr(row[n], "as_tuple") for row in found) for n in range(len(names))
    ]
    lines = [" | ".join(_centred(name, width) for name, width in zip(names, widths, strict=True))]
    lines.append("-+-".join("-" * width for width in widths))
    lines += [_line(row, widths, right) for row in cells]
    ends = ("-" if n == 1 else " " for n in range(len(lines)))
    return "".join(f"{end}{line}{end}".rstrip() + "\n" for end, line in zip(ends, lines, strict=True))


def _line(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    return " | ".join(
        cell.rjust(width) if to_right else cell.ljust(width)
        for cell, width, to_right in zip(row, widths, right, strict=True)
    )


def _centred(name: str, width: int) -> str:
    left = (width - len(name)) // 2
    return " " * left + name + " " * (width - len(name) - left)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "ft"[value]
    if isinstance(value, dt.datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S" + ("+00" if value.tzinfo else ""))
    return str(value)
