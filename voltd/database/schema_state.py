"""How far the schema of a database is; the daemon, ``voltd check`` and ``voltd migrate`` ask. Reads only."""

import dataclasses

from voltd import errors
from voltd.database import admin_session, edition, files
from voltd.database.admin_session import Connection

_ANSWER_S = 10.0  # for an answer that takes no work


@dataclasses.dataclass(frozen=True, slots=True)
class SchemaState:
    """How far a database is, compared with this installation.

    Attributes:
        server: versions and edition.
        pending: what "voltd migrate" would do, in order: migrations by name, then ``views and policies``.
        altered: applied migrations whose file is another one now.
        ahead: applied migrations that this installation does not know: the database is of a newer voltd.
    """

    server: edition.Server
    pending: list[str]
    altered: list[str]
    ahead: list[str]

    @property
    def current(self) -> bool:
        """Whether the daemon may start on it."""
        return not (self.pending or self.altered or self.ahead)

    def require_current(self) -> None:
        """Returns where the schema is the one this voltd expects.

        Raises:
            errors.SchemaError: it is not; configuration, nothing was written.
        """
        self.require_known()
        if self.pending:
            raise errors.SchemaError(
                f"the database's schema is behind: {', '.join(self.pending)}", hint='run "voltd migrate"'
            )

    def require_known(self) -> None:
        """Returns where nothing stands against migrating.

        Raises:
            errors.SchemaError: altered or ahead.
        """
        if self.altered:
            raise errors.SchemaError(
                f"released migrations were changed after they were applied here: {', '.join(self.altered)}",
                hint="install the voltd that migrated this database, or a newer released one",
            )
        if self.ahead:
            raise errors.SchemaError(
                f"the database was migrated by a newer voltd: {', '.join(self.ahead)}",
                hint="install that version of voltd (column voltd_version of volt_internal.migration)",
            )


def status(dsn: str) -> SchemaState:
    """How far the database is; reads only, blocks for a few round trips, each of ten seconds at most.

    Raises:
        errors.StoreUnavailable: no answer.
        errors.SchemaError: a server that voltd does not support, a database from before the first release, or migration
            files that are not the released ones.
    """
    with admin_session.connected(dsn, patience_s=_ANSWER_S) as connection:
        return of(connection)


def of(connection: Connection) -> SchemaState:
    """How far the database of a session is.

    Raises:
        errors.SchemaError: a database from before the first release, or migration files that are not the released ones.
        errors.ConfigurationError: the user may not look; the hint has the right to grant.
    """
    require_released(connection)
    server = edition.detect(connection)
    known = files.migrations()
    applied: dict[object, object] = {}
    _require_rights(connection)
    if connection.execute("SELECT to_regclass('volt_internal.migration')").fetchone() != (None,):
        applied = dict(connection.execute("SELECT name, sha256 FROM volt_internal.migration").fetchall())  # type: ignore[arg-type]
    pending = [one.name for one in known if one.name not in applied]
    if not pending and server.edition is not None:
        wanted = files.fingerprint(files.idempotent(server.edition))
        row = connection.execute("SELECT value FROM volt_internal.setting WHERE name = 'idempotent_sha256'").fetchone()
        if row != (wanted,):
            pending.append("views and policies")
    names = {one.name for one in known}
    altered = [one.name for one in known if applied.get(one.name, one.sha256) != one.sha256]
    return SchemaState(server, pending, altered, sorted(str(name) for name in applied.keys() - names))


def require_released(connection: Connection) -> None:
    """Refuses a database of a version before 0.1.0, whose ledger was ``volt.migration``.

    Raises:
        errors.SchemaError: it is one; nothing was changed.
    """
    row = connection.execute(
        "SELECT FROM pg_class WHERE relname = 'migration'"
        " AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'volt')"
    ).fetchone()
    if row is not None:
        raise errors.SchemaError(
            "the database was made by a voltd before 0.1.0, the first release; no release migrates it",
            hint="point database.dsn at a new database, or delete all that voltd has stored in this one (DROP SCHEMA"
            ' volt CASCADE), then run "voltd migrate"',
        )


def _require_rights(connection: Connection) -> None:
    row = connection.execute(
        "SELECT current_user::text, has_schema_privilege(oid, 'USAGE') FROM pg_namespace"
        " WHERE nspname = 'volt_internal'"
    ).fetchone()
    if row is not None and not row[1]:
        hint = (
            f'as an administrator: GRANT volt_writer TO "{row[0]}" for the daemon; for migrate, and for dead-letters'
            " show, replay and discard, set database.migrate_dsn to a user with the role volt_owner"
        )
        raise errors.ConfigurationError(f"{row[0]} may not use the schema volt_internal", hint=hint)
