"""``voltd migrate``: brings the database's schema up to date."""

from __future__ import annotations

import argparse

from voltd import config, status_words
from voltd.database import connections, migrate, schema_state
from voltd.rules import load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 78 if something is missing")
    parser.add_argument(
        "--lower-retention", action="store_true", help="let the settings shorten how long raw readings are kept"
    )


def run(args: argparse.Namespace, settings: config.Settings) -> int:
    """Migrates, or with ``--check`` only compares.

    Raises:
        ConfigurationError: the words for charging in rules.toml make no sense; nothing was changed.
        SchemaError: with ``--check``: the schema is not this version's.
        VoltdError: the migration failed; what it had not committed was rolled back.
    """
    dsn = connections.dsn(settings, migrate=True)
    if args.check:
        schema_state.status(dsn).require_current()
        print("schema: up to date")
        return 0
    words = load.charging(settings.alerts.rules_file)
    options = migrate.MigrateOptions(
        raw_retention_days=settings.raw_retention_days,
        columnstore_after_days=settings.retention.columnstore_after_days,
        timezone=settings.timezone,
        efficiency_max_power_kw=settings.efficiency.max_power_kw,
        efficiency_standby_kw=settings.efficiency.standby_kw,
        sessions_pause_s=settings.sessions.pause_s,
        sessions_power_kw=settings.sessions.power_kw,
        charging_words=status_words.folded(words.charging_words),
        plugged_words=status_words.folded(words.plugged_words),
        unplugged_words=status_words.folded(words.unplugged_words),
        pseudonyms="on" if settings.pseudonyms.key_file else "off",
        dead_letter_days=settings.retention.dead_letter_days,
        alert_days=settings.retention.alert_days,
        lower_retention=args.lower_retention,
    )
    result = migrate.migrate(dsn, options, report=print)
    print(f"schema: up to date ({len(result.applied)} migrations applied)")
    return 0
