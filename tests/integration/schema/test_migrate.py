"""The migrations runner and the schema it leaves behind, on a real server."""

import dataclasses
import re
import threading

import psycopg
import pytest
from psycopg import conninfo

import voltd
from support import schema
from voltd import errors
from voltd.database import edition, files, migrate, queries, retention, rollup, schema_state

OPTIONS = migrate.MigrateOptions()


def quiet(_line):
    pass


def rows(dsn, statement, *parameters):
    with psycopg.connect(dsn, autocommit=True) as connection:
        return connection.execute(statement, parameters or None).fetchall()


@pytest.fixture(params=["timescale", "apache"])
def migrated(database_of, request):
    """DSN of a migrated database of each edition in turn."""
    return database_of(request.param, schema=True)


def test_twice_is_once(migrated):
    """The second run applies nothing and leaves the ledger as it was; the state is current."""
    ledger = rows(migrated, "SELECT * FROM volt_internal.migration ORDER BY name")
    assert [row[0] for row in ledger] == [one.name for one in files.migrations()]
    assert {row[3] for row in ledger} == {voltd.__version__}
    assert migrate.migrate(migrated, OPTIONS, report=quiet).applied == []
    assert rows(migrated, "SELECT * FROM volt_internal.migration ORDER BY name") == ledger
    schema_state.status(migrated).require_current()


def test_two_at_once(fresh_database):
    """One waits for the other; every migration is applied by exactly one of them."""
    results, lines = [], []
    threads = [
        threading.Thread(target=lambda: results.append(migrate.migrate(fresh_database, OPTIONS, report=lines.append)))
        for _ in range(2)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(name for result in results for name in result.applied) == [one.name for one in files.migrations()]
    schema_state.status(fresh_database).require_current()


def test_killed_half_way(fresh_database):
    """The server ends the connection within a migration: nothing of it is there, and the next run carries on."""
    third = files.migrations()[2].name

    def kill_at_third(line):
        if third in line:
            victims = rows(fresh_database, "SELECT pid FROM pg_stat_activity WHERE application_name = 'voltd migrate'"
                           " AND datname = current_database()")  # fmt: skip
            for (pid,) in victims:
                rows(fresh_database, "SELECT pg_terminate_backend(%s, 5000)", pid)

    with pytest.raises(errors.StoreUnavailable):
        migrate.migrate(fresh_database, OPTIONS, report=kill_at_third)
    state = schema_state.status(fresh_database)
    assert state.pending[0] == third
    assert rows(fresh_database, "SELECT to_regclass('volt.vehicle_current')") == [(None,)]
    with pytest.raises(errors.SchemaError, match="behind"):
        state.require_current()
    assert migrate.migrate(fresh_database, OPTIONS, report=quiet).applied[0] == third


def test_views_of_others_on_what_changes_are_named(fresh_database):
    """A migration drops a view that analysts have built on: it says which, and how to keep them; then it goes on."""
    views = ('"week \'s"', "month")

    def build_on_it(line):
        if "0013" in line:
            with psycopg.connect(fresh_database, autocommit=True) as connection:
                connection.execute("CREATE VIEW volt.efficiency_hourly AS SELECT 1 AS hour")
                connection.execute("ALTER VIEW volt.efficiency_hourly OWNER TO volt_owner")
                connection.execute(f"CREATE VIEW public.{views[0]} AS SELECT hour FROM volt.efficiency_hourly")
                connection.execute(f"CREATE VIEW public.{views[1]} AS SELECT hour FROM public.{views[0]}")

    with pytest.raises(errors.SchemaError) as raised:
        migrate.migrate(fresh_database, OPTIONS, report=build_on_it)
    assert all(f"view {view} depends on view" in str(raised.value) for view in views)
    assert schema_state.status(fresh_database).pending[0] == "0013_energy_kept.sql"
    select = re.search(r"SELECT .*, true\)", raised.value.hint)[0]
    assert ["FROM" in definition for definition in rows(fresh_database, select)[0]] == [True, True]
    with psycopg.connect(fresh_database, autocommit=True) as connection:
        connection.execute(f"DROP VIEW public.{views[0]} CASCADE")
    migrate.migrate(fresh_database, OPTIONS, report=quiet)
    schema_state.status(fresh_database).require_current()


def test_altered_ahead_and_behind_are_distinguished(fresh_database):
    """The daemon refuses each, and the hint says what to do."""
    empty = schema_state.status(fresh_database)
    assert empty.pending == [one.name for one in files.migrations()]
    migrate.migrate(fresh_database, OPTIONS, report=quiet)
    with psycopg.connect(fresh_database, autocommit=True) as connection:
        connection.execute("UPDATE volt_internal.setting SET value = 'older' WHERE name = 'idempotent_sha256'")
        assert schema_state.status(fresh_database).pending == ["views and policies"]
        connection.execute("UPDATE volt_internal.migration SET sha256 = 'x' WHERE name LIKE '0001%'")
        with pytest.raises(errors.SchemaError, match="changed after"):
            migrate.migrate(fresh_database, OPTIONS, report=quiet)
        connection.execute("UPDATE volt_internal.migration SET name = '9999_future.sql' WHERE name LIKE '0001%'")
        with pytest.raises(errors.SchemaError, match="newer voltd") as raised:
            schema_state.status(fresh_database).require_current()
    assert raised.value.hint


def test_a_role_that_may_not_learns_what_to_do(fresh_database):
    """An ordinary user gets a configuration error with a hint, not a traceback."""
    name = "voltd_test_nobody"
    rows_before = rows(fresh_database, "SELECT rolname FROM pg_roles WHERE rolname = %s", name)
    with psycopg.connect(fresh_database, autocommit=True) as admin:
        if not rows_before:
            admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
        try:
            with pytest.raises(errors.SchemaError) as raised:
                migrate.migrate(
                    conninfo.make_conninfo(fresh_database, options=f"-c role={name}"), OPTIONS, report=quiet
                )
            assert raised.value.hint
        finally:
            admin.execute(f"DROP ROLE {name}")


def test_the_owner_of_a_database_may_migrate_it(fresh_database):
    """No superuser is needed where the roles are there: the schema then belongs to whoever migrated."""
    migrate.migrate(fresh_database, OPTIONS, report=quiet)  # so that the server has the roles
    name = "voltd_test_owner"
    with psycopg.connect(fresh_database, autocommit=True) as admin:
        admin.execute("DROP SCHEMA volt, volt_internal CASCADE")
        admin.execute(f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD 'x'")
        (database,) = admin.execute("SELECT current_database()").fetchone()
        try:
            admin.execute(f"ALTER DATABASE {database} OWNER TO {name}")
            dsn = conninfo.make_conninfo(fresh_database, user=name, password="x")
            migrate.migrate(dsn, OPTIONS, report=quiet)
            assert migrate.migrate(dsn, OPTIONS, report=quiet).applied == []
            schema_state.status(dsn).require_current()
        finally:
            admin.execute(f"ALTER DATABASE {database} OWNER TO CURRENT_USER")
            admin.execute("DROP SCHEMA IF EXISTS volt, volt_internal CASCADE")
            admin.execute(f"DROP OWNED BY {name} CASCADE")
            admin.execute(f"DROP ROLE {name}")


def test_everything_has_a_comment(migrated):
    """Every table, column, view and function of the schema says what it is."""
    missing = rows(
        migrated,
        """
        SELECT c.relname || coalesce('.' || a.attname, '')
        FROM pg_class c
        LEFT JOIN LATERAL (SELECT NULL::name AS attname, 0 AS attnum
                           UNION ALL
                           SELECT attname, attnum FROM pg_attribute
                           WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) a ON true
        WHERE c.relnamespace IN ('volt'::regnamespace, 'volt_internal'::regnamespace)
          AND c.relkind IN ('r', 'v', 'm', 'p')
          AND coalesce(CASE WHEN a.attnum = 0 THEN obj_description(c.oid, 'pg_class')
                            ELSE col_description(c.oid, a.attnum) END, '') = ''
        UNION ALL
        SELECT p.oid::regprocedure::text FROM pg_proc p
        WHERE p.pronamespace IN ('volt'::regnamespace, 'volt_internal'::regnamespace)
          AND coalesce(obj_description(p.oid, 'pg_proc'), '') = ''
        """,
    )
    assert missing == []


def test_constraints_have_names_of_ours(migrated):
    """The code and dead letters speak of constraints by name; generated ones end in _check or _check1."""
    names = rows(
        migrated,
        "SELECT conname FROM pg_constraint c JOIN pg_class t ON t.oid = conrelid"
        " WHERE t.relnamespace IN ('volt'::regnamespace, 'volt_internal'::regnamespace) AND conname ~ '_check[0-9]*$'",
    )
    assert names == []


def test_every_query_can_be_prepared(migrated):
    """Each named query fits the schema; COPY cannot be prepared, so it is begun and left."""
    with psycopg.connect(migrated) as connection:
        texts = dict(queries.load())
        for name in [name for name in texts if name.startswith("create_")]:
            connection.execute(texts.pop(name))
        for name, text in texts.items():
            numbers = {}
            numbered = re.sub(r"%\((\w+)\)s", lambda m: f"${numbers.setdefault(m[1], len(numbers) + 1)}", text)  # noqa: B023 called at once
            try:
                if text.startswith("COPY"):
                    with connection.transaction(force_rollback=True), connection.cursor().copy(text) as copy:
                        if "BINARY" in text:
                            copy.set_types([])
                            copy.write(b"PGCOPY\n\xff\r\n\x00" + bytes(8) + b"\xff\xff")
                else:
                    connection.execute(f"PREPARE {name} AS {numbered}")
            except psycopg.Error as problem:
                pytest.fail(f"{name}: {problem}")


def test_a_time_zone_that_the_server_does_not_know_is_refused(fresh_database):
    """Before anything is changed, with the setting's name and where to look; a known one is stored for SQL."""
    with pytest.raises(errors.ConfigurationError, match="timezone = 'Europe/Atlantis'") as raised:
        migrate.migrate(fresh_database, migrate.MigrateOptions(timezone="Europe/Atlantis"), report=quiet)
    assert "pg_timezone_names" in raised.value.hint
    assert rows(fresh_database, "SELECT to_regnamespace('volt')") == [(None,)]
    migrate.migrate(fresh_database, migrate.MigrateOptions(timezone="Asia/Kolkata"), report=quiet)
    stored = rows(fresh_database, "SELECT value FROM volt_internal.setting WHERE name = 'timezone'")
    assert stored == [("Asia/Kolkata",)]


def test_policies_follow_the_settings(database_of):
    """Community: refresh looks back further than raw readings are kept; no policy drops, as voltd does it itself."""
    dsn = database_of("timescale")
    for days in (90, 30):
        migrate.migrate(dsn, migrate.MigrateOptions(raw_retention_days=days, lower_retention=True), report=quiet)
        jobs = rows(
            dsn,
            "SELECT config->>'start_offset' FROM timescaledb_information.jobs"
            " WHERE proc_name IN ('policy_refresh_continuous_aggregate', 'policy_retention')",
        )
        assert jobs == 4 * [(f"{days + 1} days",)]


@pytest.mark.parametrize("of_edition", ["timescale", "apache"])
def test_readings_older_than_the_retention_go_and_their_hours_stay(database_of, of_edition):
    """Chunks are dropped once their energy is kept; a late mark for them changes nothing."""
    dsn = database_of(of_edition)
    migrate.migrate(dsn, migrate.MigrateOptions(raw_retention_days=2), report=quiet)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO volt.meter_reading (meter_id, recorded_at, kwh_consumed_ac, received_at)"
            " SELECT 'm', date_trunc('day', now(), 'UTC') - d * INTERVAL '1 day', 1, now()"
            " FROM generate_series(1, 6) AS d"
        )
        connection.execute(
            "INSERT INTO volt.dead_letter (received_at, topic, payload, reason, redelivery_key)"
            " VALUES (now() - INTERVAL '31 days', 't', '', 'not_json', 1), (now(), 't', '', 'not_json', 2)"
        )
        schema.compress(connection, "meter_reading", "1 day")
        assert retention.run_once(connection) == retention.RetentionResult(0, 1)  # nothing is kept yet
        schema.materialise(connection)
        kept = connection.execute("SELECT q::text FROM volt.meter_quarter_hourly q ORDER BY 1").fetchall()
        assert retention.run_once(connection).chunks == 2
        connection.execute("INSERT INTO volt_internal.meter_rollup_dirty SELECT meter_id, hour FROM volt.meter_hourly")
        schema.keep(connection)
        assert connection.execute("SELECT q::text FROM volt.meter_quarter_hourly q ORDER BY 1").fetchall() == kept != []
        assert connection.execute("SELECT count(*) FROM volt.meter_hourly").fetchone() == (6,)
        assert connection.execute("SELECT count(*) FROM volt.meter_reading").fetchone() == (4,)
        assert connection.execute("SELECT count(*) FROM volt.dead_letter").fetchone() == (1,)


def test_a_database_that_moves_from_apache_to_community_keeps_its_hours(database_of, monkeypatch):
    """Hours whose raw readings are gone survive the change of edition, and so do energy and efficiency.

    What comes after the change follows on as before; the way back is refused with a hint.
    """
    dsn = database_of("timescale")
    found = edition.detect
    monkeypatch.setattr(
        edition, "detect", lambda connection: dataclasses.replace(found(connection), edition=edition.Edition.APACHE)
    )
    migrate.migrate(dsn, migrate.MigrateOptions(raw_retention_days=5), report=quiet)
    with psycopg.connect(dsn, autocommit=True) as connection:
        schema.link(connection, "v", "m")
        for device, energy, kwh in (("vehicle", "kwh_delivered_dc", 0.09), ("meter", "kwh_consumed_ac", 0.1)):
            connection.execute(
                f"INSERT INTO volt.{device}_reading ({device}_id, recorded_at, {energy}, received_at)"
                " SELECT %s, date_trunc('day', now(), 'UTC') - d * INTERVAL '1 day' + n * INTERVAL '1 minute',"
                " %s, now()"
                " FROM generate_series(1, 8) AS d CROSS JOIN generate_series(1, 60) AS n",
                (device[0], kwh),
            )

        def shown():
            views = (
                "meter_hourly",
                "vehicle_quarter_hourly",
                "meter_quarter_hourly",
                "efficiency_hourly",
                "efficiency_daily",
            )
            return {
                view: connection.execute(f"SELECT e::text FROM volt.{view} e ORDER BY 1").fetchall() for view in views
            }

        schema.keep(connection)
        before = shown()
        assert [len(before[view]) for view in before] == [16, 32, 32, 8, 8]
        assert retention.run_once(connection).chunks > 0
        assert shown() == before
        ((closing,),) = connection.execute("SELECT closing_watermark FROM volt_internal.rollup_state").fetchall()
        monkeypatch.undo()
        assert schema_state.status(dsn).pending == ["views and policies"]
        migrate.migrate(dsn, migrate.MigrateOptions(raw_retention_days=5), report=quiet)
        assert rollup.begin_batch(connection) == closing
        refresh = (
            "CALL refresh_continuous_aggregate('volt.meter_hourly', now() - INTERVAL '6 days',"
            " now() - INTERVAL '1 hour')"
        )
        connection.execute(refresh)
        schema.keep(connection)
        assert shown() == before
        late = connection.execute("SELECT date_trunc('day', now(), 'UTC') - INTERVAL '22.5 hours'").fetchone()[0]
        schema.store(connection, [schema.meter("m", late, kwh=3.0)])
        connection.execute(refresh)
        schema.keep(connection)
        after = shown()
        assert {view for view in before if after[view] != before[view]} == before.keys() - {"vehicle_quarter_hourly"}
        assert connection.execute("SELECT sum(ac_kwh)::float FROM volt.efficiency_daily").fetchone() == (8 * 6 + 3,)
    monkeypatch.setattr(
        edition, "detect", lambda connection: dataclasses.replace(found(connection), edition=edition.Edition.APACHE)
    )
    with pytest.raises(errors.SchemaError, match="Community") as raised:
        migrate.migrate(dsn, OPTIONS, report=quiet)
    assert raised.value.hint


def test_registers_of_on_board_chargers_that_are_there_already(fresh_database, monkeypatch):
    """0016 marks all days of vehicles that have sent one, and no others; old hours have a meter as their source."""
    released = [one for one in files.migrations() if one.name < "0016"]
    with monkeypatch.context() as patch:
        patch.setattr(files, "migrations", lambda: released)
        patch.setattr(files, "idempotent", lambda _edition: [])
        migrate.migrate(fresh_database, OPTIONS, report=quiet)
    with psycopg.connect(fresh_database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO volt.vehicle_current (vehicle_id, recorded_at, ac_register_kwh, ac_register_at) VALUES"
            " ('with', now(), 5, now() - INTERVAL '1 day'), ('without', now(), NULL, NULL)"
        )
        connection.execute(
            "UPDATE volt_internal.rollup_state SET energy_watermark = now(), raw_since = now() - INTERVAL '3 days'"
        )
        connection.execute(
            "INSERT INTO volt_internal.efficiency_hour"
            " (vehicle_id, hour, meter_id, standby_kwh, unassigned_kwh, quality) VALUES"
            " ('v', '2026-11-02 08:00Z', 'm', 0, 0, 'ok'), ('v', '2026-11-02 09:00Z', NULL, 0, 0, 'no_ac')"
        )
        migrate.migrate(fresh_database, OPTIONS, report=quiet)
        days = connection.execute(
            "SELECT device_id, (date_trunc('day', now(), 'UTC') - from_at)::text FROM volt_internal.energy_dirty"
            " WHERE device_type = 'onboard' ORDER BY from_at"
        ).fetchall()
        assert days == [("with", "3 days"), ("with", "2 days"), ("with", "1 day")]
        sources = connection.execute("SELECT source FROM volt.efficiency_hourly ORDER BY hour").fetchall()
        assert sources == [("meter",), (None,)]


def test_a_database_from_before_the_first_release_is_refused(fresh_database):
    """One error with advice, at migrate and at the daemon's start; nothing is changed."""
    with psycopg.connect(fresh_database, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA volt CREATE TABLE migration (name text, sha256 text)")
        connection.execute("INSERT INTO volt.migration VALUES ('0001_registry.sql', 'x'), ('0020_any.sql', 'y')")
    for run in (
        lambda: migrate.migrate(fresh_database, OPTIONS, report=quiet),
        lambda: schema_state.status(fresh_database),
    ):
        with pytest.raises(errors.SchemaError, match=r"before 0\.1\.0") as raised:
            run()
        assert "new database" in raised.value.hint
    assert rows(fresh_database, "SELECT to_regnamespace('volt_internal')") == [(None,)]
