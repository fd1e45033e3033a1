-- What: "append only": triggers that refuse a change of a stored value, and the table of the owner's corrections.
-- Why:  two messages of one device and one time belong together: what the stored reading lacks is filled in from the
--       later one. "Append only" then means: a value may go from NULL to a value, never back or over. The triggers hold
--       everybody to it; their conditions are checked without a function call, so filling in costs next to nothing. The
--       schema's owner may correct a value (SET volt.correction = 'on'); the trigger records that.
-- Lock: none on existing data, the tables are new.

CREATE TABLE volt.correction (
  correction_id bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
  device_type   text        NOT NULL,
  device_id     text        NOT NULL,
  recorded_at   timestamptz NOT NULL,
  field         text        NOT NULL,
  old_value     jsonb,
  new_value     jsonb,
  corrected_at  timestamptz NOT NULL DEFAULT now(),
  corrected_by  text        NOT NULL DEFAULT session_user,
  CONSTRAINT correction_pkey PRIMARY KEY (correction_id),
  CONSTRAINT correction_device_type_known CHECK (device_type IN ('vehicle', 'meter'))
);
CREATE INDEX correction_reading_idx ON volt.correction (device_type, device_id, recorded_at);
COMMENT ON TABLE volt.correction IS 'Corrections of stored values by the owner, one row a value; written by the trigger of the readings.';
COMMENT ON COLUMN volt.correction.correction_id IS 'Number.';
COMMENT ON COLUMN volt.correction.device_type IS 'vehicle or meter.';
COMMENT ON COLUMN volt.correction.device_id IS 'The device.';
COMMENT ON COLUMN volt.correction.recorded_at IS 'Device time of the reading.';
COMMENT ON COLUMN volt.correction.field IS 'Column of vehicle_reading or meter_reading.';
COMMENT ON COLUMN volt.correction.old_value IS 'What was stored before, in the unit of the column.';
COMMENT ON COLUMN volt.correction.new_value IS 'What is stored now; JSON null: nothing.';
COMMENT ON COLUMN volt.correction.corrected_at IS 'When it was corrected.';
COMMENT ON COLUMN volt.correction.corrected_by IS 'Database user who did it.';

-- The idempotent file 35_append_only replaces this body, which is only needed for the triggers below.
CREATE FUNCTION volt.guard_reading() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE restrict_violation USING MESSAGE = 'a stored value never changes';
END $$;

CREATE TRIGGER vehicle_reading_append_only BEFORE UPDATE ON volt.vehicle_reading FOR EACH ROW
WHEN (
  NEW.vehicle_id <> OLD.vehicle_id OR NEW.recorded_at <> OLD.recorded_at OR NEW.received_at <> OLD.received_at
  OR (OLD.filled_at IS NOT NULL AND NEW.filled_at IS NULL)
  OR (OLD.soc_pct IS NOT NULL AND NEW.soc_pct IS DISTINCT FROM OLD.soc_pct)
  OR (OLD.speed_kmh IS NOT NULL AND NEW.speed_kmh IS DISTINCT FROM OLD.speed_kmh)
  OR (OLD.battery_temp_c IS NOT NULL AND NEW.battery_temp_c IS DISTINCT FROM OLD.battery_temp_c)
  OR (OLD.kwh_delivered_dc IS NOT NULL AND NEW.kwh_delivered_dc IS DISTINCT FROM OLD.kwh_delivered_dc)
  OR (OLD.dc_register_kwh IS NOT NULL AND NEW.dc_register_kwh IS DISTINCT FROM OLD.dc_register_kwh)
  OR (OLD.latitude IS NOT NULL AND NEW.latitude IS DISTINCT FROM OLD.latitude)
  OR (OLD.longitude IS NOT NULL AND NEW.longitude IS DISTINCT FROM OLD.longitude)
  OR (OLD.charging_status IS NOT NULL AND NEW.charging_status IS DISTINCT FROM OLD.charging_status)
  OR (OLD.odometer_km IS NOT NULL AND NEW.odometer_km IS DISTINCT FROM OLD.odometer_km)
  OR (OLD.diagnostics IS NOT NULL AND NEW.diagnostics IS DISTINCT FROM OLD.diagnostics)
  OR (OLD.kwh_returned_dc IS NOT NULL AND NEW.kwh_returned_dc IS DISTINCT FROM OLD.kwh_returned_dc)
  OR (OLD.dc_returned_register_kwh IS NOT NULL
      AND NEW.dc_returned_register_kwh IS DISTINCT FROM OLD.dc_returned_register_kwh)
)
EXECUTE FUNCTION volt.guard_reading('vehicle');

CREATE TRIGGER meter_reading_append_only BEFORE UPDATE ON volt.meter_reading FOR EACH ROW
WHEN (
  NEW.meter_id <> OLD.meter_id OR NEW.recorded_at <> OLD.recorded_at OR NEW.received_at <> OLD.received_at
  OR (OLD.filled_at IS NOT NULL AND NEW.filled_at IS NULL)
  OR (OLD.kwh_consumed_ac IS NOT NULL AND NEW.kwh_consumed_ac IS DISTINCT FROM OLD.kwh_consumed_ac)
  OR (OLD.ac_register_kwh IS NOT NULL AND NEW.ac_register_kwh IS DISTINCT FROM OLD.ac_register_kwh)
  OR (OLD.voltage_v IS NOT NULL AND NEW.voltage_v IS DISTINCT FROM OLD.voltage_v)
  OR (OLD.current_a IS NOT NULL AND NEW.current_a IS DISTINCT FROM OLD.current_a)
  OR (OLD.power_kw IS NOT NULL AND NEW.power_kw IS DISTINCT FROM OLD.power_kw)
  OR (OLD.kwh_returned_ac IS NOT NULL AND NEW.kwh_returned_ac IS DISTINCT FROM OLD.kwh_returned_ac)
  OR (OLD.ac_returned_register_kwh IS NOT NULL
      AND NEW.ac_returned_register_kwh IS DISTINCT FROM OLD.ac_returned_register_kwh)
)
EXECUTE FUNCTION volt.guard_reading('meter');
