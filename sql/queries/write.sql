-- The way of a batch into the tables. Run by voltd/pipeline/write.py as volt_writer.

-- name: note_batch
-- In the batch's transaction; its number, so that is_running can be asked about it afterwards.
INSERT INTO volt.ingest_commit AS c (writer, batch, received_until)
VALUES (%(writer)s, %(batch)s::uuid, %(received_until)s::timestamptz)
ON CONFLICT (writer) DO UPDATE
SET batch = excluded.batch, received_until = greatest(c.received_until, excluded.received_until)
RETURNING pg_current_xact_id()::text;

-- name: is_running
-- Whether the server still works on a transaction that its client has lost.
SELECT pg_xact_status(%(xid)s::xid8) = 'in progress';

-- name: is_committed
-- Whether the batch is there. With synchronous replication a crash during the wait for the standby leaves it there
-- before any standby has it: what write does in _open waits for the standby, so ask on a connection from there.
SELECT count(*) > 0 FROM volt.ingest_commit WHERE writer = %(writer)s AND batch = %(batch)s::uuid;

-- name: copy_vehicle_readings
-- The optimistic way: straight into the hypertable. 23505 means that something was there already; merge.sql goes on.
COPY volt.vehicle_reading (vehicle_id, recorded_at, soc_pct, speed_kmh, battery_temp_c, kwh_delivered_dc, dc_register_kwh, latitude, longitude, charging_status, odometer_km, kwh_returned_dc, dc_returned_register_kwh, diagnostics, received_at) FROM STDIN (FORMAT BINARY);

-- name: copy_meter_readings
-- The optimistic way for meters.
COPY volt.meter_reading (meter_id, recorded_at, kwh_consumed_ac, ac_register_kwh, voltage_v, current_a, power_kw, kwh_returned_ac, ac_returned_register_kwh, received_at) FROM STDIN (FORMAT BINARY);

-- name: lock_dead_letters
-- One batch with dead letters of a client at a time, until its transaction ends: two daemons that evict each other, or
-- drain and stream, must see each other's, or the same message could leave two.
SELECT pg_advisory_xact_lock(%(client)s);

-- name: dead_letters_there
-- Which of these letters, by their place from 1, an earlier delivery of their message has left. The same packet id,
-- topic and payload are not enough, because an id is given again as soon as its message is acked. Arguments as arrays:
--   the same arrival: the same delivery, written once more (the spool's after a kill, a COMMIT without an answer).
--   delivered for the first time: a redelivery of it, to another daemon that has taken the session over, was written
--     before. It may have come before this one, which lay unread in a socket for up to a minute. Not for one that is
--     acked already (from the spool): its packet id may have gone to the message that was redelivered.
--   redelivered: its first delivery was written and its ack lost. That was received at most two minutes before the
--     latest that was, because an ack is lost on a connection that breaks soon. An acked one looks at earlier ones only.
SELECT letter.place
FROM unnest(%(keys)s::bigint[], %(received_ats)s::timestamptz[], %(redelivered)s::boolean[], %(acked)s::boolean[])
    WITH ORDINALITY AS letter (key, received_at, redelivered, acked, place)
  CROSS JOIN (SELECT max(received_until) AS until FROM volt.ingest_commit WHERE writer = ANY (%(writers)s)) AS last
  CROSS JOIN LATERAL (
    SELECT FROM volt.dead_letter AS there
    WHERE there.redelivery_key = letter.key
      AND there.received_at >= CASE
        WHEN letter.redelivered THEN least(letter.received_at, last.until) - INTERVAL '2 minutes'
        WHEN letter.acked THEN letter.received_at
        ELSE letter.received_at - INTERVAL '1 minute' END
      AND (there.received_at <= letter.received_at OR NOT letter.acked)
      AND (letter.redelivered OR there.received_at = letter.received_at OR there.redelivered_to <> %(run)s)
    LIMIT 1) AS found;

-- name: copy_dead_letters
-- Those that are not there.
COPY volt.dead_letter (received_at, topic, payload, reason, detail, element, redelivery_key, redelivered_to) FROM STDIN (FORMAT BINARY);

-- name: current_until
-- Up to which received_at this instance's readings are in the current state; no row: never merged.
SELECT current_until FROM volt.ingest_state WHERE instance = %(instance)s;

-- name: set_current_until
-- In the transaction of the merge; never goes back.
INSERT INTO volt.ingest_state AS s (instance, current_until) VALUES (%(instance)s, %(until)s)
ON CONFLICT (instance) DO UPDATE SET current_until = greatest(s.current_until, excluded.current_until);

-- name: fleets
-- Which fleet each registered vehicle belongs to, for the live topic.
SELECT vehicle_id, fleet_id FROM volt.vehicle WHERE fleet_id IS NOT NULL;

-- name: copy_excursions
-- Binary COPY of the vehicles of this batch that the rules' next check has to look at.
COPY volt.excursion (vehicle_id, since, until, received_at, late) FROM STDIN (FORMAT BINARY)

-- name: forget_retained_readings
-- The check reads no vehicle's past as news from further back than a day.
DELETE FROM volt.retained_reading WHERE received_at < now() - INTERVAL '2 days'

-- name: copy_retained_readings
-- Binary COPY of the readings of this batch that are no news.
COPY volt.retained_reading (vehicle_id, recorded_at, received_at) FROM STDIN (FORMAT BINARY)
