-- What: episodes of alerts, what is sent of them to which channel, and silences.
-- Why:  an evaluation cycle writes episodes and deliveries in one transaction, so a kill at any point sends nothing twice.
--       The index of a delivery's episode and channel ends with its number: whether an open alert is repeated depends on
--       the last delivery alone, and an alert that is open for months has hundreds. Past episodes are evaluated anew when
--       more readings of their time arrive: the index on them finds the last ones.
-- Lock: none on existing data, the tables are new.

CREATE TABLE volt.alert (
  alert_id        bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
  rule            text        NOT NULL,
  severity        text        NOT NULL,
  device_type     text        NOT NULL,
  device_id       text        NOT NULL,
  fleet_id        text,
  opened_at       timestamptz NOT NULL,
  last_seen_at    timestamptz NOT NULL,
  peak_value      double precision,
  resolved_at     timestamptz,
  acknowledged_at timestamptz,
  acknowledged_by text,
  message         text        NOT NULL,
  past            boolean     NOT NULL DEFAULT false,
  CONSTRAINT alert_pkey PRIMARY KEY (alert_id),
  CONSTRAINT alert_severity_known CHECK (severity IN ('info', 'warning', 'critical')),
  CONSTRAINT alert_device_type_known CHECK (device_type IN ('vehicle', 'meter', 'system')),
  CONSTRAINT alert_resolved_after_opened CHECK (resolved_at >= opened_at),
  CONSTRAINT alert_past_is_over CHECK (NOT past OR resolved_at IS NOT NULL)
);
CREATE UNIQUE INDEX alert_one_open ON volt.alert (rule, device_type, device_id) WHERE resolved_at IS NULL;
CREATE INDEX alert_device_idx ON volt.alert (device_type, device_id, rule, opened_at);
CREATE INDEX alert_opened_at_idx ON volt.alert (opened_at);
CREATE INDEX alert_past_idx ON volt.alert (alert_id) WHERE past;
COMMENT ON TABLE volt.alert IS 'Episodes of alerts, one row each; at most one is open per rule and device.';
COMMENT ON COLUMN volt.alert.alert_id IS 'Number of the episode.';
COMMENT ON COLUMN volt.alert.rule IS 'Name of the rule in rules.toml.';
COMMENT ON COLUMN volt.alert.severity IS 'info, warning or critical: the worst so far.';
COMMENT ON COLUMN volt.alert.device_type IS 'vehicle, meter, or system for voltd itself.';
COMMENT ON COLUMN volt.alert.device_id IS 'Vehicle, meter, or the daemon''s setting instance.';
COMMENT ON COLUMN volt.alert.fleet_id IS 'Fleet of the vehicle when the episode was opened; NULL: none.';
COMMENT ON COLUMN volt.alert.opened_at IS 'When it began, in device time; for staleness when the inactivity became too long.';
COMMENT ON COLUMN volt.alert.last_seen_at IS 'Newest reading that was still beyond the limit; may trail while the alert is open.';
COMMENT ON COLUMN volt.alert.peak_value IS 'Most extreme value so far, in the unit of what the rule watches.';
COMMENT ON COLUMN volt.alert.resolved_at IS 'When it was resolved; NULL: it is open.';
COMMENT ON COLUMN volt.alert.acknowledged_at IS 'When somebody acknowledged it; repeats end then.';
COMMENT ON COLUMN volt.alert.acknowledged_by IS 'Who acknowledged it.';
COMMENT ON COLUMN volt.alert.message IS 'Text of its latest transition, one line.';
COMMENT ON COLUMN volt.alert.past IS 'Found in readings that arrived too late to notify anybody.';

CREATE TABLE volt.alert_delivery (
  delivery_id  bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
  alert_id     bigint      NOT NULL,
  channel      text        NOT NULL,
  transition   text        NOT NULL,
  quiet        boolean     NOT NULL DEFAULT false,
  severity     text        NOT NULL,
  message      text        NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT now(),
  status       text        NOT NULL DEFAULT 'waiting',
  message_id   text,
  attempts     integer     NOT NULL DEFAULT 0,
  attempted_at timestamptz,
  sent_at      timestamptz,
  result       text,
  CONSTRAINT alert_delivery_pkey PRIMARY KEY (delivery_id),
  CONSTRAINT alert_delivery_alert_fkey FOREIGN KEY (alert_id) REFERENCES volt.alert (alert_id) ON DELETE CASCADE,
  CONSTRAINT alert_delivery_transition_known CHECK (transition IN ('fired', 'escalated', 'repeated', 'resolved')),
  CONSTRAINT alert_delivery_status_known CHECK (status IN ('waiting', 'sent', 'dropped'))
);
CREATE INDEX alert_delivery_waiting_idx ON volt.alert_delivery (channel, delivery_id) WHERE status = 'waiting';
CREATE INDEX alert_delivery_latest_idx ON volt.alert_delivery (alert_id, channel, delivery_id);
CREATE INDEX alert_delivery_sent_idx ON volt.alert_delivery (channel, sent_at);
COMMENT ON TABLE volt.alert_delivery IS 'Notifications: what was sent where, when, with what result; and what still waits.';
COMMENT ON COLUMN volt.alert_delivery.delivery_id IS 'Number; within a channel also the order.';
COMMENT ON COLUMN volt.alert_delivery.alert_id IS 'The episode.';
COMMENT ON COLUMN volt.alert_delivery.channel IS 'Name of the channel in voltd.toml.';
COMMENT ON COLUMN volt.alert_delivery.transition IS 'fired, escalated, repeated or resolved.';
COMMENT ON COLUMN volt.alert_delivery.quiet IS 'Only for channels that show a state: nobody is notified.';
COMMENT ON COLUMN volt.alert_delivery.severity IS 'Severity at the transition.';
COMMENT ON COLUMN volt.alert_delivery.message IS 'Text of the notification, one line.';
COMMENT ON COLUMN volt.alert_delivery.created_at IS 'When it was recorded, in the transaction of the episode.';
COMMENT ON COLUMN volt.alert_delivery.status IS 'waiting, sent, or dropped (result says why).';
COMMENT ON COLUMN volt.alert_delivery.message_id IS 'Id of the message that carries it: the same at every attempt, and part of the message.';
COMMENT ON COLUMN volt.alert_delivery.attempts IS 'How often it was tried.';
COMMENT ON COLUMN volt.alert_delivery.attempted_at IS 'When the last attempt began.';
COMMENT ON COLUMN volt.alert_delivery.sent_at IS 'When the channel accepted it.';
COMMENT ON COLUMN volt.alert_delivery.result IS 'Last reply of the channel, or why it was dropped.';

CREATE TABLE volt.alert_silence (
  silence_id  bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
  rule        text,
  fleet_id    text,
  device_type text,
  device_id   text,
  begins_at   timestamptz NOT NULL DEFAULT now(),
  ends_at     timestamptz NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT now(),
  created_by  text        NOT NULL,
  comment     text        NOT NULL DEFAULT '',
  CONSTRAINT alert_silence_pkey PRIMARY KEY (silence_id),
  CONSTRAINT alert_silence_ends_after_begin CHECK (ends_at >= begins_at),
  CONSTRAINT alert_silence_device_whole CHECK ((device_type IS NULL) = (device_id IS NULL))
);
CREATE INDEX alert_silence_ends_at_idx ON volt.alert_silence (ends_at);
COMMENT ON TABLE volt.alert_silence IS
  'Silences: times in which alerts are recorded and shown but not sent; with a later begin, maintenance windows.';
COMMENT ON COLUMN volt.alert_silence.silence_id IS 'Number of the silence.';
COMMENT ON COLUMN volt.alert_silence.rule IS 'Only this rule; NULL: every rule.';
COMMENT ON COLUMN volt.alert_silence.fleet_id IS 'Only this fleet; NULL: every fleet.';
COMMENT ON COLUMN volt.alert_silence.device_type IS 'Type of device_id: vehicle, meter or system.';
COMMENT ON COLUMN volt.alert_silence.device_id IS 'Only this device; NULL: every device.';
COMMENT ON COLUMN volt.alert_silence.begins_at IS 'Begin.';
COMMENT ON COLUMN volt.alert_silence.ends_at IS 'End; alerts that are still open then are sent.';
COMMENT ON COLUMN volt.alert_silence.created_at IS 'When it was made.';
COMMENT ON COLUMN volt.alert_silence.created_by IS 'Who made it.';
COMMENT ON COLUMN volt.alert_silence.comment IS 'Why it was made.';
