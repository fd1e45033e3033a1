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
COMMENT ON COLUMN volt.vehicle_current.soc_pct IS 'State of charge, %.';
COMMENT ON COLUMN volt.vehicle_current.soc_at IS 'When soc_pct was measured.';
COMMENT ON COLUMN volt.vehicle_current.speed_kmh IS 'Speed, km/h.';
COMMENT ON COLUMN volt.vehicle_current.speed_at IS 'When speed_kmh was measured.';
COMMENT ON COLUMN volt.vehicle_current.battery_temp_c IS 'Battery temperature, degrees Celsius.';
COMMENT ON COLUMN volt.vehicle_current.battery_temp_at IS 'When battery_temp_c was measured.';
COMMENT ON COLUMN volt.vehicle_current.kwh_delivered_dc IS 'DC energy of the last interval, kWh.';
COMMENT ON COLUMN volt.vehicle_current.kwh_delivered_dc_at IS 'When kwh_delivered_dc was measured.';
COMMENT ON COLUMN volt.vehicle_current.dc_register_kwh IS 'Cumulative register of delivered DC energy, kWh.';
COMMENT ON COLUMN volt.vehicle_current.dc_register_at IS 'When dc_register_kwh was measured.';
COMMENT ON COLUMN volt.vehicle_current.latitude IS 'Latitude, degrees WGS 84.';
COMMENT ON COLUMN volt.vehicle_current.longitude IS 'Longitude, degrees WGS 84.';
COMMENT ON COLUMN volt.vehicle_current.position_at IS 'When latitude and longitude were measured, both in one reading.';
COMMENT ON COLUMN volt.vehicle_current.charging_status IS 'Charging status as the vehicle calls it.';
COMMENT ON COLUMN volt.vehicle_current.charging_status_at IS 'When charging_status was reported.';
COMMENT ON COLUMN volt.vehicle_current.odometer_km IS 'Odometer, km.';
COMMENT ON COLUMN volt.vehicle_current.odometer_at IS 'When odometer_km was measured.';
COMMENT ON COLUMN volt.vehicle_current.diagnostics IS 'Newest diagnostics object.';
COMMENT ON COLUMN volt.vehicle_current.diagnostics_at IS 'When diagnostics was reported.';
COMMENT ON COLUMN volt.vehicle_current.last_seen_at IS
  'When voltd last received a reading that was not retained by the broker; NULL: never seen live.';
COMMENT ON COLUMN volt.vehicle_current.updated_at IS 'When this row last changed.';
COMMENT ON COLUMN volt.vehicle_current.kwh_returned_dc IS 'DC energy taken out of the battery in the last interval, kWh.';
COMMENT ON COLUMN volt.vehicle_current.kwh_returned_dc_at IS 'When kwh_returned_dc was measured.';
COMMENT ON COLUMN volt.vehicle_current.dc_returned_register_kwh IS
  'Cumulative register of DC energy taken out of the battery, kWh.';
COMMENT ON COLUMN volt.vehicle_current.dc_returned_register_at IS 'When dc_returned_register_kwh was measured.';

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
COMMENT ON COLUMN volt.meter_current.kwh_consumed_ac IS 'AC energy of the last interval, kWh.';
COMMENT ON COLUMN volt.meter_current.kwh_consumed_ac_at IS 'When kwh_consumed_ac was measured.';
COMMENT ON COLUMN volt.meter_current.ac_register_kwh IS 'Cumulative register of consumed AC energy, kWh.';
COMMENT ON COLUMN volt.meter_current.ac_register_at IS 'When ac_register_kwh was measured.';
COMMENT ON COLUMN volt.meter_current.voltage_v IS 'Voltage, V.';
COMMENT ON COLUMN volt.meter_current.voltage_at IS 'When voltage_v was measured.';
COMMENT ON COLUMN volt.meter_current.current_a IS 'Current, A.';
COMMENT ON COLUMN volt.meter_current.current_at IS 'When current_a was measured.';
COMMENT ON COLUMN volt.meter_current.power_kw IS 'Power, kW.';
COMMENT ON COLUMN volt.meter_current.power_at IS 'When power_kw was measured.';
COMMENT ON COLUMN volt.meter_current.last_seen_at IS
  'When voltd last received a reading that was not retained by the broker; NULL: never seen live.';
COMMENT ON COLUMN volt.meter_current.updated_at IS 'When this row last changed.';
COMMENT ON COLUMN volt.meter_current.kwh_returned_ac IS 'AC energy fed back into the grid in the last interval, kWh.';
COMMENT ON COLUMN volt.meter_current.kwh_returned_ac_at IS 'When kwh_returned_ac was measured.';
COMMENT ON COLUMN volt.meter_current.ac_returned_register_kwh IS
  'Cumulative register of AC energy fed back into the grid, kWh.';
COMMENT ON COLUMN volt.meter_current.ac_returned_register_at IS 'When ac_returned_register_kwh was measured.';
