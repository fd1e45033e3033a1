-- What: messages (or single elements of arrays) that can never be stored as readings, kept with the reason.
-- Why:  a plain table: few rows, looked at by people. redelivery_key lets a message that comes again after a crash
--       between COMMIT and ack leave its dead letters only once; it is not unique, because the same rubbish may well be
--       published twice.
-- Lock: none on existing data, the table is new.

CREATE TABLE volt.dead_letter (
  id             bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
  received_at    timestamptz NOT NULL,
  topic          text        NOT NULL,
  payload        bytea       NOT NULL,
  reason         text        NOT NULL,
  detail         text        NOT NULL DEFAULT '',
  element        integer,
  redelivery_key bigint      NOT NULL,
  replayed_at    timestamptz,
  CONSTRAINT dead_letter_pkey PRIMARY KEY (id),
  CONSTRAINT dead_letter_reason_length CHECK (length(reason) BETWEEN 1 AND 64),
  CONSTRAINT dead_letter_element_not_negative CHECK (element >= 0)
);
CREATE INDEX dead_letter_received_at_idx ON volt.dead_letter (received_at);
CREATE INDEX dead_letter_reason_idx ON volt.dead_letter (reason, received_at);
CREATE INDEX dead_letter_redelivery_key_idx ON volt.dead_letter (redelivery_key);
COMMENT ON TABLE volt.dead_letter IS 'What can never be stored, and why; kept dead_letter_days.';
COMMENT ON COLUMN volt.dead_letter.id IS 'Number of the dead letter.';
COMMENT ON COLUMN volt.dead_letter.received_at IS 'When voltd received the message.';
COMMENT ON COLUMN volt.dead_letter.topic IS 'MQTT topic it was published to.';
COMMENT ON COLUMN volt.dead_letter.payload IS 'The payload as published (cut at the size limit), or the one array element as JSON.';
COMMENT ON COLUMN volt.dead_letter.reason IS 'Why, from the bounded list in voltd''s documentation.';
COMMENT ON COLUMN volt.dead_letter.detail IS 'One line for a person: field, value, limit.';
COMMENT ON COLUMN volt.dead_letter.element IS 'Index in the array, from 0; NULL: the whole message.';
COMMENT ON COLUMN volt.dead_letter.redelivery_key IS 'Hash of client id, packet id, topic, payload and element.';
COMMENT ON COLUMN volt.dead_letter.replayed_at IS 'When it was published again; NULL: not yet.';
