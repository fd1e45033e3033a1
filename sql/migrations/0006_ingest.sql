-- What: how far each daemon is (current state, last committed batch, how it is), how often each device reports, and
--       devices of which everything is refused.
-- Why:  after a crash a daemon heals the current state from the readings that it received since, and from no others.
--       Where the answer to a COMMIT is lost, ingest_commit says whether the batch is there; a transaction's number does
--       not, because what a crash took before the WAL reached the disk is forgotten and its number is given again.
--       Of two daemons with one client id the later one ends, and an alert of an outage may be raised by another daemon.
--       A parked vehicle reports every half hour, a driving one every ten seconds: one limit for both is wrong for one of
--       them. A device whose every message is refused is not stale: people would look for a dead one.
-- Lock: none on existing data, the tables are new.

CREATE TABLE volt_internal.ingest_state (
  instance      text        NOT NULL,
  current_until timestamptz NOT NULL,
  CONSTRAINT ingest_state_pkey PRIMARY KEY (instance)
);
COMMENT ON TABLE volt_internal.ingest_state IS 'Up to when each daemon (setting instance) has merged its readings into the current state.';
COMMENT ON COLUMN volt_internal.ingest_state.instance IS 'The daemon''s setting instance.';
COMMENT ON COLUMN volt_internal.ingest_state.current_until IS
  'Readings that this daemon received up to this time are in vehicle_current and meter_current.';

CREATE TABLE volt_internal.ingest_commit (
  writer         text NOT NULL,
  batch          uuid NOT NULL,
  received_until timestamptz,
  CONSTRAINT ingest_commit_pkey PRIMARY KEY (writer)
) WITH (fillfactor = 10);
COMMENT ON TABLE volt_internal.ingest_commit IS 'The last batch that each writer has committed; looked up when the reply to a COMMIT is lost.';
COMMENT ON COLUMN volt_internal.ingest_commit.writer IS 'The client id at the broker, and which of its connections: stream or spool.';
COMMENT ON COLUMN volt_internal.ingest_commit.batch IS 'Random, new for each transaction.';
COMMENT ON COLUMN volt_internal.ingest_commit.received_until IS
  'Latest arrival of a first delivery (no redelivery) that is committed; NULL: none yet.';

CREATE TABLE volt.daemon (
  instance    text             NOT NULL,
  reported_at timestamptz      NOT NULL,
  lag_s       double precision NOT NULL,
  spooling    boolean          NOT NULL,
  healthy     boolean          NOT NULL,
  unwell_at   timestamptz,
  client_id   text,
  host        text,
  pid         bigint,
  started_at  timestamptz,
  trouble     text,
  CONSTRAINT daemon_pkey PRIMARY KEY (instance)
) WITH (fillfactor = 50);
COMMENT ON TABLE volt.daemon IS 'Daemons that run on this database; a daemon deletes its row when it is stopped.';
COMMENT ON COLUMN volt.daemon.instance IS 'The daemon''s setting instance.';
COMMENT ON COLUMN volt.daemon.reported_at IS 'When it last reported; it does every two seconds; long ago: it died.';
COMMENT ON COLUMN volt.daemon.lag_s IS 'How long messages wait for their COMMIT, or the broker has been away, s.';
COMMENT ON COLUMN volt.daemon.spooling IS 'Whether messages go to its spool.';
COMMENT ON COLUMN volt.daemon.healthy IS 'Whether broker and database are connected and no message waits too long.';
COMMENT ON COLUMN volt.daemon.unwell_at IS 'When it was last not healthy; NULL: never since it started.';
COMMENT ON COLUMN volt.daemon.client_id IS 'Its MQTT client id; NULL, like the next three: not reported.';
COMMENT ON COLUMN volt.daemon.host IS 'Name of its host.';
COMMENT ON COLUMN volt.daemon.pid IS 'Its process id on that host, or in its container.';
COMMENT ON COLUMN volt.daemon.started_at IS 'When it started, by its host''s clock.';
COMMENT ON COLUMN volt.daemon.trouble IS
  'What keeps it from taking messages, and what to do; NULL: nothing that it knows of.';

CREATE TABLE volt_internal.device_rhythm (
  device_type       text NOT NULL,
  device_id         text NOT NULL,
  longest_s         real,
  usual_s           real,
  noted_at          timestamptz,
  driving_longest_s real,
  driving_usual_s   real,
  driving_noted_at  timestamptz,
  moved_at          timestamptz,
  known_since       timestamptz,
  CONSTRAINT device_rhythm_pkey PRIMARY KEY (device_type, device_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
COMMENT ON TABLE volt_internal.device_rhythm IS
  'Usual interval between two signs of life of each device, while driving and otherwise; written when it changes.';
COMMENT ON COLUMN volt_internal.device_rhythm.device_type IS 'vehicle or meter.';
COMMENT ON COLUMN volt_internal.device_rhythm.device_id IS 'The device.';
COMMENT ON COLUMN volt_internal.device_rhythm.longest_s IS 'Longest interval while not driving, s, as of noted_at; halves every week.';
COMMENT ON COLUMN volt_internal.device_rhythm.usual_s IS
  'Second longest interval, s, as of noted_at, so that a single outage does not count as usual; halves every week. '
  'NULL: not known yet.';
COMMENT ON COLUMN volt_internal.device_rhythm.noted_at IS 'When longest_s and usual_s last changed.';
COMMENT ON COLUMN volt_internal.device_rhythm.driving_longest_s IS 'The same for intervals that began while it drove.';
COMMENT ON COLUMN volt_internal.device_rhythm.driving_usual_s IS 'The same for intervals that began while it drove.';
COMMENT ON COLUMN volt_internal.device_rhythm.driving_noted_at IS 'When the two last changed.';
COMMENT ON COLUMN volt_internal.device_rhythm.moved_at IS 'When it last reported that it drives, to within ten minutes; NULL: never.';
COMMENT ON COLUMN volt_internal.device_rhythm.known_since IS
  'When an interval while not driving was first recorded; NULL: no later than noted_at.';

CREATE TABLE volt_internal.refused_device (
  device_type text        NOT NULL,
  device_id   text        NOT NULL,
  since       timestamptz NOT NULL,
  last_at     timestamptz NOT NULL,
  reason      text        NOT NULL,
  detail      text        NOT NULL,
  CONSTRAINT refused_device_pkey PRIMARY KEY (device_type, device_id),
  CONSTRAINT refused_device_device_id_length CHECK (length(device_id) BETWEEN 1 AND 64)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
COMMENT ON TABLE volt_internal.refused_device IS
  'Devices whose messages were refused. Counts where last_at is later than last_seen_at; older rows are deleted.';
COMMENT ON COLUMN volt_internal.refused_device.device_type IS 'vehicle or meter.';
COMMENT ON COLUMN volt_internal.refused_device.device_id IS 'The device, from the topic or the payload.';
COMMENT ON COLUMN volt_internal.refused_device.since IS 'Arrival of the first refused message after the last stored reading.';
COMMENT ON COLUMN volt_internal.refused_device.last_at IS 'Arrival of the latest refused message, to within half a minute.';
COMMENT ON COLUMN volt_internal.refused_device.reason IS 'Why the latest was refused, as in dead_letter.';
COMMENT ON COLUMN volt_internal.refused_device.detail IS 'What was wrong with it, as in dead_letter.';
