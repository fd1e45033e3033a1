"""Brings the schemas ``volt`` and ``volt_internal`` up to date, and says how far they are.

``voltd migrate`` runs it; the daemon asks at its start. Each migration runs exactly once, in one transaction with its
row in the ledger ``volt_internal.migration``; after them the idempotent files (functions, views, policies, grants) run
in one transaction of their own. One runner at a time, by an advisory lock. A killed run leaves nothing half done, and
the next run continues.
"""

import contextlib
import dataclasses
import math
import re
from collections.abc import Callable, Iterator

import psycopg
from psycopg import sql

import voltd
from voltd import errors
from voltd.database import connections, edition, files, locks, sqlstate

_ANSWER_S = 10.0  # for an answer that takes no work
_LOCK_TIMEOUT = "30s"  # a queued ACCESS EXCLUSIVE lock stops every reader behind it

Connection = psycopg.Connection[tuple[object, ...]]


@dataclasses.dataclass(frozen=True, slots=True)
class MigrateOptions:
    """Settings that the database must know; written to ``volt_internal.setting``, where policies and views read them.

    Attributes:
        raw_retention_days: raw readings are kept at least this long.
        columnstore_after_days: older chunks of raw readings are compressed (Community edition).
        timezone: IANA name; in it the days of fleets begin that name no zone of their own.
        efficiency_max_power_kw: a register that rises faster counts nothing, unless the registry knows the device.
        efficiency_standby_kw: a meter that measures no more feeds no vehicle.
        pseudonyms: ``on`` keeps VINs out of the registry.
        dead_letter_days: dead letters are kept this long.
        alert_days: episodes of alerts are kept this long after their end.
        lower_retention: whether a database that keeps raw readings longer is to drop them earlier from now on.
    """

    raw_retention_days: int = 90
    columnstore_after_days: int = 7
    timezone: str = "UTC"
    efficiency_max_power_kw: float = 400.0
    efficiency_standby_kw: float = 0.05
    pseudonyms: str = "off"
    dead_letter_days: int = 30
    alert_days: int = 730
    lower_retention: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class MigrateResult:
    """What a run did: names of the migrations it applied (empty: none was missing), and the edition it found."""

    applied: list[str]
    edition: edition.Edition


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
    with _connected(dsn, patience_s=_ANSWER_S) as connection:
        return _state(connection)


def migrate(dsn: str, options: MigrateOptions, *, report: Callable[[str], None]) -> MigrateResult:
    """Brings the schema up to date; safe to run twice, by two at once, and after being killed.

    Blocks until done, and while another runner is at work. ``report`` gets one line a step.

    Raises:
        errors.StoreUnavailable: the connection broke or a lock was not to be had; what was committed stays, run again.
        errors.SchemaError: not supported, altered or ahead, a role may not do it, or others have built on what changes;
            nothing was changed by this step.
        errors.ConfigurationError: the server does not know the time zone; nothing was changed.
    """
    with _connected(dsn) as connection, _only_runner(connection, report):
        _require_released(connection)
        _require_zone(connection, options.timezone)
        _bootstrap(connection)
        state = _state(connection)
        state.require_known()
        found = edition.require_supported(state.server)
        report(f"PostgreSQL {state.server.postgres}, TimescaleDB {state.server.timescaledb} ({found.label} edition)")
        missing = [one for one in files.migrations() if one.name in state.pending]
        for migration in missing:
            report(f"applying {migration.name}")
            _apply(connection, migration)
        report("refreshing functions, views, policies and grants")
        _refresh(connection, options, found, report)
        return MigrateResult([one.name for one in missing], found)


@contextlib.contextmanager
def _connected(dsn: str, *, patience_s: float = math.inf) -> Iterator[Connection]:
    try:
        with connections.Connection.connect(dsn, autocommit=True, application_name="voltd migrate") as connection:
            connection.patience_s = patience_s
            connection.execute("SET TIME ZONE 'UTC'")
            connection.execute("SET client_min_messages = warning")
            yield connection
    except psycopg.errors.InsufficientPrivilege as error:
        raise errors.SchemaError(
            str(error.diag.message_primary or error),
            hint=error.diag.message_hint or "run it as an administrator or as volt_owner, who owns the schema",
        ) from error
    except psycopg.errors.FeatureNotSupported as error:
        raise errors.SchemaError(
            str(error.diag.message_primary or error),
            hint=error.diag.message_hint or "is the timescaledb extension installed on the server?",
        ) from error
    except psycopg.errors.DependentObjectsStillExist as error:
        raise _used_elsewhere(error) from error
    except psycopg.Error as error:
        raise sqlstate.wrap(error) from error


def _used_elsewhere(error: psycopg.Error) -> errors.SchemaError:
    """Names what others have built on objects that this version makes anew, and says how to get it out of the way."""
    users = (error.diag.message_detail or str(error)).splitlines()
    views = [found[1] for line in users if (found := re.match(r"(?:materialized )?view (.+?) depends on ", line))]
    definitions = ", ".join(f"pg_get_viewdef({_literal(view)}::regclass, true)" for view in dict.fromkeys(views))
    keep = f" (of views: SELECT {definitions})" if views else ""
    return errors.SchemaError(
        f"this version makes anew what others depend on; nothing was changed by this step: {'; '.join(users)}",
        hint=f'keep their definitions{keep}, drop them, run "voltd migrate" again, then create them again;'
        " docs/analysts.md has the columns of now",
    )


def _literal(text: str) -> str:
    return sql.Literal(text).as_string(None)


@contextlib.contextmanager
def _only_runner(connection: Connection, report: Callable[[str], None]) -> Iterator[None]:
    """Holds the runner's lock; a connection that breaks gives it back by itself."""
    row = connection.execute("SELECT pg_try_advisory_lock(%s)", (locks.MIGRATE,)).fetchone()
    if row != (True,):
        report("another migrate is at work: waiting for it")
        connection.execute("SELECT pg_advisory_lock(%s)", (locks.MIGRATE,))
    yield
    connection.execute("SELECT pg_advisory_unlock(%s)", (locks.MIGRATE,))


def _require_released(connection: Connection) -> None:
    """Refuses a database of a version before 0.1.0, whose ledger was ``volt.migration``."""
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


def _require_zone(connection: Connection, name: str) -> None:
    if connection.execute("SELECT FROM pg_timezone_names WHERE name = %s", (name,)).fetchone() is None:
        raise errors.ConfigurationError(
            f"timezone = {name!r}: the database's server knows no such time zone",
            hint="set timezone (VOLTD_TIMEZONE) to one that it knows: SELECT name FROM pg_timezone_names",
        )


def _bootstrap(connection: Connection) -> None:
    with connection.transaction():
        connection.execute(files.bootstrap().text.encode())


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


def _apply(connection: Connection, migration: files.SqlFile) -> None:
    with connection.transaction():
        _become_owner(connection)
        connection.execute(migration.text.encode())
        connection.execute(
            "INSERT INTO volt_internal.migration (name, sha256, voltd_version) VALUES (%s, %s, %s)",
            (migration.name, migration.sha256, voltd.__version__),
        )


def _kept_days(connection: Connection) -> int:
    """How long the database keeps raw readings now; 0 where it is not set yet."""
    row = connection.execute("SELECT value FROM volt_internal.setting WHERE name = 'raw_retention_days'").fetchone()
    return int(str(row[0])) if row else 0


def _refresh(
    connection: Connection, options: MigrateOptions, found: edition.Edition, report: Callable[[str], None]
) -> None:
    chosen = files.idempotent(found)
    settings = {name: str(value) for name, value in dataclasses.asdict(options).items() if name != "lower_retention"}
    kept_days = _kept_days(connection)
    if kept_days > options.raw_retention_days and not options.lower_retention:
        settings["raw_retention_days"] = str(kept_days)
        report(
            f"raw readings stay {kept_days} days although the settings say {options.raw_retention_days}: lowering it"
            ' deletes readings; "voltd migrate --lower-retention" does'
        )
    settings |= {"edition": found.value, "idempotent_sha256": files.fingerprint(chosen)}
    with connection.transaction():
        _become_owner(connection)
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO volt_internal.setting (name, value) VALUES (%s, %s) ON CONFLICT (name)"
                " DO UPDATE SET value = excluded.value, updated_at = now() WHERE setting.value <> excluded.value",
                list(settings.items()),
            )
        for one in chosen:
            connection.execute(one.text.encode())


def _become_owner(connection: Connection) -> None:
    """Until the transaction ends: volt_owner where allowed, names found in PostgreSQL's and TimescaleDB's schemas."""
    may = "SET" if connection.info.server_version >= 160000 else "MEMBER"  # noqa: PLR2004 -- that release's SET option
    row = connection.execute("SELECT pg_has_role(current_user, 'volt_owner', %s)", (may,)).fetchone()
    if row == (True,):
        connection.execute("SET LOCAL ROLE volt_owner")
    connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
    row = connection.execute(
        "SELECT nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'timescaledb'"
    ).fetchone()
    schema = sql.Identifier(str(row[0]) if row else "public")
    connection.execute(sql.SQL("SET LOCAL search_path = pg_catalog, {}").format(schema))


def _state(connection: Connection) -> SchemaState:
    _require_released(connection)
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
