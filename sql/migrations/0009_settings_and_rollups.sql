-- What: settings that policies and views read, and the state of the roll-ups kept on TimescaleDB's Apache-2 edition.
-- Why:  SQL must know the retention and the expected interval. The dirty tables are append only and have no key: a
--       writer never waits for the job, and the job deletes only marks whose readings it can see.
-- Lock: none on existing data, the tables are new.

CREATE TABLE volt_internal.setting (
  name       text        NOT NULL,
  value      text        NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT setting_pkey PRIMARY KEY (name)
);
COMMENT ON TABLE volt_internal.setting IS 'Settings that policies and views read; written by "voltd migrate" from voltd''s settings.';
COMMENT ON COLUMN volt_internal.setting.name IS 'Name, with its unit: raw_retention_days, expected_interval_s, ...';
COMMENT ON COLUMN volt_internal.setting.value IS 'Value as text.';
COMMENT ON COLUMN volt_internal.setting.updated_at IS 'When the value last changed.';

CREATE TABLE volt_internal.rollup_state (
  only_row          boolean     NOT NULL DEFAULT true,
  closing_watermark timestamptz,
  watermark         timestamptz NOT NULL DEFAULT '-infinity',
  dropped_before    timestamptz NOT NULL DEFAULT '-infinity',
  CONSTRAINT rollup_state_pkey PRIMARY KEY (only_row),
  CONSTRAINT rollup_state_one_row CHECK (only_row)
);
INSERT INTO volt_internal.rollup_state DEFAULT VALUES;
COMMENT ON TABLE volt_internal.rollup_state IS
  'How far the hourly roll-ups reach (Apache-2 edition; on Community continuous aggregates have their own).';
COMMENT ON COLUMN volt_internal.rollup_state.only_row IS 'Always true: the table has one row.';
COMMENT ON COLUMN volt_internal.rollup_state.closing_watermark IS
  'Writers mark device-hours of readings before this as dirty; NULL: nothing to mark.';
COMMENT ON COLUMN volt_internal.rollup_state.watermark IS 'Hours before this are in the roll-up tables, later ones are computed live.';
COMMENT ON COLUMN volt_internal.rollup_state.dropped_before IS
  'Raw readings before this were dropped by the retention; hours before it are never recomputed.';

CREATE TABLE volt_internal.vehicle_rollup_dirty (
  vehicle_id text        NOT NULL,
  hour       timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
COMMENT ON TABLE volt_internal.vehicle_rollup_dirty IS 'Vehicle-hours to recompute: late readings arrived (Apache-2 edition).';
COMMENT ON COLUMN volt_internal.vehicle_rollup_dirty.vehicle_id IS 'The vehicle.';
COMMENT ON COLUMN volt_internal.vehicle_rollup_dirty.hour IS 'Start of the hour, UTC.';

CREATE TABLE volt_internal.meter_rollup_dirty (
  meter_id text        NOT NULL,
  hour     timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
COMMENT ON TABLE volt_internal.meter_rollup_dirty IS 'Meter-hours to recompute: late readings arrived (Apache-2 edition).';
COMMENT ON COLUMN volt_internal.meter_rollup_dirty.meter_id IS 'The meter.';
COMMENT ON COLUMN volt_internal.meter_rollup_dirty.hour IS 'Start of the hour, UTC.';
