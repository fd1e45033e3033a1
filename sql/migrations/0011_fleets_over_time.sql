-- What: time zones of fleets, in which fleet a vehicle was when, and several meters for one vehicle at a time.
-- Why:  a vehicle that changes fleets keeps its past in the old one; days are those of the fleet's time zone; a vehicle may
--       charge at home and at the depot. 39_fleets.sql has the triggers that keep the memberships, and fills them in.
-- Lock: ACCESS EXCLUSIVE on fleet and vehicle_meter for a moment; no row of the readings is touched.

ALTER TABLE volt.fleet ADD COLUMN timezone text;
COMMENT ON COLUMN volt.fleet.timezone IS
  'IANA time zone in which the fleet''s days begin, as Europe/Berlin; NULL: the setting timezone (UTC by default).';

ALTER TABLE volt.vehicle_meter
  DROP CONSTRAINT vehicle_meter_no_overlap,
  ADD CONSTRAINT vehicle_meter_no_overlap EXCLUDE USING gist (vehicle_id WITH =, meter_id WITH =, valid WITH &&);
COMMENT ON TABLE volt.vehicle_meter IS
  'Which meters fed which vehicle, when; several at a time are allowed, the same pair twice at a time is not. No foreign '
  'keys: neither needs to be registered.';
COMMENT ON COLUMN volt.vehicle_meter.meter_id IS 'A meter that fed it.';

-- No foreign key to vehicle: the past of a vehicle outlives its place in the registry, and may be loaded before it.
CREATE TABLE volt.fleet_membership (
  vehicle_id text      NOT NULL,
  fleet_id   text      NOT NULL,
  valid      tstzrange NOT NULL DEFAULT '(,)',
  CONSTRAINT fleet_membership_vehicle_id_length CHECK (length(vehicle_id) BETWEEN 1 AND 64),
  CONSTRAINT fleet_membership_valid_not_empty CHECK (NOT isempty(valid)),
  CONSTRAINT fleet_membership_valid_ends CHECK (isfinite(lower(valid)) IS NOT FALSE AND isfinite(upper(valid)) IS NOT FALSE),
  CONSTRAINT fleet_membership_fleet_fkey FOREIGN KEY (fleet_id) REFERENCES volt.fleet (fleet_id) ON UPDATE CASCADE,
  CONSTRAINT fleet_membership_no_overlap EXCLUDE USING gist (vehicle_id WITH =, valid WITH &&)
);
CREATE INDEX fleet_membership_fleet_id_idx ON volt.fleet_membership (fleet_id);
COMMENT ON TABLE volt.fleet_membership IS
  'In which fleet a vehicle was, when; no overlap per vehicle. Changes of vehicle.fleet_id are recorded here as they are '
  'made; what was before is corrected here.';
COMMENT ON COLUMN volt.fleet_membership.vehicle_id IS 'The vehicle.';
COMMENT ON COLUMN volt.fleet_membership.fleet_id IS 'The fleet it was in.';
COMMENT ON COLUMN volt.fleet_membership.valid IS
  'From when to when. No lower end: always before; no upper end: now, and then it is vehicle.fleet_id.';
