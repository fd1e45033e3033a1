-- What: how far each daemon has brought the current state.
-- Why:  after a crash it heals the current state from the readings it received since, and from no others.
-- Lock: none on existing data, the table is new.

CREATE TABLE volt.ingest_state (
  instance      text        NOT NULL,
  current_until timestamptz NOT NULL,
  CONSTRAINT ingest_state_pkey PRIMARY KEY (instance)
);
COMMENT ON TABLE volt.ingest_state IS 'How far each daemon (setting instance) has brought the current state.';
COMMENT ON COLUMN volt.ingest_state.instance IS 'The daemon''s setting instance.';
COMMENT ON COLUMN volt.ingest_state.current_until IS
  'Readings this daemon received up to this time are in vehicle_current and meter_current.';
GRANT SELECT, INSERT, UPDATE ON volt.ingest_state TO volt_writer;
