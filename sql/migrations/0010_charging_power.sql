-- What: the power at which a vehicle charges, in the history and in the current state.
-- Why:  chargers and vehicles report it, and the peak of an hour shows what slowed a charge down.
-- Lock: ACCESS EXCLUSIVE on the readings for a moment; no row is rewritten.

ALTER TABLE volt.vehicle_reading ADD COLUMN charging_power_kw double precision;
ALTER TABLE volt.vehicle_reading ADD CONSTRAINT vehicle_reading_charging_power_kw_range
  CHECK (charging_power_kw BETWEEN -5000 AND 5000) NOT VALID;
ALTER TABLE volt.vehicle_current
  ADD COLUMN charging_power_kw double precision,
  ADD COLUMN charging_power_at timestamptz;
