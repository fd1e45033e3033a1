-- What: a batch's dead letters into their table, once each even when their message comes again.
-- Why:  one call. The writer shares one interpreter with the decoder, and each answer that it waits for may cost it the
--       interpreter for a while: with a lock, a look-up and a COPY of its own, 1 % of dead letters cost a fifth of the
--       throughput. In one function, so that the look-up sees what was committed while the lock was waited for.
-- Lock: ROW EXCLUSIVE on dead_letter; an advisory lock on the client until the transaction ends: two daemons that evict
--       each other, or drain and stream, must see each other's, or the same message could leave two.

CREATE OR REPLACE FUNCTION volt_internal.keep_dead_letters(
  client bigint, run bigint, writers text[], received_ats timestamptz[], topics text[], payloads bytea[], reasons text[],
  details text[], elements integer[], keys bigint[], redelivered boolean[], acked boolean[], named boolean[],
  fields text[], device_types text[], device_ids text[]
) RETURNS SETOF integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(client);
  -- Of a message, by packet id, topic and payload, an earlier delivery may have left its letter. Equal ones are not
  -- enough, because an id is given again as soon as its message is acked:
  --   the same arrival: the same delivery, written once more (the spool's after a kill, a COMMIT without an answer).
  --   delivered for the first time: a redelivery of it, to another daemon that has taken the session over, was written
  --     before. It may have come before this one, which lay unread in a socket for up to a minute. Not for one that is
  --     acked already (from the spool): its packet id may have gone to the message that was redelivered.
  --   redelivered: its first delivery was written and its ack lost. That was received at most two minutes before the
  --     latest that was, because an ack is lost on a connection that breaks soon. An acked one looks at earlier ones only.
  RETURN QUERY
  WITH letter AS MATERIALIZED (
    SELECT * FROM unnest(received_ats, topics, payloads, reasons, details, elements, keys, redelivered, acked, named,
                         fields, device_types, device_ids)
      WITH ORDINALITY AS l (received_at, topic, payload, reason, detail, element, key, redelivered, acked, named,
                            field, device_type, device_id, place)
  ),
  there AS MATERIALIZED (
    SELECT letter.place
    FROM letter
      CROSS JOIN (SELECT max(c.received_until) AS until FROM volt_internal.ingest_commit AS c WHERE c.writer = ANY (writers)) AS last
      CROSS JOIN LATERAL (
        SELECT FROM volt.dead_letter AS d
        WHERE d.redelivery_key = letter.key
          AND d.received_at >= CASE
            WHEN letter.redelivered THEN least(letter.received_at, last.until) - INTERVAL '2 minutes'
            WHEN letter.acked THEN letter.received_at
            ELSE letter.received_at - INTERVAL '1 minute' END
          AND (d.received_at <= letter.received_at OR NOT letter.acked)
          AND (letter.redelivered OR d.received_at = letter.received_at OR d.redelivered_to <> run)
        LIMIT 1) AS found
    WHERE letter.named
  ),
  kept AS (
    INSERT INTO volt.dead_letter (received_at, topic, payload, reason, detail, element, redelivery_key, redelivered_to,
                                  field, device_type, device_id)
    SELECT l.received_at, l.topic, l.payload, l.reason, l.detail, l.element, l.key, CASE WHEN l.redelivered THEN run END,
           l.field, l.device_type, l.device_id
    FROM letter AS l
    WHERE NOT EXISTS (SELECT FROM there WHERE there.place = l.place)
    ORDER BY l.place
  )
  SELECT there.place::int FROM there;
END $$;
COMMENT ON FUNCTION volt_internal.keep_dead_letters(bigint, bigint, text[], timestamptz[], text[], bytea[], text[], text[],
  integer[], bigint[], boolean[], boolean[], boolean[], text[], text[], text[]) IS
  'Keeps dead letters, given as arrays, that no earlier delivery of their message has left; returns the places, from 1, '
  'of those that one has. named: the message has a packet id; without one nothing tells it from another.';
