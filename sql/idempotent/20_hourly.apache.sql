-- What: hourly and daily aggregates as views over roll-up tables (TimescaleDB Apache-2 edition).
-- Why:  the same names and numbers as the Community edition's continuous aggregates: hours before the watermark are
--       stored, later ones are computed live. The scheduler moves the watermark (70_rollup.sql). The views ask for it in a
--       subquery, so it is read once a query and chunks before it are left out.
-- Lock: ACCESS EXCLUSIVE on the views while they are replaced.

CREATE TABLE IF NOT EXISTS volt_internal.vehicle_hourly_rollup AS
SELECT
  vehicle_id,
  time_bucket(INTERVAL '1 hour', recorded_at) AS hour,
  -- include: vehicle_hourly_columns.sql
FROM volt.vehicle_reading
GROUP BY vehicle_id, time_bucket(INTERVAL '1 hour', recorded_at)
WITH NO DATA;

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = 'volt_internal.vehicle_hourly_rollup'::regclass AND contype = 'p') THEN
    ALTER TABLE volt_internal.vehicle_hourly_rollup ADD CONSTRAINT vehicle_hourly_rollup_pkey PRIMARY KEY (vehicle_id, hour);
    PERFORM create_hypertable('volt_internal.vehicle_hourly_rollup', by_range('hour', INTERVAL '10 days'),
                              create_default_indexes => false);
    CREATE INDEX vehicle_hourly_rollup_hour_brin ON volt_internal.vehicle_hourly_rollup USING brin (hour)
      WITH (pages_per_range = 32, autosummarize = on);
  END IF;
END $$;

CREATE OR REPLACE FUNCTION volt_internal.vehicle_hours(from_at timestamptz, to_at timestamptz)
RETURNS SETOF volt_internal.vehicle_hourly_rollup LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT
    vehicle_id,
    time_bucket(INTERVAL '1 hour', recorded_at) AS hour,
    -- include: vehicle_hourly_columns.sql
  FROM volt.vehicle_reading
  WHERE recorded_at >= from_at AND recorded_at < to_at
  GROUP BY vehicle_id, time_bucket(INTERVAL '1 hour', recorded_at);
END;
COMMENT ON FUNCTION volt_internal.vehicle_hours(timestamptz, timestamptz) IS
  'Hours of all vehicles, computed from the raw readings of a time range (whole hours, the end excluded).';

CREATE OR REPLACE FUNCTION volt_internal.vehicle_hours_of(of_vehicle text, from_at timestamptz, to_at timestamptz)
RETURNS SETOF volt_internal.vehicle_hourly_rollup LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT
    vehicle_id,
    time_bucket(INTERVAL '1 hour', recorded_at) AS hour,
    -- include: vehicle_hourly_columns.sql
  FROM volt.vehicle_reading
  WHERE vehicle_id = of_vehicle AND recorded_at >= from_at AND recorded_at < to_at
  GROUP BY vehicle_id, time_bucket(INTERVAL '1 hour', recorded_at);
END;
COMMENT ON FUNCTION volt_internal.vehicle_hours_of(text, timestamptz, timestamptz) IS
  'Hours of one vehicle, computed from the raw readings of a time range (whole hours, the end excluded).';

CREATE OR REPLACE VIEW volt_internal.vehicle_hourly_stored AS
SELECT * FROM volt_internal.vehicle_hourly_rollup WHERE hour < (SELECT watermark FROM volt_internal.rollup_state);

CREATE OR REPLACE VIEW volt_internal.vehicle_hourly_live AS
SELECT
  vehicle_id,
  time_bucket(INTERVAL '1 hour', recorded_at) AS hour,
  -- include: vehicle_hourly_columns.sql
FROM volt.vehicle_reading
WHERE recorded_at >= (SELECT watermark FROM volt_internal.rollup_state)
GROUP BY vehicle_id, time_bucket(INTERVAL '1 hour', recorded_at);

CREATE OR REPLACE VIEW volt.vehicle_hourly AS
SELECT * FROM volt_internal.vehicle_hourly_stored
UNION ALL
SELECT * FROM volt_internal.vehicle_hourly_live;

CREATE OR REPLACE VIEW volt.vehicle_daily AS
SELECT
  vehicle_id,
  time_bucket(INTERVAL '1 day', hour) AS day,
  -- include: vehicle_daily_columns.sql
FROM volt.vehicle_hourly
GROUP BY vehicle_id, time_bucket(INTERVAL '1 day', hour);

CREATE TABLE IF NOT EXISTS volt_internal.meter_hourly_rollup AS
SELECT
  meter_id,
  time_bucket(INTERVAL '1 hour', recorded_at) AS hour,
  -- include: meter_hourly_columns.sql
FROM volt.meter_reading
GROUP BY meter_id, time_bucket(INTERVAL '1 hour', recorded_at)
WITH NO DATA;

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = 'volt_internal.meter_hourly_rollup'::regclass AND contype = 'p') THEN
    ALTER TABLE volt_internal.meter_hourly_rollup ADD CONSTRAINT meter_hourly_rollup_pkey PRIMARY KEY (meter_id, hour);
    PERFORM create_hypertable('volt_internal.meter_hourly_rollup', by_range('hour', INTERVAL '10 days'),
                              create_default_indexes => false);
    CREATE INDEX meter_hourly_rollup_hour_brin ON volt_internal.meter_hourly_rollup USING brin (hour)
      WITH (pages_per_range = 32, autosummarize = on);
  END IF;
END $$;

CREATE OR REPLACE FUNCTION volt_internal.meter_hours(from_at timestamptz, to_at timestamptz)
RETURNS SETOF volt_internal.meter_hourly_rollup LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT
    meter_id,
    time_bucket(INTERVAL '1 hour', recorded_at) AS hour,
    -- include: meter_hourly_columns.sql
  FROM volt.meter_reading
  WHERE recorded_at >= from_at AND recorded_at < to_at
  GROUP BY meter_id, time_bucket(INTERVAL '1 hour', recorded_at);
END;
COMMENT ON FUNCTION volt_internal.meter_hours(timestamptz, timestamptz) IS
  'Hours of all meters, computed from the raw readings of a time range (whole hours, the end excluded).';

CREATE OR REPLACE FUNCTION volt_internal.meter_hours_of(of_meter text, from_at timestamptz, to_at timestamptz)
RETURNS SETOF volt_internal.meter_hourly_rollup LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT
    meter_id,
    time_bucket(INTERVAL '1 hour', recorded_at) AS hour,
    -- include: meter_hourly_columns.sql
  FROM volt.meter_reading
  WHERE meter_id = of_meter AND recorded_at >= from_at AND recorded_at < to_at
  GROUP BY meter_id, time_bucket(INTERVAL '1 hour', recorded_at);
END;
COMMENT ON FUNCTION volt_internal.meter_hours_of(text, timestamptz, timestamptz) IS
  'Hours of one meter, computed from the raw readings of a time range (whole hours, the end excluded).';

CREATE OR REPLACE VIEW volt_internal.meter_hourly_stored AS
SELECT * FROM volt_internal.meter_hourly_rollup WHERE hour < (SELECT watermark FROM volt_internal.rollup_state);

CREATE OR REPLACE VIEW volt_internal.meter_hourly_live AS
SELECT
  meter_id,
  time_bucket(INTERVAL '1 hour', recorded_at) AS hour,
  -- include: meter_hourly_columns.sql
FROM volt.meter_reading
WHERE recorded_at >= (SELECT watermark FROM volt_internal.rollup_state)
GROUP BY meter_id, time_bucket(INTERVAL '1 hour', recorded_at);

CREATE OR REPLACE VIEW volt.meter_hourly AS
SELECT * FROM volt_internal.meter_hourly_stored
UNION ALL
SELECT * FROM volt_internal.meter_hourly_live;

CREATE OR REPLACE VIEW volt.meter_daily AS
SELECT
  meter_id,
  time_bucket(INTERVAL '1 day', hour) AS day,
  -- include: meter_daily_columns.sql
FROM volt.meter_hourly
GROUP BY meter_id, time_bucket(INTERVAL '1 day', hour);
