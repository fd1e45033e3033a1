"""Brings the schemas ``volt`` and ``volt_internal`` up to date.

``voltd migrate`` runs it. Each migration runs exactly once, in one transaction with its row in the ledger
``volt_internal.migration``; after them the idempotent files (functions, views, policies, grants) run in one transaction
of their own. One runner at a time, by an advisory lock. A killed run leaves nothing half done, and the next run
continues.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

from psycopg import sql

import voltd
from voltd import errors, status_words
from voltd.database import admin_session, edition, files, locks, schema_state
from voltd.database.admin_session import Connection

_LOCK_TIMEOUT = "30s"  # a queued ACCESS EXCLUSIVE lock stops every reader behind it


@dataclasses.dataclass(frozen=True, slots=True)
class MigrateOptions:
    """Settings that the database must know; written to ``volt_internal.setting``, where policies and views read them.

    Attributes:
        raw_retention_days: raw readings are kept at least this long.
        columnstore_after_days: older chunks of raw readings are compressed (Community edition).
        timezone: IANA name; in it the days of fleets begin that name no zone of their own.
        efficiency_max_power_kw: a register that rises faster counts nothing, unless the registry knows the device.
        efficiency_standby_kw: a meter that measures no more feeds no vehicle.
        sessions_pause_s: a pause ends a charging session unless the vehicle stays plugged in.
        sessions_power_kw: with less power a vehicle is not charging.
        charging_words, plugged_words, unplugged_words: what vehicles report as charging status, folded, a line each.
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
    sessions_pause_s: float = 1800.0
    sessions_power_kw: float = 0.1
    charging_words: str = status_words.folded(status_words.CHARGING)
    plugged_words: str = status_words.folded(status_words.PLUGGED)
    unplugged_words: str = status_words.folded(status_words.UNPLUGGED)
    pseudonyms: str = "off"
    dead_letter_days: int = 30
    alert_days: int = 730
    lower_retention: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class MigrateResult:
    """What a run did: names of the migrations it applied (empty: none was missing), and the edition it found."""

    applied: list[str]
    edition: edition.Edition


def migrate(dsn: str, options: MigrateOptions, *, report: Callable[[str], None]) -> MigrateResult:
    """Brings the schema up to date; safe to run twice, by two at once, and after being killed.

    Blocks until done, and while another runner is at work. ``report`` gets one line a step.

    Raises:
        errors.StoreUnavailable: the connection broke or a lock was not to be had; what was committed stays, run again.
        errors.SchemaError: not supported, altered or ahead, a role may not do it, or others have built on what changes;
            nothing was changed by this step.
        errors.ConfigurationError: the server does not know the time zone; nothing was changed.
    """
    with admin_session.connected(dsn) as connection, _only_runner(connection, report):
        schema_state.require_released(connection)
        _require_zone(connection, options.timezone)
        _bootstrap(connection)
        state = schema_state.of(connection)
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
def _only_runner(connection: Connection, report: Callable[[str], None]) -> Iterator[None]:
    """Holds the runner's lock; a connection that breaks gives it back by itself."""
    row = connection.execute("SELECT pg_try_advisory_lock(%s)", (locks.MIGRATE,)).fetchone()
    if row != (True,):
        report("another migrate is at work: waiting for it")
        connection.execute("SELECT pg_advisory_lock(%s)", (locks.MIGRATE,))
    yield
    connection.execute("SELECT pg_advisory_unlock(%s)", (locks.MIGRATE,))


def _require_zone(connection: Connection, name: str) -> None:
    if connection.execute("SELECT FROM pg_timezone_names WHERE name = %s", (name,)).fetchone() is None:
        raise errors.ConfigurationError(
            f"timezone = {name!r}: the database's server knows no such time zone",
            hint="set timezone (VOLTD_TIMEZONE) to one that it knows: SELECT name FROM pg_timezone_names",
        )


def _bootstrap(connection: Connection) -> None:
    with connection.transaction():
        connection.execute(files.bootstrap().text.encode())


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
