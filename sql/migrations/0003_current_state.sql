-- What: the newest known value of every field, one row a device.
-- Why:  each value carries the time it was measured, so the outcome does not depend on the order of arrival. No index
--       on a changing column and room on each page: every update is a HOT update and leaves nothing for vacuum.
-- Lock: none on existing data, the tables are new.

CREATE TABLE volt.vehicle_current (
  vehicle_id               text        NOT NULL,
  recorded_at              timestamptz NOT NULL,
  soc_pct                  double precision,
  soc_at                   timestamptz,
  speed_kmh                double precision,
  speed_at                 timestamptz,
  battery_temp_c           double precision,
  battery_temp_at          timestamptz,
  kwh_delivered_dc         double precision,
  kwh_delivered_dc_at      timestamptz,
  dc_register_kwh          double precision,
  dc_register_at           timestamptz,
  latitude                 double precision,
  longitude                double precision,
  position_at              timestamptz,
  charging_status          text,
  charging_status_at       timestamptz,
  odometer_km              double precision,
  odometer_at              timestamptz,
  diagnostics              jsonb,
  diagnostics_at           timestamptz,
  last_seen_at             timestamptz,
  updated_at               timestamptz NOT NULL DEFAULT now(),
  kwh_returned_dc          double precision,
  kwh_returned_dc_at       timestamptz,
  dc_returned_register_kwh double precision,
  dc_returned_register_at  timestamptz,
  CONSTRAINT vehicle_current_pkey PRIMARY KEY (vehicle_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
        autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE volt.vehicle_current IS
  'Newest known state, one row a vehicle; may trail vehicle_reading by up to a second, never leads it.';
COMMENT ON COLUMN volt.vehicle_current.vehicle_id IS 'The vehicle.';
COMMENT ON COLUMN volt.vehicle_current.recorded_at IS 'Device time of its newest reading.';
COMMENT ON COLUMN volt.vehicle_current.last_seen_at IS
  'When voltd last received a reading that was not retained by the broker; NULL: never seen live.';
COMMENT ON COLUMN volt.vehicle_current.updated_at IS 'When this row last changed.';

CREATE TABLE volt.meter_current (
  meter_id                 text        NOT NULL,
  recorded_at              timestamptz NOT NULL,
  kwh_consumed_ac          double precision,
  kwh_consumed_ac_at       timestamptz,
  ac_register_kwh          double precision,
  ac_register_at           timestamptz,
  voltage_v                double precision,
  voltage_at               timestamptz,
  current_a                double precision,
  current_at               timestamptz,
  power_kw                 double precision,
  power_at                 timestamptz,
  last_seen_at             timestamptz,
  updated_at               timestamptz NOT NULL DEFAULT now(),
  kwh_returned_ac          double precision,
  kwh_returned_ac_at       timestamptz,
  ac_returned_register_kwh double precision,
  ac_returned_register_at  timestamptz,
  CONSTRAINT meter_current_pkey PRIMARY KEY (meter_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
        autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE volt.meter_current IS
  'Newest known state, one row a meter; may trail meter_reading by up to a second, never leads it.';
COMMENT ON COLUMN volt.meter_current.meter_id IS 'The meter.';
COMMENT ON COLUMN volt.meter_current.recorded_at IS 'Device time of its newest reading.';
COMMENT ON COLUMN volt.meter_current.last_seen_at IS
  'When voltd last received a reading that was not retained by the broker; NULL: never seen live.';
COMMENT ON COLUMN volt.meter_current.updated_at IS 'When this row last changed.';
