-- What: what the registry may say about how a device measures energy.
-- Why:  energy by quarter hour needs a device's interval, the power that it can have, and the kind of its register; what
--       is NULL is taken from its readings or from the settings.
-- Lock: ACCESS EXCLUSIVE on vehicle and meter for a moment; no row is rewritten.

ALTER TABLE volt.vehicle
  ADD COLUMN interval_s integer,
  ADD COLUMN max_power_kw double precision,
  ADD COLUMN register_kind text NOT NULL DEFAULT 'total',
  ADD CONSTRAINT vehicle_interval_s_range CHECK (interval_s BETWEEN 1 AND 86400),
  ADD CONSTRAINT vehicle_max_power_kw_range CHECK (max_power_kw > 0 AND max_power_kw <= 1e6),
  ADD CONSTRAINT vehicle_register_kind_known CHECK (register_kind IN ('total', 'session'));
COMMENT ON COLUMN volt.vehicle.interval_s IS
  'The time that one reading of interval energy covers, s; NULL: the usual time between its readings on that UTC day.';
COMMENT ON COLUMN volt.vehicle.max_power_kw IS
  'More than this the vehicle cannot take, kW: a register that rises faster counts nothing; NULL: the setting efficiency.max_power_kw.';
COMMENT ON COLUMN volt.vehicle.register_kind IS
  'total: its register of DC energy counts for ever; session: it begins anew with each session.';

ALTER TABLE volt.meter
  ADD COLUMN interval_s integer,
  ADD COLUMN max_power_kw double precision,
  ADD COLUMN register_kind text NOT NULL DEFAULT 'total',
  ADD CONSTRAINT meter_interval_s_range CHECK (interval_s BETWEEN 1 AND 86400),
  ADD CONSTRAINT meter_max_power_kw_range CHECK (max_power_kw > 0 AND max_power_kw <= 1e6),
  ADD CONSTRAINT meter_register_kind_known CHECK (register_kind IN ('total', 'session'));
COMMENT ON COLUMN volt.meter.interval_s IS
  'The time that one reading of interval energy covers, s; NULL: the usual time between its readings on that UTC day.';
COMMENT ON COLUMN volt.meter.max_power_kw IS
  'More than this the meter cannot pass, kW: a register that rises faster counts nothing; NULL: the setting efficiency.max_power_kw.';
COMMENT ON COLUMN volt.meter.register_kind IS
  'total: its register of AC energy counts for ever; session: it begins anew with each session.';
