-- What: who dated a reading, and the AC register of a vehicle's on-board charger, in the history and in the current state;
--       which pseudonyms are of one vehicle.
-- Why:  many devices send values without a time: such a reading is dated by its arrival, which everybody must be able to
--       see. Some vehicles count the AC energy that their charger takes. With a new key a vehicle has a new pseudonym.
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

CREATE TABLE volt_internal.pseudonym_change (
  previous  text        NOT NULL,
  current   text        NOT NULL,
  noted_at  timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT pseudonym_change_pkey PRIMARY KEY (previous)
);
COMMENT ON TABLE volt_internal.pseudonym_change IS
  'After a change of the key of pseudonyms: which ones are of the same vehicle. Only the owner may read it.';
COMMENT ON COLUMN volt_internal.pseudonym_change.previous IS 'The pseudonym by the key before.';
COMMENT ON COLUMN volt_internal.pseudonym_change.current IS 'The pseudonym by the new key.';
COMMENT ON COLUMN volt_internal.pseudonym_change.noted_at IS 'When the vehicle was first heard with the new key.';
