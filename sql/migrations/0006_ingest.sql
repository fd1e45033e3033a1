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
COMMENT ON TABLE volt_internal.ingest_state IS 'How far each daemon (setting instance) has brought the current state.';
COMMENT ON COLUMN volt_internal.ingest_state.instance IS 'The daemon''s setting instance.';
COMMENT ON COLUMN volt_internal.ingest_state.current_until IS
  'Readings this daemon received up to this time are in vehicle_current and meter_current.';

CREATE TABLE volt_internal.ingest_commit (
  writer         text NOT NULL,
  batch          uuid NOT NULL,
  received_until timestamptz,
  CONSTRAINT ingest_commit_pkey PRIMARY KEY (writer)
) WITH (fillfactor = 10);
COMMENT ON TABLE volt_internal.ingest_commit IS 'The last batch that each writer has committed, for when the answer is lost.';
COMMENT ON COLUMN volt_internal.ingest_commit.writer IS 'The client id at the broker, and which of its connections: stream or spool.';
COMMENT ON COLUMN volt_internal.ingest_commit.batch IS 'Chosen anew for each transaction.';
COMMENT ON COLUMN volt_internal.ingest_commit.received_until IS
  'The latest arrival among the messages committed so far that were delivered for the first time; NULL: none.';

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
COMMENT ON TABLE volt.daemon IS 'The daemons that run on this database; one that is stopped takes itself off.';
COMMENT ON COLUMN volt.daemon.instance IS 'The daemon''s setting instance.';
COMMENT ON COLUMN volt.daemon.reported_at IS 'When it last said so; long ago: it died.';
COMMENT ON COLUMN volt.daemon.lag_s IS 'Seconds that messages wait for their COMMIT, or that the broker has been away.';
COMMENT ON COLUMN volt.daemon.spooling IS 'Whether readings go to its spool.';
COMMENT ON COLUMN volt.daemon.healthy IS 'Whether broker and database are there and nothing holds messages back.';
COMMENT ON COLUMN volt.daemon.unwell_at IS 'When it was last not healthy; NULL: not since it started.';
COMMENT ON COLUMN volt.daemon.client_id IS 'Its MQTT client id; NULL, as the next three: it is of an earlier version.';
COMMENT ON COLUMN volt.daemon.host IS 'The name of its host.';
COMMENT ON COLUMN volt.daemon.pid IS 'Its process id on that host, or in its container.';
COMMENT ON COLUMN volt.daemon.started_at IS 'When it started, by its host''s clock.';
COMMENT ON COLUMN volt.daemon.trouble IS
  'What keeps it from taking messages and what to do, for people; NULL: nothing that it knows of.';

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
  'How long each device is usually quiet between two signs of life, driving and otherwise; written where that changes.';
COMMENT ON COLUMN volt_internal.device_rhythm.device_type IS 'vehicle or meter.';
COMMENT ON COLUMN volt_internal.device_rhythm.device_id IS 'The device.';
COMMENT ON COLUMN volt_internal.device_rhythm.longest_s IS 'Longest interval while it did not drive, s, as of noted_at; halves in a week.';
COMMENT ON COLUMN volt_internal.device_rhythm.usual_s IS
  'Second longest, s, as of noted_at: what is usual, as a single outage is not; halves in a week. NULL: not known yet.';
COMMENT ON COLUMN volt_internal.device_rhythm.noted_at IS 'When the two last changed.';
COMMENT ON COLUMN volt_internal.device_rhythm.driving_longest_s IS 'The same of intervals that began while it drove.';
COMMENT ON COLUMN volt_internal.device_rhythm.driving_usual_s IS 'The same of intervals that began while it drove.';
COMMENT ON COLUMN volt_internal.device_rhythm.driving_noted_at IS 'When the two last changed.';
COMMENT ON COLUMN volt_internal.device_rhythm.moved_at IS 'When it was last heard driving, to within ten minutes; NULL: never.';
COMMENT ON COLUMN volt_internal.device_rhythm.known_since IS
  'When an interval while the vehicle did not drive was noted first; NULL: not after noted_at.';

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
  'Devices whose messages were refused. Of use where last_at is later than the last sign of life; older rows go away.';
COMMENT ON COLUMN volt_internal.refused_device.device_type IS 'vehicle or meter.';
COMMENT ON COLUMN volt_internal.refused_device.device_id IS 'Which device the topic, or the payload, names.';
COMMENT ON COLUMN volt_internal.refused_device.since IS 'When the first of these messages came after the last reading that was stored.';
COMMENT ON COLUMN volt_internal.refused_device.last_at IS 'When the latest came, to within half a minute.';
COMMENT ON COLUMN volt_internal.refused_device.reason IS 'Why that one was refused, as in dead_letter.';
COMMENT ON COLUMN volt_internal.refused_device.detail IS 'What was wrong with it, as in dead_letter.';
