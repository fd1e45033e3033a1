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
