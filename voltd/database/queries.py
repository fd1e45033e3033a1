"""Loads the named queries of ``sql/queries/*.sql``; whoever talks to the database takes its SQL from here.

A query starts at a line ``-- name: NAME`` and ends before the next one; comment lines below the name describe it and
its parameters, which are psycopg's named ones, ``%(name)s``. A line ``-- include: NAME`` stands for the file
``include/NAME``, and a block ``-- each device:`` is written out for vehicles and meters (``expand``).
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, LiteralString

import psycopg

from voltd import resources
from voltd.database import files

_MARK = "-- name: "


@functools.cache
def load() -> Mapping[str, LiteralString]:
    """Every query's text by its name; read once, from files that ship with voltd (so the text counts as literal).

    Raises:
        ValueError: a name is given twice.
    """
    found: dict[str, LiteralString] = {}
    for path in sorted((resources.share("sql") / "queries").glob("*.sql")):
        for part in ("\n" + files.text(path)).split("\n" + _MARK)[1:]:
            name, _, body = part.partition("\n")
            if name in found:
                raise ValueError(f"query {name!r} is defined twice, the second time in {path.name}")
            lines = (line for line in body.splitlines() if not line.startswith("--"))
            found[name] = "\n".join(lines).strip()
    return found


def text(name: str) -> LiteralString:
    """The text of one query.

    Raises:
        KeyError: there is no such query; a test holds every name used against the files.
    """
    return load()[name]


def copy(cursor: psycopg.Cursor[Any], name: str, types: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Sends rows with a query that is a binary COPY.

    Args:
        cursor: within a transaction.
        name: of the query.
        types: PostgreSQL types of the columns that the query lists.
        rows: a value for each of these columns.

    Raises:
        psycopg.Error: as it comes; the transaction is lost.
    """
    with cursor.copy(text(name)) as copying:
        copying.set_types(types)
        for row in rows:
            copying.write_row(row)
