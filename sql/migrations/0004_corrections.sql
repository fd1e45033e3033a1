-- What: the table of the owner's corrections.
-- Why:  a stored value may go from NULL to a value, never back or over. The trigger of the readings holds everybody to
--       it (idempotent/35_append_only.sql); it lets the schema's owner correct a value (SET volt.correction = 'on'), and
--       records that here.
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
