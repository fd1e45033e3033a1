-- What: to which run of a daemon a dead letter's message was delivered again, and how far each writer has come.
-- Why:  a packet id is given to another message as soon as its message is acked, so the same rubbish under the same id
--       is often another message. These tell when it is not: a first delivery was overtaken only by a redelivery to
--       another daemon, and a redelivery's first delivery is no older than what was received shortly before the last
--       COMMIT. The index begins with the key as the one that it replaces, and finds the latest of many equal ones.
-- Lock: ACCESS EXCLUSIVE on volt.dead_letter for as long as its index takes (two seconds for a million dead letters),
--       on volt.ingest_commit for a moment.

ALTER TABLE volt.dead_letter ADD COLUMN redelivered_to bigint;
COMMENT ON COLUMN volt.dead_letter.redelivered_to IS
  'The run of a daemon that its message was delivered to again (DUP), a number of its own; NULL: a first delivery.';
CREATE INDEX dead_letter_redelivery_idx ON volt.dead_letter (redelivery_key, received_at);
DROP INDEX volt.dead_letter_redelivery_key_idx;

ALTER TABLE volt.ingest_commit ADD COLUMN received_until timestamptz;
COMMENT ON COLUMN volt.ingest_commit.received_until IS
  'The latest arrival among the messages committed so far that were delivered for the first time; NULL: none.';
