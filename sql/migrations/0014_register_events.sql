-- What: decisions of people on readings of registers.
-- Why:  what voltd takes a jump of a register for may be wrong; whoever knows better says so, and every figure follows.
--       27_register_decisions.sql has the triggers. Functions that have a parameter or a column more from now on are dropped
--       here, as CREATE OR REPLACE would leave the old ones beside the new ones.
-- Lock: none on existing data, the table is new.

CREATE TABLE volt.register_decision (
  device_type text             NOT NULL,
  device_id   text             NOT NULL,
  recorded_at timestamptz      NOT NULL,
  decision    text             NOT NULL,
  start_kwh   double precision,
  decided_at  timestamptz      NOT NULL DEFAULT now(),
  decided_by  text             NOT NULL DEFAULT session_user,
  remark      text,
  CONSTRAINT register_decision_pkey PRIMARY KEY (device_type, device_id, recorded_at),
  CONSTRAINT register_decision_device_type_known CHECK (device_type IN ('vehicle', 'meter')),
  CONSTRAINT register_decision_decision_known CHECK (decision IN ('reset', 'exchange', 'ignore')),
  CONSTRAINT register_decision_start_kwh_range CHECK (start_kwh BETWEEN 0 AND 1e9),
  CONSTRAINT register_decision_start_kwh_of_exchange CHECK ((decision = 'exchange') = (start_kwh IS NOT NULL))
);
COMMENT ON TABLE volt.register_decision IS
  'What people decided on readings of registers of delivered energy, over what voltd takes them for; '
  'vehicle_register_events and meter_register_events show both.';
COMMENT ON COLUMN volt.register_decision.device_type IS 'vehicle or meter.';
COMMENT ON COLUMN volt.register_decision.device_id IS 'The device.';
COMMENT ON COLUMN volt.register_decision.recorded_at IS 'Device time of the reading that is decided on.';
COMMENT ON COLUMN volt.register_decision.decision IS
  'reset: the register began again at 0, and what it shows counts; exchange: a new meter, which began at start_kwh, and what '
  'it shows above that counts; ignore: this reading is no value.';
COMMENT ON COLUMN volt.register_decision.start_kwh IS 'What the new meter showed as it was put in, kWh; only of an exchange.';
COMMENT ON COLUMN volt.register_decision.decided_at IS 'When it was decided or last changed.';
COMMENT ON COLUMN volt.register_decision.decided_by IS 'Who decided; by default the database user.';
COMMENT ON COLUMN volt.register_decision.remark IS 'Why, for people.';

DROP FUNCTION IF EXISTS
  volt.vehicle_register_events(text, timestamptz, timestamptz),
  volt.meter_register_events(text, timestamptz, timestamptz),
  volt.vehicle_energy_quarters(text, timestamptz, timestamptz),
  volt.meter_energy_quarters(text, timestamptz, timestamptz),
  volt_internal.vehicle_energy_quarters(text, timestamptz, timestamptz),
  volt_internal.meter_energy_quarters(text, timestamptz, timestamptz),
  volt_internal.vehicle_energy_pieces(text, timestamptz, timestamptz),
  volt_internal.meter_energy_pieces(text, timestamptz, timestamptz),
  volt_internal.vehicle_register_curve(text, timestamptz, timestamptz),
  volt_internal.meter_register_curve(text, timestamptz, timestamptz),
  volt_internal.register_curve(timestamptz[], double precision[], numeric, text);
