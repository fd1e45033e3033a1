-- What: the status of a meter, as vehicles have; how often each device usually speaks; devices that send and of which
--       everything is refused.
-- Why:  a retired meter must not be called silent for ever. A parked vehicle speaks every half hour, a driving one every
--       ten seconds: one limit for both is wrong for one of them. And a device whose every message is refused is not
--       silent: people look for a dead one when they should look at what it sends.
-- Lock: ACCESS EXCLUSIVE on volt.meter for a moment (the default is no rewrite); the tables are new.

ALTER TABLE volt.meter ADD COLUMN status text NOT NULL DEFAULT 'active';
ALTER TABLE volt.meter ADD CONSTRAINT meter_status_known CHECK (status IN ('active', 'maintenance', 'retired'));
COMMENT ON COLUMN volt.meter.status IS 'active, maintenance or retired.';

CREATE TABLE volt.device_rhythm (
  device_type       text NOT NULL,
  device_id         text NOT NULL,
  longest_s         real,
  usual_s           real,
  noted_at          timestamptz,
  driving_longest_s real,
  driving_usual_s   real,
  driving_noted_at  timestamptz,
  moved_at          timestamptz,
  CONSTRAINT device_rhythm_pkey PRIMARY KEY (device_type, device_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
COMMENT ON TABLE volt.device_rhythm IS
  'How long each device is usually quiet between two signs of life, driving and otherwise; written where that changes.';
COMMENT ON COLUMN volt.device_rhythm.device_type IS 'vehicle or meter.';
COMMENT ON COLUMN volt.device_rhythm.device_id IS 'The device.';
COMMENT ON COLUMN volt.device_rhythm.longest_s IS 'Longest interval while it did not drive, s, as of noted_at; halves in a week.';
COMMENT ON COLUMN volt.device_rhythm.usual_s IS
  'Second longest, s, as of noted_at: what is usual, as a single outage is not; halves in a week. NULL: not known yet.';
COMMENT ON COLUMN volt.device_rhythm.noted_at IS 'When the two last changed.';
COMMENT ON COLUMN volt.device_rhythm.driving_longest_s IS 'The same of intervals that began while it drove.';
COMMENT ON COLUMN volt.device_rhythm.driving_usual_s IS 'The same of intervals that began while it drove.';
COMMENT ON COLUMN volt.device_rhythm.driving_noted_at IS 'When the two last changed.';
COMMENT ON COLUMN volt.device_rhythm.moved_at IS 'When it was last heard driving, to within ten minutes; NULL: never.';

CREATE TABLE volt.refused_device (
  device_type text        NOT NULL,
  device_id   text        NOT NULL,
  since       timestamptz NOT NULL,
  last_at     timestamptz NOT NULL,
  reason      text        NOT NULL,
  detail      text        NOT NULL,
  CONSTRAINT refused_device_pkey PRIMARY KEY (device_type, device_id),
  CONSTRAINT refused_device_device_id_length CHECK (length(device_id) BETWEEN 1 AND 64)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
COMMENT ON TABLE volt.refused_device IS
  'Devices whose messages were refused. Of use where last_at is later than the last sign of life; older rows go away.';
COMMENT ON COLUMN volt.refused_device.device_type IS 'vehicle or meter.';
COMMENT ON COLUMN volt.refused_device.device_id IS 'Which device the topic, or the payload, names.';
COMMENT ON COLUMN volt.refused_device.since IS 'When the first of these messages came after the last reading that was stored.';
COMMENT ON COLUMN volt.refused_device.last_at IS 'When the latest came, to within half a minute.';
COMMENT ON COLUMN volt.refused_device.reason IS 'Why that one was refused, as in dead_letter.';
COMMENT ON COLUMN volt.refused_device.detail IS 'What was wrong with it, as in dead_letter.';
