-- What: hourly and daily aggregates as continuous aggregates (TimescaleDB Community edition).
-- Why:  refreshed by TimescaleDB's own jobs, with the open hours computed live (real-time mode, off by default since 2.13).
--       They are made WITH NO DATA, which is the only way inside a transaction.
-- Lock: none on data once they exist; the definition of an existing one only changes in a migration.

-- each device:
CREATE MATERIALIZED VIEW IF NOT EXISTS volt.{device}_hourly
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
  {device}_id,
  time_bucket(INTERVAL '1 hour', recorded_at) AS hour,
  -- include: {device}_hourly_columns.sql
FROM volt.{device}_reading
GROUP BY {device}_id, time_bucket(INTERVAL '1 hour', recorded_at)
WITH NO DATA;

CREATE MATERIALIZED VIEW IF NOT EXISTS volt.{device}_daily
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
  {device}_id,
  time_bucket(INTERVAL '1 day', hour) AS day,
  -- include: {device}_daily_columns.sql
FROM volt.{device}_hourly
GROUP BY {device}_id, time_bucket(INTERVAL '1 day', hour)
WITH NO DATA;

-- end

-- The two halves of the hourly aggregates, apart: views above them look up "the row before" in the stored half, where
-- that is one step on an index; through the UNION it would read the device's whole history each time. The table that
-- TimescaleDB keeps the stored half in has a number in its name, and the watermark function is the one that the
-- continuous aggregate's own definition uses.
DO $$
DECLARE
  device text;
  materialized record;
  watermark text;
BEGIN
  FOREACH device IN ARRAY ARRAY['vehicle', 'meter'] LOOP
    SELECT c.materialization_hypertable_schema AS schema, c.materialization_hypertable_name AS name, h.id
    INTO STRICT materialized
    FROM timescaledb_information.continuous_aggregates c
    JOIN _timescaledb_catalog.hypertable h
      ON h.schema_name = c.materialization_hypertable_schema AND h.table_name = c.materialization_hypertable_name
    WHERE c.view_schema = 'volt' AND c.view_name = device || '_hourly';
    watermark := format(
      'coalesce(_timescaledb_functions.to_timestamp(_timescaledb_functions.cagg_watermark(%s)), ''-infinity''::timestamptz)',
      materialized.id);
    EXECUTE format('CREATE OR REPLACE VIEW volt_internal.%I AS SELECT * FROM %I.%I WHERE hour < %s',
                   device || '_hourly_stored', materialized.schema, materialized.name, watermark);
    EXECUTE format('CREATE OR REPLACE VIEW volt_internal.%I AS SELECT * FROM volt.%I WHERE hour >= %s',
                   device || '_hourly_live', device || '_hourly', watermark);
  END LOOP;
END $$;
