"""One function decides whether a database error is transient or permanent, by SQLSTATE, each case with its name.

Called wherever psycopg is called; the wrapped error says the fate of the data. Nothing else may look at SQLSTATEs to
decide a fate. In doubt an error is transient: a kept batch can be written later, a dropped one cannot.
"""

import enum

import psycopg

from voltd import errors


class Fate(enum.Enum):
    """What becomes of the rows that were to be written."""

    TRANSIENT = "transient"  # keep the batch, try again
    PERMANENT = "permanent"  # these rows can never go in as they are: isolate them


# Two-character class or full code -> fate, name, and a hint where a person can help. The full code wins.
_CASES: dict[str, tuple[Fate, str, str]] = {
    "08": (Fate.TRANSIENT, "connection exception", "check that the database is up and can be reached"),
    "0A": (Fate.TRANSIENT, "feature not supported", 'run "voltd check": is the edition the one "migrate" found?'),
    "22": (Fate.PERMANENT, "data exception", ""),
    "23": (Fate.PERMANENT, "integrity constraint violation", ""),
    "25": (Fate.TRANSIENT, "invalid transaction state", ""),
    "25006": (
        Fate.TRANSIENT,
        "read-only transaction",
        "a standby or a read-only database: point database.dsn at the primary",
    ),
    "28": (Fate.TRANSIENT, "invalid authorization", "check the user and password of database.dsn"),
    "3D": (Fate.TRANSIENT, "no such database", "check the database name in database.dsn"),
    "3F": (Fate.TRANSIENT, "no such schema", 'run "voltd migrate"'),
    "40": (Fate.TRANSIENT, "transaction rollback (serialization failure, deadlock)", ""),
    "42": (Fate.TRANSIENT, "schema differs from the one expected", 'run "voltd migrate"'),
    "42501": (
        Fate.TRANSIENT,
        "insufficient privilege",
        'grant volt_writer to the user of database.dsn, or run "voltd migrate"',
    ),
    "53": (Fate.TRANSIENT, "insufficient resources", "look at the server's connections, memory and disk"),
    "53100": (Fate.TRANSIENT, "disk full", "free disk space on the database server; nothing is lost meanwhile"),
    "53300": (Fate.TRANSIENT, "too many connections", "raise max_connections or close idle clients"),
    "54": (Fate.PERMANENT, "program limit exceeded (a value too large or too deep)", ""),
    "55": (Fate.TRANSIENT, "object not in prerequisite state", ""),
    "55P03": (Fate.TRANSIENT, "lock not available", "another session holds a lock, perhaps a migration"),
    "57": (Fate.TRANSIENT, "operator intervention (shutdown, crash, cannot connect now)", ""),
    "57014": (Fate.TRANSIENT, "statement timeout or cancelled by a person", ""),
    "58": (Fate.TRANSIENT, "system error of the server", "look at the server's log and its disk"),
    "XX": (Fate.TRANSIENT, "internal error of the server", "look at the server's log"),
}
_UNKNOWN = (Fate.TRANSIENT, "unknown to voltd", "look at the server's log")
_REFUSED = (Fate.TRANSIENT, "refused by the server", "correct user, password or database name in database.dsn")
_NO_SQLSTATE = (Fate.TRANSIENT, "connection lost or never made", "check that the database is up and can be reached")


def classify(error: psycopg.Error) -> tuple[Fate, str, str]:
    """Fate of the rows, name of the case, hint for a person (may be empty)."""
    code = error.sqlstate
    if code is None:
        # psycopg raises DataError itself for what it cannot even encode, such as a NUL in a text.
        if isinstance(error, psycopg.DataError):
            return Fate.PERMANENT, "not encodable", ""
        return _REFUSED if "FATAL" in str(error) else _NO_SQLSTATE
    return _case(code)


def rejected(code: str, text: str) -> errors.StoreRejected:
    """What a function at the server has caught, for a permanent class; the code may be a site's own (a trigger's)."""
    _fate, name, hint = _case(code)
    return errors.StoreRejected(f"{_line(text)} ({name}, {code})", sqlstate=code, hint=hint)


def wrap(error: psycopg.Error) -> errors.StoreUnavailable | errors.StoreRejected:
    """The same error as voltd's own, ready to be raised ``from`` it.

    Returns:
        StoreUnavailable: transient, nothing was committed, keep the batch (unless COMMIT itself was under way: the
        caller knows, and raises CommitUnknown instead); StoreRejected: permanent, isolate the rows.
    """
    fate, name, hint = classify(error)
    message = f"{_line(str(error))} ({name}{', ' + error.sqlstate if error.sqlstate else ''})"
    if fate is Fate.PERMANENT:
        return errors.StoreRejected(message, sqlstate=error.sqlstate or "", hint=hint)
    hint = (error.diag.message_hint if error.sqlstate and error.diag.message_hint else "") or hint
    return errors.StoreUnavailable(message, hint=hint)


def _case(code: str) -> tuple[Fate, str, str]:
    return _CASES.get(code) or _CASES.get(code[:2]) or _UNKNOWN


def _line(text: str) -> str:
    return " ".join(text.split("\n", 1)[0].split())
