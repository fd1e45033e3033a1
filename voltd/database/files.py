"""The SQL files that ship with voltd: released migrations, idempotent files, their hashes and includes.

Read by the migrations runner; touches no database. A line ``-- include: NAME`` stands for the file ``include/NAME``
beside it: so both editions of TimescaleDB share the text of one aggregate, and their numbers agree. ``queries`` has its
files read in the same way.
"""

import dataclasses
import hashlib
import pathlib
import re

from voltd import errors, resources
from voltd.database import edition, expand

_INCLUDE = re.compile(r"^(?P<indent> *)-- include: (?P<name>[\w.]+)$", re.MULTILINE)
_EDITION_SUFFIXES = frozenset(one.file_suffix for one in edition.Edition)


@dataclasses.dataclass(frozen=True, slots=True)
class SqlFile:
    """One file: its name, its text with includes resolved, and the SHA-256 of that text."""

    name: str
    text: str
    sha256: str


def bootstrap() -> SqlFile:
    """What runs before the first migration."""
    return _read(resources.share("sql") / "bootstrap.sql")


def migrations() -> list[SqlFile]:
    """The released migrations in their order.

    Raises:
        errors.SchemaError: a file is not the one that was released; nothing may be run from this installation.
    """
    folder = resources.share("sql") / "migrations"
    found = [_read(path) for path in sorted(folder.glob("*.sql"))]
    frozen = {}
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        frozen[name] = digest
    hashes = {one.name: one.sha256 for one in found}
    differing = sorted(name for name in frozen | hashes if frozen.get(name) != hashes.get(name))
    if differing:
        raise errors.SchemaError(
            f"migration files differ from the released ones: {', '.join(differing)}",
            hint="a released migration is never edited: install voltd again, or put the change into a new migration",
        )
    return found


def idempotent(for_edition: edition.Edition) -> list[SqlFile]:
    """The files that run at every migrate on this edition, in their order."""
    folder = resources.share("sql") / "idempotent"
    chosen = []
    for path in sorted(folder.glob("*.sql")):
        suffix = path.stem.rpartition(".")[2]
        if suffix not in _EDITION_SUFFIXES or suffix == for_edition.file_suffix:
            chosen.append(_read(path))
    return chosen


def fingerprint(files: list[SqlFile]) -> str:
    """One SHA-256 for all of them, to tell whether a database was brought to this very state."""
    return hashlib.sha256("".join(f"{one.name} {one.sha256}\n" for one in files).encode()).hexdigest()


def text(path: pathlib.Path) -> str:
    """A file's text with its includes in place, indented as their lines are, and the readings' columns written out.

    Raises:
        ValueError: a mark of ``expand`` is left, misspelt or outside of a block.
    """

    def included(match: re.Match[str]) -> str:
        lines = (path.parent / "include" / match["name"]).read_text().splitlines()
        kept = [line for line in lines if not line.startswith("--") or expand.is_directive(line)]
        return "\n".join(match["indent"] + line for line in kept)

    # Again after the blocks, for includes with a device type in their names.
    found = _INCLUDE.sub(included, expand.expand(_INCLUDE.sub(included, path.read_text())))
    if marks := expand.leftover(found):
        raise ValueError(f"{path.name}: marks that stand for nothing: {', '.join(marks)}")
    return found


def _read(path: pathlib.Path) -> SqlFile:
    found = text(path)
    return SqlFile(path.name, found, hashlib.sha256(found.encode()).hexdigest())
