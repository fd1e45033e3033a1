-- What: a batch's dead letters into their table, once each even when their message comes again.
-- Why:  one call. The writer shares one interpreter with the decoder, and each answer that it waits for may cost it the
--       interpreter for a while: with a lock, a look-up and a COPY as three statements, 1 % of dead letters cost a fifth
--       of the throughput. A function, so that the look-up sees what was committed while it waited for the lock.
-- Lock: ROW EXCLUSIVE on dead_letter; an advisory lock on the client id until the transaction ends: two daemons that
--       evict each other, or drain and stream, must see each other's rows, or one message could leave two.

CREATE OR REPLACE FUNCTION volt_internal.record_dead_letters(
  client bigint, run bigint, writers text[], received_ats timestamptz[], topics text[], payloads bytea[], reasons text[],
  details text[], elements integer[], keys bigint[], redelivered boolean[], acked boolean[], named boolean[],
  fields text[], device_types text[], device_ids text[]
) RETURNS SETOF integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(client);
  -- An earlier delivery of a message may have recorded its dead letter. Equal packet id, topic and payload do not prove
  -- that, because a packet id is given again as soon as its message is acked. It is the same message where
  --   both have the same arrival: the same delivery, written again (from the spool after a kill, or after a COMMIT
  --     without a reply);
  --   this is a first delivery, and the other a redelivery to another daemon, which has taken the session over. That
  --     may have arrived up to a minute before this one, which lay unread in a socket. This does not hold for an acked
  --     message (from the spool): its packet id may have gone to the message that was redelivered;
  --   this is a redelivery, and the other the first delivery, whose ack was lost. It arrived at most two minutes before
  --     the latest committed one, because an ack is lost on a connection that breaks soon. An acked message looks at
  --     earlier ones only.
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
  recorded AS (
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
COMMENT ON FUNCTION volt_internal.record_dead_letters(bigint, bigint, text[], timestamptz[], text[], bytea[], text[], text[],
  integer[], bigint[], boolean[], boolean[], boolean[], text[], text[], text[]) IS
  'Records dead letters, given as arrays, except those that an earlier delivery of their message has recorded; returns '
  'the places, from 1, of the latter. named: the message has a packet id; without one no delivery can be recognised.';
