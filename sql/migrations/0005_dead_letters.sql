-- What: messages, elements of arrays and fields that could not be stored, with the reason.
-- Why:  a plain table: few rows, looked at by people. redelivery_key recognises a message that comes again after a crash
--       between COMMIT and ack; it is not unique, because the same malformed payload may well be published twice.
--       redelivered_to tells when an equal key is another message, as a packet id is given again once its message is
--       acked. Repeats of one device, field and reason are counted in one row an hour, found by repeat_key: 10,000 devices
--       that send the same bad value every minute would leave 14 million rows a day. Room is left on each page so that
--       counting is a HOT update: no index has the columns that change.
-- Lock: none on existing data, the table is new.

CREATE TABLE volt.dead_letter (
  id               bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
  received_at      timestamptz NOT NULL,
  topic            text        NOT NULL,
  payload          bytea       NOT NULL,
  reason           text        NOT NULL,
  detail           text        NOT NULL DEFAULT '',
  element          integer,
  redelivery_key   bigint      NOT NULL,
  replayed_at      timestamptz,
  redelivered_to   bigint,
  field            text,
  device_type      text,
  device_id        text,
  repeats          integer     NOT NULL DEFAULT 1,
  last_received_at timestamptz,
  repeat_key       bigint,
  CONSTRAINT dead_letter_pkey PRIMARY KEY (id),
  CONSTRAINT dead_letter_reason_length CHECK (length(reason) BETWEEN 1 AND 64),
  CONSTRAINT dead_letter_element_not_negative CHECK (element >= 0),
  CONSTRAINT dead_letter_repeats_positive CHECK (repeats > 0)
) WITH (fillfactor = 85);
CREATE INDEX dead_letter_received_at_idx ON volt.dead_letter (received_at);
CREATE INDEX dead_letter_reason_idx ON volt.dead_letter (reason, received_at);
CREATE INDEX dead_letter_redelivery_idx ON volt.dead_letter (redelivery_key, received_at);
CREATE UNIQUE INDEX dead_letter_repeat_key_idx ON volt.dead_letter (repeat_key) WHERE repeat_key IS NOT NULL;
CREATE INDEX dead_letter_device_idx ON volt.dead_letter (device_type, device_id, received_at)
  WHERE device_id IS NOT NULL;
COMMENT ON TABLE volt.dead_letter IS 'What can never be stored, and why; deleted after dead_letter_days.';
COMMENT ON COLUMN volt.dead_letter.id IS 'Number of the dead letter.';
COMMENT ON COLUMN volt.dead_letter.received_at IS 'When voltd received the message.';
COMMENT ON COLUMN volt.dead_letter.topic IS 'MQTT topic it was published to.';
COMMENT ON COLUMN volt.dead_letter.payload IS
  'The payload as published, or the one array element as JSON; for a field, that of its first reading in the hour.';
COMMENT ON COLUMN volt.dead_letter.reason IS 'Why, from the bounded list in voltd''s documentation.';
COMMENT ON COLUMN volt.dead_letter.detail IS 'One line to read: field, value, limit.';
COMMENT ON COLUMN volt.dead_letter.element IS 'Index in the array, from 0; NULL: the whole message.';
COMMENT ON COLUMN volt.dead_letter.redelivery_key IS 'Hash of client id, packet id, topic, payload and element.';
COMMENT ON COLUMN volt.dead_letter.replayed_at IS 'When it was reprocessed; NULL: not yet.';
COMMENT ON COLUMN volt.dead_letter.redelivered_to IS
  'Number of the daemon''s run to which the message was redelivered (DUP); NULL: a first delivery.';
COMMENT ON COLUMN volt.dead_letter.field IS
  'The bad field, by its name in the payload; NULL: the error is not in a single field.';
COMMENT ON COLUMN volt.dead_letter.device_type IS 'vehicle or meter; NULL: not known.';
COMMENT ON COLUMN volt.dead_letter.device_id IS 'The device, from the topic or the payload; NULL: not known.';
COMMENT ON COLUMN volt.dead_letter.repeats IS
  'Occurrences of this device, field and reason within the hour, this one included; only where repeat_key is set.';
COMMENT ON COLUMN volt.dead_letter.last_received_at IS
  'When voltd received the latest occurrence; NULL: there was only one, or occurrences are not counted.';
COMMENT ON COLUMN volt.dead_letter.repeat_key IS
  'Hash of device, field, reason and hour (UTC) of a field that was left out while the rest of its reading was stored; '
  'NULL: the whole message or element was refused.';
