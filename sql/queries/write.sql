-- What: how a batch gets into the tables. Run by voltd/pipeline/write/ and voltd/pipeline/current/ as volt_writer.
-- Why:  readings and dead letters of a batch commit together; ingest_commit says afterwards whether they did.
-- Lock: ROW EXCLUSIVE on the tables of the batch.

-- name: note_batch
-- In the batch's transaction. Returns the transaction's number, for is_running.
INSERT INTO volt_internal.ingest_commit AS c (writer, batch, received_until)
VALUES (%(writer)s, %(batch)s::uuid, %(received_until)s::timestamptz)
ON CONFLICT (writer) DO UPDATE
SET batch = excluded.batch, received_until = greatest(c.received_until, excluded.received_until)
RETURNING pg_current_xact_id()::text;

-- name: is_running
-- xid: whether the server still runs a transaction that its client has lost.
SELECT pg_xact_status(%(xid)s::xid8) = 'in progress';

-- name: is_committed
-- Whether the batch is there. With synchronous replication a crash during the wait for the standby leaves it there
-- before any standby has it. The writer's way of opening a connection waits for the standby: ask on such a connection.
SELECT count(*) > 0 FROM volt_internal.ingest_commit WHERE writer = %(writer)s AND batch = %(batch)s::uuid;

-- each device:

-- name: copy_{device}_readings
-- The optimistic way: straight into the hypertable. 23505 means that something was there already; merge.sql goes on.
COPY volt.{device}_reading ({columns}) FROM STDIN (FORMAT BINARY);

-- end

-- name: record_dead_letters
-- One row for each dead letter that an earlier delivery of its message has recorded: its place, from 1.
SELECT volt_internal.record_dead_letters(%(client)s, %(run)s, %(writers)s::text[], %(received_ats)s::timestamptz[],
  %(topics)s::text[], %(payloads)s::bytea[], %(reasons)s::text[], %(details)s::text[], %(elements)s::int[],
  %(keys)s::bigint[], %(redelivered)s::boolean[], %(runs)s::bigint[], %(held_untils)s::timestamptz[],
  %(named)s::boolean[], %(fields)s::text[], %(device_types)s::text[], %(device_ids)s::text[]);

-- name: count_bad_fields
-- Fields that were refused before in the same hour, by repeat_key: counts them again (count 0: only looks) and returns
-- the keys that are there. An occurrence that arrived at drained_until counts only where the last one counted arrived at
-- another time; otherwise it is that one. Rows are locked in the order of their keys, so two daemons cannot deadlock.
WITH letter AS (
  SELECT * FROM unnest(%(keys)s::bigint[], %(counts)s::int[], %(at_ends)s::int[], %(lasts)s::timestamptz[])
    AS l (key, count, at_end, last)
),
there AS MATERIALIZED (
  SELECT d.id, d.repeat_key AS key FROM volt.dead_letter AS d JOIN letter ON d.repeat_key = letter.key
  ORDER BY d.repeat_key FOR UPDATE OF d
),
counted AS (
  UPDATE volt.dead_letter AS d
  SET repeats = d.repeats + letter.count - CASE
      WHEN coalesce(d.last_received_at, d.received_at) = %(drained_until)s::timestamptz THEN letter.at_end ELSE 0
    END,
    last_received_at = greatest(d.received_at, d.last_received_at, letter.last)
  FROM there JOIN letter USING (key)
  WHERE d.id = there.id AND letter.count > 0
)
SELECT key FROM there;

-- name: drained_until
-- Arrival of the last committed message of the spool; no row where that is in the future.
SELECT received_until FROM volt_internal.ingest_commit WHERE writer = %(writer)s AND received_until <= now();

-- name: insert_bad_fields
-- Those that count_bad_fields did not find; another daemon may have inserted them since.
INSERT INTO volt.dead_letter AS d (received_at, topic, payload, reason, detail, element, redelivery_key, redelivered_to,
  field, device_type, device_id, repeat_key, repeats, last_received_at)
SELECT * FROM unnest(%(received_ats)s::timestamptz[], %(topics)s::text[], %(payloads)s::bytea[], %(reasons)s::text[],
  %(details)s::text[], %(elements)s::int[], %(redelivery_keys)s::bigint[], %(redelivered_to)s::bigint[],
  %(fields)s::text[], %(device_types)s::text[], %(device_ids)s::text[], %(keys)s::bigint[], %(counts)s::int[],
  %(lasts)s::timestamptz[]) AS l (received_at, topic, payload, reason, detail, element, redelivery_key, redelivered_to,
  field, device_type, device_id, repeat_key, repeats, last_received_at)
ORDER BY l.repeat_key
ON CONFLICT (repeat_key) WHERE repeat_key IS NOT NULL DO UPDATE
SET repeats = d.repeats + excluded.repeats,
  last_received_at = greatest(d.received_at, d.last_received_at, excluded.last_received_at, excluded.received_at);

-- name: current_until
-- Up to which received_at this instance's readings are in the current state; no row: it has never merged.
SELECT current_until FROM volt_internal.ingest_state WHERE instance = %(instance)s;

-- name: set_current_until
-- In the transaction of the merge; never goes back.
INSERT INTO volt_internal.ingest_state AS s (instance, current_until) VALUES (%(instance)s, %(until)s)
ON CONFLICT (instance) DO UPDATE SET current_until = greatest(s.current_until, excluded.current_until);

-- name: fleets
-- Which fleet each registered vehicle belongs to, for the live topic.
SELECT vehicle_id, fleet_id FROM volt.vehicle WHERE fleet_id IS NOT NULL;

-- name: copy_excursions
-- Binary COPY of the vehicles of this batch that the next evaluation cycle must read.
COPY volt_internal.excursion (vehicle_id, since, until, received_at, late) FROM STDIN (FORMAT BINARY)

-- name: forget_retained_readings
-- An evaluation cycle reads nothing as live from further back than a day.
DELETE FROM volt.retained_reading WHERE received_at < now() - INTERVAL '2 days'

-- name: copy_retained_readings
-- Binary COPY of the readings of this batch that the broker had retained.
COPY volt.retained_reading (vehicle_id, recorded_at, received_at) FROM STDIN (FORMAT BINARY)
