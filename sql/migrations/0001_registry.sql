-- What: the registry (fleet, vehicle, meter) and which meter fed which vehicle, when.
-- Why:  efficiency joins a vehicle's DC energy with the AC energy of the meter linked to it at that time. Rules skip
--       devices that are retired or in maintenance.
-- Lock: none on existing data, the tables are new.

CREATE TABLE volt.fleet (
  fleet_id text NOT NULL,
  name     text NOT NULL DEFAULT '',
  manager  text,
  CONSTRAINT fleet_pkey PRIMARY KEY (fleet_id),
  CONSTRAINT fleet_fleet_id_length CHECK (length(fleet_id) BETWEEN 1 AND 64)
);
COMMENT ON TABLE volt.fleet IS 'Groups of vehicles that are run together.';
COMMENT ON COLUMN volt.fleet.fleet_id IS 'Id of the fleet, 1-64 characters; part of MQTT topics.';
COMMENT ON COLUMN volt.fleet.name IS 'Display name.';
COMMENT ON COLUMN volt.fleet.manager IS 'Who answers for the fleet.';

CREATE TABLE volt.vehicle (
  vehicle_id text NOT NULL,
  fleet_id   text,
  vin        text,
  model      text,
  status     text NOT NULL DEFAULT 'active',
  CONSTRAINT vehicle_pkey PRIMARY KEY (vehicle_id),
  CONSTRAINT vehicle_vehicle_id_length CHECK (length(vehicle_id) BETWEEN 1 AND 64),
  CONSTRAINT vehicle_status_known CHECK (status IN ('active', 'maintenance', 'retired')),
  CONSTRAINT vehicle_fleet_fkey FOREIGN KEY (fleet_id) REFERENCES volt.fleet (fleet_id) ON UPDATE CASCADE
);
CREATE INDEX vehicle_fleet_id_idx ON volt.vehicle (fleet_id);
COMMENT ON TABLE volt.vehicle IS 'Registered vehicles. A vehicle need not be registered to be stored.';
COMMENT ON COLUMN volt.vehicle.vehicle_id IS 'Id the vehicle publishes under, 1-64 characters.';
COMMENT ON COLUMN volt.vehicle.fleet_id IS 'Fleet it belongs to now; NULL: none.';
COMMENT ON COLUMN volt.vehicle.vin IS 'Vehicle identification number.';
COMMENT ON COLUMN volt.vehicle.model IS 'Make and model.';
COMMENT ON COLUMN volt.vehicle.status IS 'active, maintenance or retired.';

CREATE TABLE volt.meter (
  meter_id text NOT NULL,
  location text,
  status   text NOT NULL DEFAULT 'active',
  CONSTRAINT meter_pkey PRIMARY KEY (meter_id),
  CONSTRAINT meter_meter_id_length CHECK (length(meter_id) BETWEEN 1 AND 64),
  CONSTRAINT meter_status_known CHECK (status IN ('active', 'maintenance', 'retired'))
);
COMMENT ON TABLE volt.meter IS 'Registered meters. A meter need not be registered to be stored.';
COMMENT ON COLUMN volt.meter.meter_id IS 'Id the meter publishes under, 1-64 characters.';
COMMENT ON COLUMN volt.meter.location IS 'Where it is, free text.';
COMMENT ON COLUMN volt.meter.status IS 'active, maintenance or retired.';

-- No foreign keys to vehicle and meter: links may be loaded before the registry, and devices need not be registered.
CREATE TABLE volt.vehicle_meter (
  vehicle_id text      NOT NULL,
  meter_id   text      NOT NULL,
  location   text,
  valid      tstzrange NOT NULL DEFAULT '(,)',
  CONSTRAINT vehicle_meter_vehicle_id_length CHECK (length(vehicle_id) BETWEEN 1 AND 64),
  CONSTRAINT vehicle_meter_meter_id_length CHECK (length(meter_id) BETWEEN 1 AND 64),
  CONSTRAINT vehicle_meter_valid_not_empty CHECK (NOT isempty(valid)),
  CONSTRAINT vehicle_meter_no_overlap EXCLUDE USING gist (vehicle_id WITH =, valid WITH &&)
);
CREATE INDEX vehicle_meter_meter_id_idx ON volt.vehicle_meter (meter_id);
COMMENT ON TABLE volt.vehicle_meter IS
  'Which meter fed which vehicle, when; no overlap per vehicle. No foreign keys: neither needs to be registered.';
COMMENT ON COLUMN volt.vehicle_meter.vehicle_id IS 'The vehicle that was fed.';
COMMENT ON COLUMN volt.vehicle_meter.meter_id IS 'The meter that fed it.';
COMMENT ON COLUMN volt.vehicle_meter.location IS 'Where that happened, free text.';
COMMENT ON COLUMN volt.vehicle_meter.valid IS 'From when to when; unbounded: always. Counts for every hour it overlaps.';
