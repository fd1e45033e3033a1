-- What: who dated a reading, and the AC register of a vehicle's on-board charger, in the history and in the current state.
-- Why:  many devices send values without a time: such a reading is dated by its arrival, which everybody must be able to
--       see. Some vehicles count the AC energy that their charger takes.
-- Lock: ACCESS EXCLUSIVE on the readings for a moment; no row is rewritten.

ALTER TABLE volt.vehicle_reading
  ADD COLUMN ac_register_kwh double precision,
  ADD COLUMN time_source text;
ALTER TABLE volt.vehicle_reading ADD CONSTRAINT vehicle_reading_ac_register_kwh_range
  CHECK (ac_register_kwh BETWEEN 0 AND 1e9) NOT VALID;
ALTER TABLE volt.meter_reading ADD COLUMN time_source text;
ALTER TABLE volt.vehicle_current
  ADD COLUMN ac_register_kwh double precision,
  ADD COLUMN ac_register_at timestamptz,
  ADD COLUMN time_source text,
  ADD COLUMN time_source_at timestamptz;
ALTER TABLE volt.meter_current
  ADD COLUMN time_source text,
  ADD COLUMN time_source_at timestamptz;
