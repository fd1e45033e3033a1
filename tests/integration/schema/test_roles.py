"""Who may do what: the daemon's role and the analysts' role."""

import secrets

import psycopg
import pytest
from psycopg import conninfo

from support import schema
from voltd.database import migrate, queries, retention, rollup


@pytest.fixture(params=["timescale", "apache"])
def migrated(database_of, request):
    """DSN of a migrated database of each edition in turn."""
    return database_of(request.param, schema=True)


def test_the_daemons_role_can_do_its_job_and_no_more(migrated):
    """volt_writer runs every query of the daemon; raw data it can neither delete, change, empty nor alter."""
    with psycopg.connect(migrated, autocommit=True) as connection:
        (now,) = connection.execute("SELECT now()").fetchone()
        connection.execute("SET ROLE volt_writer")
        with connection.transaction():
            rollup.begin_batch(connection)
            connection.execute(
                "INSERT INTO volt.vehicle_reading (vehicle_id, recorded_at, soc_pct, received_at)"
                " VALUES ('w', %s, 50, %s)",
                (now, now),
            )
            connection.execute(queries.text("mark_vehicle_hours_dirty"), {"vehicle_ids": ["w"], "recorded_ats": [now]})
            connection.execute(queries.text("create_staged_vehicle_current"))
            connection.execute(queries.text("stage_vehicle_current_since"), {"since": None})
            (merged,) = connection.execute(queries.text("merge_vehicle_current")).fetchall()
        assert merged[:3] == ("w", now, 50)
        schema.keep(connection)
        retention.run_once(connection)
        connection.execute("SELECT * FROM volt.efficiency_hourly")
        for statement in (
            "DELETE FROM volt.vehicle_reading",
            "UPDATE volt.vehicle_reading SET soc_pct = 1",
            "TRUNCATE volt.meter_reading",
            "ALTER TABLE volt.meter_reading ADD COLUMN x int",
            "DROP TABLE volt.meter_reading",
            "DELETE FROM volt.dead_letter",
            "SELECT drop_chunks('volt.vehicle_reading', now())",
            "SELECT payload FROM volt.dead_letter",
            "SELECT * FROM volt.dead_letter",
            "SELECT length(payload) FROM volt.dead_letter",
            "SELECT dead_letter FROM volt.dead_letter",
            "DELETE FROM volt.dead_letter RETURNING payload",
            "COPY volt.dead_letter TO STDOUT",
            "UPDATE volt.dead_letter SET replayed_at = now()",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_voltd_check_is_content_with_the_daemons_role(migrated):
    """The query of voltd check finds nothing missing for volt_writer, and names what an analyst would lack."""
    with psycopg.connect(migrated, autocommit=True) as connection:
        connection.execute("SET ROLE volt_writer")
        assert connection.execute(queries.text("missing_privileges")).fetchall() == []
        connection.execute("SET ROLE volt_reader")
        missing = connection.execute(queries.text("missing_privileges")).fetchall()
        assert ("volt_reader", "volt.dead_letter", "INSERT") in missing


def test_payloads_stay_the_owners_after_an_upgrade(migrated):
    """A database whose roles once could read payloads: the next migrate takes that back, and the owner still can."""
    with psycopg.connect(migrated, autocommit=True) as connection:
        connection.execute("GRANT SELECT ON volt.dead_letter TO volt_writer, volt_reader")
        connection.execute("GRANT SELECT (payload, redelivery_key) ON volt.dead_letter TO volt_writer, volt_reader")
    migrate.migrate(migrated, migrate.MigrateOptions(), report=lambda _line: None)
    with psycopg.connect(migrated, autocommit=True) as connection:
        for role in ("volt_writer", "volt_reader"):
            connection.execute(f"SET ROLE {role}")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT payload FROM volt.dead_letter")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT redelivery_key FROM volt.dead_letter")
        connection.execute("SET ROLE volt_owner")
        connection.execute("SELECT payload FROM volt.dead_letter")


def test_analysts_see_all_but_payloads(migrated):
    """volt_reader reads dead letters without what was in them, and every view."""
    with psycopg.connect(migrated, autocommit=True) as connection:
        connection.execute("SET ROLE volt_reader")
        connection.execute("SELECT id, topic, reason, detail FROM volt.dead_letter")
        for (view,) in connection.execute("SELECT viewname FROM pg_views WHERE schemaname = 'volt'").fetchall():
            connection.execute(f"SELECT * FROM volt.{view}")
        for statement in ("SELECT payload FROM volt.dead_letter", "SELECT * FROM volt.dead_letter"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("INSERT INTO volt_internal.setting VALUES ('a', 'b')")


def test_analysts_do_not_see_what_is_voltds_own(migrated):
    """Nothing of volt_internal is for volt_reader; what volt shows of it answers all the same."""
    with psycopg.connect(migrated, autocommit=True) as connection:
        connection.execute("SET ROLE volt_reader")
        for statement in ("SELECT * FROM volt_internal.setting", "SELECT volt_internal.setting_number('x')"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
        rights = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'volt_internal'::regnamespace AND relkind IN ('r', 'v')"
            " AND has_table_privilege(oid, 'SELECT, INSERT, UPDATE, DELETE')"
        )
        assert rights.fetchall() == []
        connection.execute("SELECT volt.vehicle_performance('w')")
        assert connection.execute("SELECT count(*) FROM volt.device_liveness").fetchone() == (0,)


def test_the_registrar_writes_the_registry_and_nothing_else(migrated):
    """volt_registrar keeps fleets, devices, links, memberships and decisions; it reads as an analyst does."""
    with psycopg.connect(migrated, autocommit=True) as connection:
        connection.execute("SET ROLE volt_registrar")
        connection.execute("INSERT INTO volt.fleet (fleet_id, timezone) VALUES ('a', 'Europe/Berlin'), ('b', NULL)")
        connection.execute("INSERT INTO volt.vehicle (vehicle_id, fleet_id) VALUES ('v', 'a')")
        connection.execute("UPDATE volt.vehicle SET fleet_id = 'b'")
        connection.execute("UPDATE volt.fleet SET fleet_id = 'c' WHERE fleet_id = 'b'")
        connection.execute("DELETE FROM volt.fleet_membership WHERE fleet_id = 'a'")
        connection.execute("INSERT INTO volt.meter (meter_id) VALUES ('m')")
        connection.execute("INSERT INTO volt.vehicle_meter (vehicle_id, meter_id) VALUES ('v', 'm')")
        for table in ("vehicle_meter", "meter", "vehicle", "fleet_membership", "fleet"):
            connection.execute(f"DELETE FROM volt.{table}")
        connection.execute(queries.text("set_vehicle_status"), {"ids": ["v"], "status": "retired"})
        rights = connection.execute(
            "SELECT c.oid::regclass::text, p.name FROM pg_class c"
            " CROSS JOIN unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE}'::text[]) AS p (name)"
            " WHERE c.relnamespace IN ('volt'::regnamespace, 'volt_internal'::regnamespace) AND c.relkind IN ('r', 'v')"
            " AND has_table_privilege('volt_registrar', c.oid, p.name)"
            " AND NOT has_table_privilege('volt_reader', c.oid, p.name) ORDER BY 1, 2"
        ).fetchall()
        registry = ("fleet", "fleet_membership", "meter", "register_decision", "vehicle", "vehicle_meter")
        assert rights == [(f"volt.{table}", right) for table in registry for right in ("DELETE", "INSERT", "UPDATE")]
        for statement in ("SELECT payload FROM volt.dead_letter", "SELECT * FROM volt_internal.setting",
                          "SELECT volt_internal.move_vehicle('v', 'a', true)"):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_who_may_only_write_vehicles_still_may(migrated):
    """A right granted before memberships were recorded is enough: the triggers have the owner's rights."""
    role = f"voltd_test_{secrets.token_hex(4)}"
    with psycopg.connect(migrated, autocommit=True) as connection:
        connection.execute("INSERT INTO volt.fleet (fleet_id) VALUES ('a')")
        connection.execute(f"CREATE ROLE {role}")
        try:
            connection.execute(f"GRANT USAGE ON SCHEMA volt TO {role}")
            connection.execute(f"GRANT INSERT, DELETE ON volt.vehicle TO {role}")
            connection.execute(f"SET ROLE {role}")
            connection.execute("INSERT INTO volt.vehicle (vehicle_id, fleet_id) VALUES ('v', 'a')")
            connection.execute("RESET ROLE")
            assert connection.execute("SELECT count(*) FROM volt.fleet_membership").fetchone() == (1,)
        finally:
            connection.execute("RESET ROLE")
            connection.execute(f"DROP OWNED BY {role}")
            connection.execute(f"DROP ROLE {role}")


def _logged_in(dsn, role):
    with psycopg.connect(conninfo.make_conninfo(dsn, user=role, password="x")) as connection:
        return connection.execute("SHOW statement_timeout").fetchone()[0]


def test_analysts_statements_end_after_five_minutes(migrated):
    """Who logs in as a member of volt_reader, also through another role; an own limit stays, the daemon has none."""
    names = {name: f"voltd_test_{name}_{secrets.token_hex(4)}" for name in ("ana", "group", "bo", "slow", "daemon")}
    with psycopg.connect(migrated, autocommit=True) as connection:
        try:
            for name, rest in (
                ("ana", "LOGIN PASSWORD 'x' IN ROLE volt_reader"),
                ("group", "IN ROLE volt_reader"),
                ("bo", f"LOGIN PASSWORD 'x' IN ROLE {names['group']}"),
                ("slow", "LOGIN PASSWORD 'x' IN ROLE volt_reader"),
                ("daemon", "LOGIN PASSWORD 'x' IN ROLE volt_reader, volt_writer"),
            ):
                connection.execute(f"CREATE ROLE {names[name]} {rest}")
            connection.execute(f"ALTER ROLE {names['slow']} SET statement_timeout = '1h'")
            migrate.migrate(migrated, migrate.MigrateOptions(), report=lambda _line: None)
            limits = {name: _logged_in(migrated, names[name]) for name in ("ana", "bo", "slow", "daemon")}
            assert limits == {"ana": "5min", "bo": "5min", "slow": "1h", "daemon": "0"}
            (database,) = connection.execute("SELECT current_database()").fetchone()
            connection.execute(f"ALTER ROLE {names['ana']} IN DATABASE {database} SET statement_timeout = '30min'")
            migrate.migrate(migrated, migrate.MigrateOptions(), report=lambda _line: None)
            assert _logged_in(migrated, names["ana"]) == "30min"
        finally:
            for name in reversed(names.values()):
                connection.execute(f"DROP ROLE IF EXISTS {name}")
