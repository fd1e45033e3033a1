-- What: energy of on-board chargers by quarter hour, the kind of their registers, decisions on these, and whether an hour or
--       day of efficiency has it as its AC side.
-- Why:  a vehicle that counts the AC energy of its own charger has an efficiency without a meter. Vehicles that sent such a
--       register before have all of their energy computed once. Functions that have a column or a parameter of another type
--       from now on are dropped here, with what stands on them, as CREATE OR REPLACE cannot change that.
-- Lock: ACCESS EXCLUSIVE on vehicle, efficiency_hour, efficiency_day, register_decision and energy_dirty for a moment; no row
--       is rewritten.

CREATE TABLE volt_internal.onboard_quarter (
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
  CONSTRAINT onboard_quarter_pkey PRIMARY KEY (vehicle_id, quarter_hour)
);
SELECT create_hypertable('volt_internal.onboard_quarter', by_range('quarter_hour', INTERVAL '7 days'),
                         create_default_indexes => false);
CREATE INDEX onboard_quarter_quarter_hour_brin ON volt_internal.onboard_quarter USING brin (quarter_hour)
  WITH (pages_per_range = 32, autosummarize = on);

ALTER TABLE volt.vehicle
  ADD COLUMN onboard_register_kind text NOT NULL DEFAULT 'total',
  ADD CONSTRAINT vehicle_onboard_register_kind_known CHECK (onboard_register_kind IN ('total', 'session'));
COMMENT ON COLUMN volt.vehicle.onboard_register_kind IS
  'total: the AC register of its on-board charger counts for ever; session: it begins anew with each session.';

ALTER TABLE volt_internal.efficiency_hour ADD COLUMN onboard boolean NOT NULL DEFAULT false;
ALTER TABLE volt_internal.efficiency_day ADD COLUMN onboard boolean NOT NULL DEFAULT false;

ALTER TABLE volt.register_decision
  DROP CONSTRAINT register_decision_device_type_known,
  ADD CONSTRAINT register_decision_device_type_known CHECK (device_type IN ('vehicle', 'meter', 'onboard'));
COMMENT ON TABLE volt.register_decision IS
  'What people decided on readings of registers of delivered energy and of on-board chargers, over what voltd takes them for; '
  'vehicle_register_events, meter_register_events and onboard_register_events show both.';
COMMENT ON COLUMN volt.register_decision.device_type IS
  'vehicle (its DC register), meter, or onboard (the AC register of a vehicle''s on-board charger).';
COMMENT ON COLUMN volt.register_decision.device_id IS 'The device; of onboard the vehicle.';

ALTER TABLE volt_internal.energy_dirty
  DROP CONSTRAINT energy_dirty_device_type_known,
  ADD CONSTRAINT energy_dirty_device_type_known CHECK (device_type IN ('vehicle', 'meter', 'onboard'));
COMMENT ON COLUMN volt_internal.energy_dirty.device_type IS 'vehicle, meter or onboard.';
COMMENT ON COLUMN volt_internal.energy_dirty.device_id IS 'The device; of onboard the vehicle.';
COMMENT ON COLUMN volt_internal.energy_provisional.device_type IS 'vehicle, meter or onboard.';
COMMENT ON COLUMN volt_internal.energy_provisional.device_id IS 'The device; of onboard the vehicle.';

INSERT INTO volt_internal.energy_dirty (device_type, device_id, from_at, to_at)
SELECT 'onboard', c.vehicle_id, d.at, d.at + INTERVAL '1 day'
FROM volt_internal.rollup_state s
CROSS JOIN volt.vehicle_current c
CROSS JOIN generate_series(
  date_trunc('day', s.raw_since, 'UTC'), now() + INTERVAL '1 day', INTERVAL '1 day') AS d (at)
WHERE c.ac_register_at IS NOT NULL AND isfinite(s.energy_watermark) AND d.at <= c.ac_register_at;

DROP VIEW IF EXISTS volt.efficiency_quarter_hourly;
DROP FUNCTION IF EXISTS
  volt.vehicle_efficiency(text, timestamptz, timestamptz, text, text),
  volt.explain_efficiency(text, timestamptz, timestamptz),
  volt.vehicle_register_events(text, timestamptz, timestamptz),
  volt.meter_register_events(text, timestamptz, timestamptz),
  volt.vehicle_energy_quarters(text, timestamptz, timestamptz),
  volt.meter_energy_quarters(text, timestamptz, timestamptz),
  volt_internal.vehicle_periods(text, timestamptz[], timestamptz[], boolean),
  volt_internal.vehicle_sides(text, timestamptz, timestamptz, boolean),
  volt_internal.kept_figures(text[], timestamptz[], timestamptz[]),
  volt_internal.vehicle_energy_quarters(text, timestamptz, timestamptz, boolean),
  volt_internal.meter_energy_quarters(text, timestamptz, timestamptz, boolean),
  volt_internal.vehicle_energy_pieces(text, timestamptz, timestamptz, boolean),
  volt_internal.meter_energy_pieces(text, timestamptz, timestamptz, boolean),
  volt_internal.vehicle_register_curve(text, timestamptz, timestamptz, boolean),
  volt_internal.meter_register_curve(text, timestamptz, timestamptz, boolean),
  volt_internal.vehicle_flow_reading(boolean),
  volt_internal.meter_flow_reading(boolean);
