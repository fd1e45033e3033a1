-- What: what the rules persist between two evaluation cycles, and what writers look for on their behalf.
-- Why:  a cycle writes states and episodes in one transaction, so a kill at any point loses no running duration.
--       excursion is a queue between the transaction of a batch and the cycle: nothing that was beyond a limit between two
--       cycles is missed, and the cycle reads only what may matter. Late readings are queued apart from live ones, so the
--       live ones are found whatever waits. A retained reading is stored like any other; the cycle must know it from the
--       live ones. A daemon with alerts switched off stores readings too: it learns the limits from rule_bounds. Every
--       writer distinguishes late readings from live ones by the same clocks, also right after it has started.
--       alert_state has an index on its episode, which the foreign key needs where retention deletes episodes.
-- Lock: none on existing data, the tables are new.

CREATE TABLE volt_internal.alert_state (
  rule         text  NOT NULL,
  device_type  text  NOT NULL,
  device_id    text  NOT NULL,
  alert_id     bigint,
  phase        text  NOT NULL,
  evaluated_at timestamptz,
  state        jsonb NOT NULL,
  CONSTRAINT alert_state_pkey PRIMARY KEY (rule, device_type, device_id),
  CONSTRAINT alert_state_alert_fkey FOREIGN KEY (alert_id) REFERENCES volt.alert (alert_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
CREATE INDEX alert_state_alert_idx ON volt_internal.alert_state (alert_id) WHERE alert_id IS NOT NULL;
COMMENT ON TABLE volt_internal.alert_state IS 'State of a rule and a device between two evaluation cycles; no row: inactive.';
COMMENT ON COLUMN volt_internal.alert_state.rule IS 'Name of the rule.';
COMMENT ON COLUMN volt_internal.alert_state.device_type IS 'vehicle, meter or system.';
COMMENT ON COLUMN volt_internal.alert_state.device_id IS 'The device.';
COMMENT ON COLUMN volt_internal.alert_state.alert_id IS 'The open episode; NULL: none is open.';
COMMENT ON COLUMN volt_internal.alert_state.phase IS 'pending, firing or resolved.';
COMMENT ON COLUMN volt_internal.alert_state.evaluated_at IS 'Device time of the newest reading evaluated; for staleness the last sign of life.';
COMMENT ON COLUMN volt_internal.alert_state.state IS 'The state as voltd reads it.';

CREATE TABLE volt_internal.alert_progress (
  only_row         boolean NOT NULL DEFAULT true,
  epoch            bigint  NOT NULL DEFAULT 0,
  efficiency_until timestamptz,
  healthy_since    timestamptz,
  healthy_at       timestamptz,
  CONSTRAINT alert_progress_pkey PRIMARY KEY (only_row),
  CONSTRAINT alert_progress_one_row CHECK (only_row)
);
INSERT INTO volt_internal.alert_progress DEFAULT VALUES;
COMMENT ON TABLE volt_internal.alert_progress IS 'How far the evaluation of the rules has come.';
COMMENT ON COLUMN volt_internal.alert_progress.only_row IS 'Always true: the table has one row.';
COMMENT ON COLUMN volt_internal.alert_progress.epoch IS
  'Counts the evaluation cycles that wrote something: a daemon that no longer leads finds another number than its own.';
COMMENT ON COLUMN volt_internal.alert_progress.efficiency_until IS 'Hours before this have been evaluated.';
COMMENT ON COLUMN volt_internal.alert_progress.healthy_since IS 'Healthy streak: since when broker, voltd and database have all been there.';
COMMENT ON COLUMN volt_internal.alert_progress.healthy_at IS 'When healthy_since was last confirmed.';

CREATE TABLE volt_internal.excursion (
  excursion_id bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
  vehicle_id   text        NOT NULL,
  since        timestamptz NOT NULL,
  received_at  timestamptz NOT NULL,
  late         boolean     NOT NULL,
  until        timestamptz,
  CONSTRAINT excursion_pkey PRIMARY KEY (excursion_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX excursion_live_idx ON volt_internal.excursion (excursion_id) WHERE NOT late;
COMMENT ON TABLE volt_internal.excursion IS 'Queue: vehicles with new readings beyond a limit of a rule, until the next evaluation cycle takes them.';
COMMENT ON COLUMN volt_internal.excursion.excursion_id IS 'Number.';
COMMENT ON COLUMN volt_internal.excursion.vehicle_id IS 'The vehicle.';
COMMENT ON COLUMN volt_internal.excursion.since IS 'Device time of the earliest of these readings in its batch, late and live ones apart.';
COMMENT ON COLUMN volt_internal.excursion.received_at IS 'When voltd received the first of these readings.';
COMMENT ON COLUMN volt_internal.excursion.late IS 'They arrived too late to notify anybody.';
COMMENT ON COLUMN volt_internal.excursion.until IS 'Device time of the latest of these readings; NULL: as since.';

CREATE TABLE volt.retained_reading (
  vehicle_id  text        NOT NULL,
  recorded_at timestamptz NOT NULL,
  received_at timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX retained_reading_idx ON volt.retained_reading (vehicle_id, recorded_at);
COMMENT ON TABLE volt.retained_reading IS
  'Readings of the last days that the broker had retained: stored like others, but not evaluated as live.';
COMMENT ON COLUMN volt.retained_reading.vehicle_id IS 'The vehicle.';
COMMENT ON COLUMN volt.retained_reading.recorded_at IS 'Device time of the reading.';
COMMENT ON COLUMN volt.retained_reading.received_at IS
  'When voltd received it; a stored reading with another arrival was live before.';

CREATE TABLE volt_internal.rule_bounds (
  only_row     boolean NOT NULL DEFAULT true,
  bounds       jsonb NOT NULL,
  late_after_s double precision NOT NULL,
  published_at timestamptz NOT NULL,
  CONSTRAINT rule_bounds_pkey PRIMARY KEY (only_row),
  CONSTRAINT rule_bounds_one_row CHECK (only_row)
) WITH (fillfactor = 50);
COMMENT ON TABLE volt_internal.rule_bounds IS 'Limits of the rules in force: writers queue readings beyond these in excursion.';
COMMENT ON COLUMN volt_internal.rule_bounds.only_row IS 'Always true: the table has one row at most; no row: nobody evaluates rules.';
COMMENT ON COLUMN volt_internal.rule_bounds.bounds IS
  'Array of [column of vehicle_reading, below, above]: in between (NULL: no bound) no rule fires.';
COMMENT ON COLUMN volt_internal.rule_bounds.late_after_s IS 'A reading that is older than this when it is stored, s, is late.';
COMMENT ON COLUMN volt_internal.rule_bounds.published_at IS 'When the daemon that evaluates the rules last published them.';

CREATE TABLE volt.device_clock (
  device_type text             NOT NULL,
  device_id   text             NOT NULL,
  behind_s    double precision NOT NULL,
  certain_at  timestamptz      NOT NULL DEFAULT now(),
  CONSTRAINT device_clock_pkey PRIMARY KEY (device_type, device_id),
  CONSTRAINT device_clock_device_type_known CHECK (device_type IN ('vehicle', 'meter')),
  CONSTRAINT device_clock_is_behind CHECK (behind_s > 0)
);
COMMENT ON TABLE volt.device_clock IS
  'Devices whose clocks are known to be more than a minute behind; no row: the clock is right, ahead or not known.';
COMMENT ON COLUMN volt.device_clock.device_type IS 'vehicle or meter.';
COMMENT ON COLUMN volt.device_clock.device_id IS 'The device.';
COMMENT ON COLUMN volt.device_clock.behind_s IS
  'How far its clock is behind, s; recorded_at plus this is about when a reading was measured.';
COMMENT ON COLUMN volt.device_clock.certain_at IS 'When voltd established this value.';
