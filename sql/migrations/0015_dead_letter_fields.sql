-- What: dead letters of single fields: which field and device they are of, and how often the same came within the hour.
-- Why:  one bad field does not take the rest of its reading down. 10,000 devices that send the same bad value every
--       minute would leave 14 million dead letters a day: repeats of one device, field and reason are counted in one row
--       an hour, found by repeat_key. Room is left on each page so that counting is a HOT update: none of the indexes
--       has the columns that change.
-- Lock: ACCESS EXCLUSIVE on volt.dead_letter while the new indexes, which are empty, read it once (a second for a
--       million dead letters).

ALTER TABLE volt.dead_letter
  ADD COLUMN field            text,
  ADD COLUMN device_type      text,
  ADD COLUMN device_id        text,
  ADD COLUMN repeats          integer NOT NULL DEFAULT 1,
  ADD COLUMN last_received_at timestamptz,
  ADD COLUMN repeat_key       bigint,
  ADD CONSTRAINT dead_letter_repeats_positive CHECK (repeats > 0);
ALTER TABLE volt.dead_letter SET (fillfactor = 85);
CREATE UNIQUE INDEX dead_letter_repeat_key_idx ON volt.dead_letter (repeat_key) WHERE repeat_key IS NOT NULL;
CREATE INDEX dead_letter_device_idx ON volt.dead_letter (device_type, device_id, received_at)
  WHERE device_id IS NOT NULL;
COMMENT ON COLUMN volt.dead_letter.field IS
  'The field to blame, by its name on the wire; NULL: the fault is not one field''s.';
COMMENT ON COLUMN volt.dead_letter.device_type IS 'vehicle or meter; NULL: not known.';
COMMENT ON COLUMN volt.dead_letter.device_id IS 'The device that it is of, by topic or payload; NULL: not known.';
COMMENT ON COLUMN volt.dead_letter.repeats IS
  'How often the same device, field and reason came within the hour, this one included; only where repeat_key is set.';
COMMENT ON COLUMN volt.dead_letter.last_received_at IS
  'When voltd received the latest of the repeats; NULL: it is not counted by field, or came once.';
COMMENT ON COLUMN volt.dead_letter.repeat_key IS
  'Hash of device, field, reason and hour (UTC) of a field that was left out of a reading that was otherwise taken; '
  'NULL: a message or element that was refused whole.';
COMMENT ON COLUMN volt.dead_letter.payload IS
  'The payload as published, whole, or the one array element as JSON; of a field, of the first reading in the hour.';
