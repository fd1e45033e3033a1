-- What: what must be there before the first migration: extensions, roles, the schemas and the ledger of migrations.
-- Why:  run at every "voltd migrate", outside of the ledger that it makes; every statement can be run again. Roles belong
--       to the whole server, so two databases may make them at the same moment: that is no error.
-- Lock: none on data.

CREATE EXTENSION IF NOT EXISTS timescaledb;
CREATE EXTENSION IF NOT EXISTS btree_gist;

DO $$
DECLARE
  may_create boolean := (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user);
  wanted record;
BEGIN
  FOR wanted IN
    -- The owner may log in because TimescaleDB runs background jobs as the owner of their table.
    SELECT * FROM (VALUES ('volt_owner', 'LOGIN'), ('volt_writer', 'NOLOGIN'), ('volt_reader', 'NOLOGIN'),
                          ('volt_registrar', 'NOLOGIN')) AS r (name, login)
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r.name)
  LOOP
    IF NOT may_create THEN
      RAISE insufficient_privilege USING
        MESSAGE = format('role %s is missing and %s may not create roles', wanted.name, current_user),
        HINT = format('as an administrator: CREATE ROLE volt_owner LOGIN; CREATE ROLE volt_writer; '
                      'CREATE ROLE volt_reader; CREATE ROLE volt_registrar; GRANT volt_owner TO %I;', current_user);
    END IF;
    BEGIN
      EXECUTE format('CREATE ROLE %I %s', wanted.name, wanted.login);
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
      NULL; -- another database's migration was faster
    END;
  END LOOP;
  -- From PostgreSQL 16 on, having made a role does not yet mean to be allowed to become it.
  IF may_create AND NOT pg_has_role(
    current_user, 'volt_owner', CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)
  THEN
    BEGIN
      EXECUTE format('GRANT volt_owner TO %I', current_user);
    EXCEPTION WHEN insufficient_privilege THEN
      NULL; -- somebody else's role: the schema will belong to this user instead
    END;
  END IF;
END $$;

CREATE SCHEMA IF NOT EXISTS volt;
COMMENT ON SCHEMA volt IS 'Fleet telemetry: readings, current state, hourly energy and efficiency. Kept by voltd.';

-- No rights for volt_reader: analysts neither see nor need what is in it.
CREATE SCHEMA IF NOT EXISTS volt_internal;
COMMENT ON SCHEMA volt_internal IS 'What voltd keeps for itself; may change with any version. Read the schema volt.';

CREATE TABLE IF NOT EXISTS volt_internal.migration (
  name          text        NOT NULL,
  sha256        text        NOT NULL,
  applied_at    timestamptz NOT NULL DEFAULT now(),
  voltd_version text        NOT NULL,
  CONSTRAINT migration_pkey PRIMARY KEY (name)
);
COMMENT ON TABLE volt_internal.migration IS 'Ledger: which migrations this database has, each applied exactly once.';
COMMENT ON COLUMN volt_internal.migration.name IS 'File name of the migration.';
COMMENT ON COLUMN volt_internal.migration.sha256 IS 'SHA-256 of the file as it was applied.';
COMMENT ON COLUMN volt_internal.migration.applied_at IS 'When it was applied.';
COMMENT ON COLUMN volt_internal.migration.voltd_version IS 'Version of voltd that applied it.';

DO $$
BEGIN
  IF pg_has_role(
       current_user, 'volt_owner', CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)
     AND EXISTS (SELECT FROM pg_namespace
                 WHERE nspname IN ('volt', 'volt_internal') AND nspowner <> 'volt_owner'::regrole) THEN
    ALTER SCHEMA volt OWNER TO volt_owner;
    ALTER SCHEMA volt_internal OWNER TO volt_owner;
    ALTER TABLE volt_internal.migration OWNER TO volt_owner;
  END IF;
  IF NOT has_database_privilege('volt_writer', current_database(), 'TEMPORARY') THEN
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO volt_writer', current_database());
  END IF;
END $$;

-- Analysts' statements end after five minutes. PostgreSQL applies the settings of the role that logs in and never those of
-- a role whose member it is: each one needs its own. A role that has one for this database, or for all, keeps it.
DO $$
DECLARE
  analyst name;
BEGIN
  FOR analyst IN
    SELECT r.rolname FROM pg_roles r
    WHERE (r.rolcanlogin OR r.rolname = 'volt_reader') AND NOT r.rolsuper AND pg_has_role(r.oid, 'volt_reader', 'MEMBER')
      AND NOT pg_has_role(r.oid, 'volt_writer', 'MEMBER') AND NOT pg_has_role(r.oid, 'volt_owner', 'MEMBER')
      AND NOT EXISTS (
        SELECT FROM pg_db_role_setting s JOIN pg_database d ON s.setdatabase IN (0, d.oid), unnest(s.setconfig) AS setting
        WHERE d.datname = current_database() AND s.setrole = r.oid AND setting LIKE 'statement_timeout=%')
  LOOP
    BEGIN
      EXECUTE format('ALTER ROLE %I IN DATABASE %I SET statement_timeout = ''5min''', analyst, current_database());
    EXCEPTION WHEN insufficient_privilege THEN
      NULL; -- somebody else's role stays as it is; \drds in psql lists what was set
    END;
  END LOOP;
END $$;
