-- What: raw history as hypertables, one day a chunk.
-- Why:  the natural key (device, recorded_at) makes a redelivery a no-op; the checks mirror the wire contract, and
--       1e9 bounds every otherwise unbounded number so that sums stay finite. Constraint names appear in dead letters.
--       The primary key serves "one device over time"; one BRIN a table serves "everything since" (roll-ups read by
--       recorded_at, healing of the current state reads by received_at) at next to no cost for COPY. filled_at has an
--       index where it is set, so that the healing finds readings that a later message has filled in.
-- Lock: none on existing data, the tables are new.

CREATE TABLE volt.vehicle_reading (
  vehicle_id               text             NOT NULL,
  recorded_at              timestamptz      NOT NULL,
  soc_pct                  double precision,
  speed_kmh                double precision,
  battery_temp_c           double precision,
  kwh_delivered_dc         double precision,
  dc_register_kwh          double precision,
  latitude                 double precision,
  longitude                double precision,
  charging_status          text,
  odometer_km              double precision,
  diagnostics              jsonb,
  received_at              timestamptz      NOT NULL,
  kwh_returned_dc          double precision,
  dc_returned_register_kwh double precision,
  filled_at                timestamptz,
  CONSTRAINT vehicle_reading_pkey PRIMARY KEY (vehicle_id, recorded_at),
  CONSTRAINT vehicle_reading_vehicle_id_length CHECK (length(vehicle_id) BETWEEN 1 AND 64),
  CONSTRAINT vehicle_reading_soc_pct_range CHECK (soc_pct BETWEEN 0 AND 100),
  CONSTRAINT vehicle_reading_speed_kmh_range CHECK (speed_kmh BETWEEN 0 AND 400),
  CONSTRAINT vehicle_reading_battery_temp_c_range CHECK (battery_temp_c BETWEEN -60 AND 200),
  CONSTRAINT vehicle_reading_kwh_delivered_dc_range CHECK (kwh_delivered_dc BETWEEN 0 AND 1e9),
  CONSTRAINT vehicle_reading_dc_register_kwh_range CHECK (dc_register_kwh BETWEEN 0 AND 1e9),
  CONSTRAINT vehicle_reading_latitude_range CHECK (latitude BETWEEN -90 AND 90),
  CONSTRAINT vehicle_reading_longitude_range CHECK (longitude BETWEEN -180 AND 180),
  CONSTRAINT vehicle_reading_charging_status_length CHECK (length(charging_status) <= 32),
  CONSTRAINT vehicle_reading_odometer_km_range CHECK (odometer_km BETWEEN 0 AND 1e9),
  CONSTRAINT vehicle_reading_kwh_returned_dc_range CHECK (kwh_returned_dc BETWEEN 0 AND 1e9),
  CONSTRAINT vehicle_reading_dc_returned_register_kwh_range
    CHECK (dc_returned_register_kwh BETWEEN 0 AND 1e9)
);
SELECT create_hypertable('volt.vehicle_reading', by_range('recorded_at', INTERVAL '1 day'),
                         create_default_indexes => false);
CREATE INDEX vehicle_reading_times_brin ON volt.vehicle_reading USING brin (recorded_at, received_at)
  WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX vehicle_reading_filled_at_idx ON volt.vehicle_reading (filled_at) WHERE filled_at IS NOT NULL;
COMMENT ON TABLE volt.vehicle_reading IS
  'Raw history of vehicles, one row a device and time, one day a chunk (UTC). Append only: a value may go from NULL to a '
  'value, nothing else; the owner''s corrections are in volt.correction.';
COMMENT ON COLUMN volt.vehicle_reading.vehicle_id IS 'Vehicle that measured, 1-64 characters.';
COMMENT ON COLUMN volt.vehicle_reading.recorded_at IS 'When the vehicle measured, by its own clock.';
COMMENT ON COLUMN volt.vehicle_reading.received_at IS 'When voltd received it.';
COMMENT ON COLUMN volt.vehicle_reading.filled_at IS
  'When voltd received the last message that filled in a missing value; NULL: none did after the reading was stored.';

CREATE TABLE volt.meter_reading (
  meter_id                 text             NOT NULL,
  recorded_at              timestamptz      NOT NULL,
  kwh_consumed_ac          double precision,
  ac_register_kwh          double precision,
  voltage_v                double precision,
  current_a                double precision,
  power_kw                 double precision,
  received_at              timestamptz      NOT NULL,
  kwh_returned_ac          double precision,
  ac_returned_register_kwh double precision,
  filled_at                timestamptz,
  CONSTRAINT meter_reading_pkey PRIMARY KEY (meter_id, recorded_at),
  CONSTRAINT meter_reading_meter_id_length CHECK (length(meter_id) BETWEEN 1 AND 64),
  CONSTRAINT meter_reading_kwh_consumed_ac_range CHECK (kwh_consumed_ac BETWEEN 0 AND 1e9),
  CONSTRAINT meter_reading_ac_register_kwh_range CHECK (ac_register_kwh BETWEEN 0 AND 1e9),
  CONSTRAINT meter_reading_voltage_v_range CHECK (voltage_v BETWEEN 0 AND 1000),
  CONSTRAINT meter_reading_current_a_range CHECK (current_a BETWEEN -1e9 AND 1e9),
  CONSTRAINT meter_reading_power_kw_range CHECK (power_kw BETWEEN -1e9 AND 1e9),
  CONSTRAINT meter_reading_kwh_returned_ac_range CHECK (kwh_returned_ac BETWEEN 0 AND 1e9),
  CONSTRAINT meter_reading_ac_returned_register_kwh_range CHECK (ac_returned_register_kwh BETWEEN 0 AND 1e9)
);
SELECT create_hypertable('volt.meter_reading', by_range('recorded_at', INTERVAL '1 day'),
                         create_default_indexes => false);
CREATE INDEX meter_reading_times_brin ON volt.meter_reading USING brin (recorded_at, received_at)
  WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX meter_reading_filled_at_idx ON volt.meter_reading (filled_at) WHERE filled_at IS NOT NULL;
COMMENT ON TABLE volt.meter_reading IS
  'Raw history of meters, one row a device and time, one day a chunk (UTC). Append only: a value may go from NULL to a '
  'value, nothing else; the owner''s corrections are in volt.correction.';
COMMENT ON COLUMN volt.meter_reading.meter_id IS 'Meter that measured, 1-64 characters.';
COMMENT ON COLUMN volt.meter_reading.recorded_at IS 'When the meter measured, by its own clock.';
COMMENT ON COLUMN volt.meter_reading.received_at IS 'When voltd received it.';
COMMENT ON COLUMN volt.meter_reading.filled_at IS
  'When voltd received the last message that filled in a missing value; NULL: none did after the reading was stored.';
