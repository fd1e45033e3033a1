"""Records which pseudonyms of one vehicle belong to the key before and to the present one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg

from voltd.database import queries
from voltd.pipeline.consume import pseudonyms


def insert(
    session: psycopg.Connection[Any] | psycopg.Cursor[Any], renamed: pseudonyms.Pseudonyms | None
) -> Mapping[str, str]:
    """Inserts what has come up since; what it inserted, for ``Pseudonyms.noted`` once that is committed.

    Raises:
        psycopg.Error: as it comes; the changes are inserted with the next call.
    """
    changes = {} if renamed is None else renamed.changes()
    if changes:
        arguments = {"previous": list(changes), "current": list(changes.values())}
        session.execute(queries.text("insert_pseudonym_changes"), arguments)
    return changes
