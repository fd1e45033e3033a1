-- What: hourly and daily aggregates as continuous aggregates (TimescaleDB Community edition).
-- Why:  kept by TimescaleDB's own jobs, with the open hours computed live (real-time mode, off by default since 2.13).
--       They are made WITH NO DATA, which is the only way inside a transaction.
-- Lock: none on data once they exist; the definition of an existing one only changes in a migration.

CREATE MATERIALIZED VIEW IF NOT EXISTS volt.vehicle_hourly
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
  vehicle_id,
  time_bucket(INTERVAL '1 hour', recorded_at) AS hour,
  -- include: vehicle_hourly_columns.sql
FROM volt.vehicle_reading
GROUP BY vehicle_id, time_bucket(INTERVAL '1 hour', recorded_at)
WITH NO DATA;

CREATE MATERIALIZED VIEW IF NOT EXISTS volt.vehicle_daily
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
  vehicle_id,
  time_bucket(INTERVAL '1 day', hour) AS day,
  -- include: vehicle_daily_columns.sql
FROM volt.vehicle_hourly
GROUP BY vehicle_id, time_bucket(INTERVAL '1 day', hour)
WITH NO DATA;

CREATE MATERIALIZED VIEW IF NOT EXISTS volt.meter_hourly
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
  meter_id,
  time_bucket(INTERVAL '1 hour', recorded_at) AS hour,
  -- include: meter_hourly_columns.sql
FROM volt.meter_reading
GROUP BY meter_id, time_bucket(INTERVAL '1 hour', recorded_at)
WITH NO DATA;

CREATE MATERIALIZED VIEW IF NOT EXISTS volt.meter_daily
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
  meter_id,
  time_bucket(INTERVAL '1 day', hour) AS day,
  -- include: meter_daily_columns.sql
FROM volt.meter_hourly
GROUP BY meter_id, time_bucket(INTERVAL '1 day', hour)
WITH NO DATA;
