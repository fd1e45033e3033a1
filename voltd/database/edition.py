"""Which server this is: PostgreSQL's and TimescaleDB's versions and the edition (design section 7).

Called by the migrations runner and by ``voltd check``; reads only. The edition is what the server's licence setting
says, because a Community build under ``timescaledb.license = 'apache'`` behaves as the Apache-2 edition.
"""

import dataclasses
import enum

import psycopg

from voltd import errors

MIN_POSTGRES = 15
MIN_TIMESCALEDB = (2, 19)


class Edition(enum.StrEnum):
    """What TimescaleDB offers here; the value is the server's own word for its licence setting."""

    COMMUNITY = "timescale"
    APACHE = "apache"

    @property
    def label(self) -> str:
        """What people call it."""
        return "Community" if self is Edition.COMMUNITY else "Apache-2"

    @property
    def file_suffix(self) -> str:
        """How SQL files that are for this edition only end before ``.sql``."""
        return "community" if self is Edition.COMMUNITY else "apache"


@dataclasses.dataclass(frozen=True, slots=True)
class Server:
    """What answered.

    Attributes:
        postgres: version as text, such as ``17.2``.
        postgres_major: its first number.
        timescaledb: version as text; empty where the extension is not created in this database.
        edition: None where the extension is not created or not loaded.
    """

    postgres: str
    postgres_major: int
    timescaledb: str
    edition: Edition | None


def detect(connection: psycopg.Connection[tuple[object, ...]]) -> Server:
    """Versions and edition of the connected database; blocks for one round trip.

    Raises:
        psycopg.Error: as it comes; the caller wraps it.
    """
    row = connection.execute(
        "SELECT current_setting('server_version'), current_setting('server_version_num')::int / 10000,"
        " (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),"
        " current_setting('timescaledb.license', true)"
    ).fetchone()
    postgres, major, timescaledb, license_ = row or ("", 0, None, None)
    edition = Edition(str(license_)) if timescaledb and license_ in {"timescale", "apache"} else None
    return Server(str(postgres).split(" ", 1)[0], int(str(major)), str(timescaledb or ""), edition)


def require_supported(server: Server) -> Edition:
    """The edition of a server that voltd can work with.

    Raises:
        errors.SchemaError: too old, or TimescaleDB is not there; configuration, nothing was written.
    """
    if server.postgres_major < MIN_POSTGRES:
        raise errors.SchemaError(
            f"PostgreSQL {server.postgres} is too old",
            hint=f"voltd needs PostgreSQL {MIN_POSTGRES} or newer: point database.dsn at such a server",
        )
    if server.edition is None:
        raise errors.SchemaError(
            "the timescaledb extension is not in this database or not loaded",
            hint="install TimescaleDB, put timescaledb into shared_preload_libraries, restart PostgreSQL and run"
            ' "voltd migrate"',
        )
    version = tuple(int(part) for part in server.timescaledb.split("-", 1)[0].split(".")[:2])
    if version < MIN_TIMESCALEDB:
        raise errors.SchemaError(
            f"TimescaleDB {server.timescaledb} is too old",
            hint="voltd needs TimescaleDB 2.19 or newer: install it and run ALTER EXTENSION timescaledb UPDATE",
        )
    return server.edition
