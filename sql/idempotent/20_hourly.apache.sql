-- What: hourly and daily aggregates as views over roll-up tables (TimescaleDB Apache-2 edition).
-- Why:  the same names and numbers as the Community edition's continuous aggregates: hours before the watermark are
--       stored, later ones are computed live. The scheduler moves the watermark (70_rollup.sql). The views ask for it in a
--       subquery, so it is read once a query and chunks before it are left out.
-- Lock: ACCESS EXCLUSIVE on the views while they are replaced.

-- each device:
CREATE TABLE IF NOT EXISTS volt_internal.{device}_hourly_rollup AS
SELECT
  {device}_id,
  time_bucket(INTERVAL '1 hour', recorded_at) AS hour,
  -- include: {device}_hourly_columns.sql
FROM volt.{device}_reading
GROUP BY {device}_id, time_bucket(INTERVAL '1 hour', recorded_at)
WITH NO DATA;

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = 'volt_internal.{device}_hourly_rollup'::regclass AND contype = 'p') THEN
    ALTER TABLE volt_internal.{device}_hourly_rollup ADD CONSTRAINT {device}_hourly_rollup_pkey PRIMARY KEY ({device}_id, hour);
    PERFORM create_hypertable('volt_internal.{device}_hourly_rollup', by_range('hour', INTERVAL '10 days'),
                              create_default_indexes => false);
    CREATE INDEX {device}_hourly_rollup_hour_brin ON volt_internal.{device}_hourly_rollup USING brin (hour)
      WITH (pages_per_range = 32, autosummarize = on);
  END IF;
END $$;

CREATE OR REPLACE FUNCTION volt_internal.{device}_hours(from_at timestamptz, to_at timestamptz)
RETURNS SETOF volt_internal.{device}_hourly_rollup LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT
    {device}_id,
    time_bucket(INTERVAL '1 hour', recorded_at) AS hour,
    -- include: {device}_hourly_columns.sql
  FROM volt.{device}_reading
  WHERE recorded_at >= from_at AND recorded_at < to_at
  GROUP BY {device}_id, time_bucket(INTERVAL '1 hour', recorded_at);
END;
COMMENT ON FUNCTION volt_internal.{device}_hours(timestamptz, timestamptz) IS
  'Hours of all {device}s, computed from the raw readings of a time range (whole hours, the end excluded).';

CREATE OR REPLACE FUNCTION volt_internal.{device}_hours_of(of_{device} text, from_at timestamptz, to_at timestamptz)
RETURNS SETOF volt_internal.{device}_hourly_rollup LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT
    {device}_id,
    time_bucket(INTERVAL '1 hour', recorded_at) AS hour,
    -- include: {device}_hourly_columns.sql
  FROM volt.{device}_reading
  WHERE {device}_id = of_{device} AND recorded_at >= from_at AND recorded_at < to_at
  GROUP BY {device}_id, time_bucket(INTERVAL '1 hour', recorded_at);
END;
COMMENT ON FUNCTION volt_internal.{device}_hours_of(text, timestamptz, timestamptz) IS
  'Hours of one {device}, computed from the raw readings of a time range (whole hours, the end excluded).';

CREATE OR REPLACE VIEW volt_internal.{device}_hourly_stored AS
SELECT * FROM volt_internal.{device}_hourly_rollup WHERE hour < (SELECT watermark FROM volt_internal.rollup_state);

CREATE OR REPLACE VIEW volt_internal.{device}_hourly_live AS
SELECT
  {device}_id,
  time_bucket(INTERVAL '1 hour', recorded_at) AS hour,
  -- include: {device}_hourly_columns.sql
FROM volt.{device}_reading
WHERE recorded_at >= (SELECT watermark FROM volt_internal.rollup_state)
GROUP BY {device}_id, time_bucket(INTERVAL '1 hour', recorded_at);

CREATE OR REPLACE VIEW volt.{device}_hourly AS
SELECT * FROM volt_internal.{device}_hourly_stored
UNION ALL
SELECT * FROM volt_internal.{device}_hourly_live;

CREATE OR REPLACE VIEW volt.{device}_daily AS
SELECT
  {device}_id,
  time_bucket(INTERVAL '1 day', hour) AS day,
  -- include: {device}_daily_columns.sql
FROM volt.{device}_hourly
GROUP BY {device}_id, time_bucket(INTERVAL '1 day', hour);

-- end
