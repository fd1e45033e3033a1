-- What: refuses a database that was made on the Community edition.
-- Why:  its continuous aggregates, columnstore and policies cannot run under the Apache-2 licence setting.
-- Lock: none.

DO $$
BEGIN
  IF EXISTS (SELECT FROM timescaledb_information.continuous_aggregates WHERE view_schema = 'volt') THEN
    RAISE insufficient_privilege USING
      MESSAGE = 'this database was made on TimescaleDB''s Community edition, the server now runs as Apache-2',
      HINT = 'set timescaledb.license = ''timescale'' on the server, or copy the readings into a new database';
  END IF;
END $$;
