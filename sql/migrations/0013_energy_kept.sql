-- What: energy by device and quarter hour, and the efficiency by hour and day that follows from it, kept by voltd itself.
-- Why:  computed from raw readings they take seconds for a fleet. Continuous aggregates cannot: a register's course needs
--       the readings around a quarter hour, and a comparison needs two devices. Both editions keep the same tables.
-- Lock: none on existing data; the efficiency views are dropped and made again by the idempotent files.

CREATE TABLE volt_internal.vehicle_quarter (
  vehicle_id   text        NOT NULL,
  quarter_hour timestamptz NOT NULL,
  kwh          numeric,
  covered_s    numeric     NOT NULL,
  gap_s        numeric     NOT NULL,
  low_kwh      numeric     NOT NULL,
  high_kwh     numeric     NOT NULL,
  peak_kw      numeric     NOT NULL,
  gaps         tstzrange[],
  suspect      boolean     NOT NULL,
  source       text,
  register_kwh numeric,
  moved        boolean     NOT NULL,
  CONSTRAINT vehicle_quarter_pkey PRIMARY KEY (vehicle_id, quarter_hour)
);
SELECT create_hypertable('volt_internal.vehicle_quarter', by_range('quarter_hour', INTERVAL '7 days'),
                         create_default_indexes => false);
CREATE INDEX vehicle_quarter_quarter_hour_brin ON volt_internal.vehicle_quarter USING brin (quarter_hour)
  WITH (pages_per_range = 32, autosummarize = on);

CREATE TABLE volt_internal.meter_quarter (
  meter_id     text        NOT NULL,
  quarter_hour timestamptz NOT NULL,
  kwh          numeric,
  covered_s    numeric     NOT NULL,
  gap_s        numeric     NOT NULL,
  low_kwh      numeric     NOT NULL,
  high_kwh     numeric     NOT NULL,
  peak_kw      numeric     NOT NULL,
  gaps         tstzrange[],
  suspect      boolean     NOT NULL,
  source       text,
  register_kwh numeric,
  CONSTRAINT meter_quarter_pkey PRIMARY KEY (meter_id, quarter_hour)
);
SELECT create_hypertable('volt_internal.meter_quarter', by_range('quarter_hour', INTERVAL '7 days'),
                         create_default_indexes => false);
CREATE INDEX meter_quarter_quarter_hour_brin ON volt_internal.meter_quarter USING brin (quarter_hour)
  WITH (pages_per_range = 32, autosummarize = on);

-- How long an interval of a device is, and how sure that is, without reading its day again.
CREATE TABLE volt_internal.device_interval (
  device_type text        NOT NULL,
  device_id   text        NOT NULL,
  day         timestamptz NOT NULL,
  last_at     timestamptz NOT NULL,
  usual_s     integer,
  shorter     integer     NOT NULL,
  as_usual    integer     NOT NULL,
  longer      integer     NOT NULL,
  CONSTRAINT device_interval_pkey PRIMARY KEY (device_type, day, device_id)
);
COMMENT ON TABLE volt_internal.device_interval IS
  'The usual time between two readings of interval energy, by device and UTC day, as far as energy is kept.';
COMMENT ON COLUMN volt_internal.device_interval.device_type IS 'vehicle or meter.';
COMMENT ON COLUMN volt_internal.device_interval.device_id IS 'The device.';
COMMENT ON COLUMN volt_internal.device_interval.day IS 'Start of the UTC day.';
COMMENT ON COLUMN volt_internal.device_interval.last_at IS 'Its last reading of the day that is counted.';
COMMENT ON COLUMN volt_internal.device_interval.usual_s IS 'The lower median of the times between, in whole seconds; NULL: one reading alone.';
COMMENT ON COLUMN volt_internal.device_interval.shorter IS 'How many times between were shorter.';
COMMENT ON COLUMN volt_internal.device_interval.as_usual IS 'How many were so long.';
COMMENT ON COLUMN volt_internal.device_interval.longer IS 'How many were longer.';

CREATE TABLE volt_internal.energy_dirty (
  device_type text        NOT NULL,
  device_id   text        NOT NULL,
  from_at     timestamptz NOT NULL,
  to_at       timestamptz NOT NULL,
  irregular   boolean     NOT NULL DEFAULT false
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
ALTER TABLE volt_internal.energy_dirty
  ADD CONSTRAINT energy_dirty_device_type_known CHECK (device_type IN ('vehicle', 'meter'));
CREATE INDEX energy_dirty_from_at_idx ON volt_internal.energy_dirty (device_type, from_at);
COMMENT ON TABLE volt_internal.energy_dirty IS
  'Periods of devices of which the kept energy must be computed again. Append only and without a key: no writer waits.';
COMMENT ON COLUMN volt_internal.energy_dirty.device_type IS 'vehicle or meter.';
COMMENT ON COLUMN volt_internal.energy_dirty.device_id IS 'The device.';
COMMENT ON COLUMN volt_internal.energy_dirty.from_at IS 'Begin of the period, within one UTC day.';
COMMENT ON COLUMN volt_internal.energy_dirty.to_at IS 'End of the period, excluded.';
COMMENT ON COLUMN volt_internal.energy_dirty.irregular IS 'Whether sums do not tell its energy, so that it is computed by itself.';

CREATE TABLE volt_internal.energy_provisional (
  device_type text        NOT NULL,
  device_id   text        NOT NULL,
  day         timestamptz NOT NULL,
  CONSTRAINT energy_provisional_pkey PRIMARY KEY (device_type, device_id, day)
);
COMMENT ON TABLE volt_internal.energy_provisional IS
  'Device-days with irregular registers: how long a gap is depends on all readings of the day, so they are computed again '
  'once it has ended.';
COMMENT ON COLUMN volt_internal.energy_provisional.device_type IS 'vehicle or meter.';
COMMENT ON COLUMN volt_internal.energy_provisional.device_id IS 'The device.';
COMMENT ON COLUMN volt_internal.energy_provisional.day IS 'Start of the UTC day.';

CREATE TABLE volt_internal.efficiency_hour (
  vehicle_id          text        NOT NULL,
  hour                timestamptz NOT NULL,
  fleet_id            text,
  meter_id            text,
  dc_kwh              numeric,
  ac_kwh              numeric,
  comparable_dc_kwh   numeric,
  comparable_ac_kwh   numeric,
  efficiency_pct      numeric,
  efficiency_low_pct  numeric,
  efficiency_high_pct numeric,
  standby_kwh         numeric     NOT NULL,
  unassigned_kwh      numeric     NOT NULL,
  quality             text        NOT NULL,
  CONSTRAINT efficiency_hour_pkey PRIMARY KEY (vehicle_id, hour)
);
SELECT create_hypertable('volt_internal.efficiency_hour', by_range('hour', INTERVAL '30 days'),
                         create_default_indexes => false);
CREATE INDEX efficiency_hour_hour_brin ON volt_internal.efficiency_hour USING brin (hour)
  WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX efficiency_hour_fleet_id_idx ON volt_internal.efficiency_hour (fleet_id, hour);

CREATE TABLE volt_internal.efficiency_day (
  vehicle_id          text        NOT NULL,
  began_at            timestamptz NOT NULL,
  ended_at            timestamptz NOT NULL,
  day                 date        NOT NULL,
  fleet_id            text,
  meter_id            text,
  dc_kwh              numeric,
  ac_kwh              numeric,
  comparable_dc_kwh   numeric,
  comparable_ac_kwh   numeric,
  efficiency_pct      numeric,
  efficiency_low_pct  numeric,
  efficiency_high_pct numeric,
  standby_kwh         numeric     NOT NULL,
  unassigned_kwh      numeric     NOT NULL,
  quality             text        NOT NULL,
  CONSTRAINT efficiency_day_pkey PRIMARY KEY (vehicle_id, began_at)
);
CREATE INDEX efficiency_day_fleet_id_idx ON volt_internal.efficiency_day (fleet_id, day);
CREATE INDEX efficiency_day_day_idx ON volt_internal.efficiency_day (day);

CREATE TABLE volt_internal.efficiency_dirty (
  vehicle_id text        NOT NULL,
  from_at    timestamptz NOT NULL,
  to_at      timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
COMMENT ON TABLE volt_internal.efficiency_dirty IS
  'Periods of vehicles in which the kept efficiency must be computed again. Append only and without a key.';
COMMENT ON COLUMN volt_internal.efficiency_dirty.vehicle_id IS 'The vehicle.';
COMMENT ON COLUMN volt_internal.efficiency_dirty.from_at IS 'Begin of the period.';
COMMENT ON COLUMN volt_internal.efficiency_dirty.to_at IS 'End of the period, excluded.';

ALTER TABLE volt_internal.rollup_state ADD COLUMN energy_watermark timestamptz NOT NULL DEFAULT '-infinity';
COMMENT ON COLUMN volt_internal.rollup_state.energy_watermark IS
  'Energy of quarter hours before this is kept.';
ALTER TABLE volt_internal.rollup_state ADD COLUMN efficiency_watermark timestamptz NOT NULL DEFAULT '-infinity';
COMMENT ON COLUMN volt_internal.rollup_state.efficiency_watermark IS
  'Hours before this have their efficiency, with all that had been marked until then.';
COMMENT ON TABLE volt_internal.rollup_state IS
  'How far what voltd keeps itself reaches: energy and efficiency, and on the Apache-2 edition the hourly roll-ups.';
ALTER TABLE volt_internal.rollup_state ADD COLUMN raw_since timestamptz;
COMMENT ON COLUMN volt_internal.rollup_state.raw_since IS 'Start of the first chunk of raw readings, as last seen; NULL: none.';
COMMENT ON COLUMN volt_internal.rollup_state.closing_watermark IS
  'Writers mark device-hours of readings before this as dirty; NULL: no quarter hour has been closed yet.';
COMMENT ON TABLE volt_internal.vehicle_rollup_dirty IS 'Vehicle-hours with readings that arrived after a quarter hour had been closed.';
COMMENT ON TABLE volt_internal.meter_rollup_dirty IS 'Meter-hours with readings that arrived after a quarter hour had been closed.';

-- Their columns change; nothing but the idempotent files makes them.
DROP VIEW IF EXISTS volt.efficiency_daily, volt.efficiency_hourly, volt.vehicle_energy_hourly, volt.meter_energy_hourly;
DROP FUNCTION IF EXISTS volt_internal.hour_energy(bigint, numeric, numeric, double precision, double precision);
