-- What: a batch's dead letters into their table, once each even when their message comes again.
-- Why:  one call. The writer shares one interpreter with the decoder, and each answer that it waits for may cost it the
--       interpreter for a while: with a lock, a look-up and a COPY as three statements, 1 % of dead letters cost a fifth
--       of the throughput. A function, so that the look-up sees what was committed while it waited for the lock.
-- Lock: ROW EXCLUSIVE on dead_letter; an advisory lock on the client id until the transaction ends: two daemons that
--       evict each other, or drain and stream, must see each other's rows, or one message could leave two.

DROP FUNCTION IF EXISTS volt_internal.record_dead_letters(bigint, bigint, text[], timestamptz[], text[], bytea[], text[], text[],
  integer[], bigint[], boolean[], boolean[], boolean[], text[], text[], text[]);

COMMENT ON COLUMN volt.dead_letter.redelivered_to IS
  'Number of the daemon''s run to which the message was redelivered (DUP); negative: to which it was first delivered; '
  'NULL: not known which one.';

CREATE OR REPLACE FUNCTION volt_internal.record_dead_letters(
  client bigint, run bigint, writers text[], received_ats timestamptz[], topics text[], payloads bytea[], reasons text[],
  details text[], elements integer[], keys bigint[], redelivered boolean[], runs bigint[], held_untils timestamptz[],
  named boolean[], fields text[], device_types text[], device_ids text[]
) RETURNS SETOF integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(client);
  -- Another delivery of a message may have recorded its dead letter. Equal packet id, topic and payload do not prove
  -- that, because a packet id is given again as soon as its message is acked. It is the same message where
  --   both have the same arrival: the same delivery, written again (from the spool after a kill, or after a COMMIT
  --     without a reply);
  --   this is a first delivery, and the other a redelivery that arrived later: another daemon has taken the session over;
  --   this is a first delivery, and the other a redelivery to another daemon up to a minute before: this one lay unread
  --     in a socket;
  --   this is a redelivery, and the other arrived at most two minutes before the latest committed one: its ack was lost,
  --     which happens on a connection that breaks soon.
  -- What arrived after this one was acked (held_until, from the spool) may be another message with its packet id. It is
  -- the same message all the same where
  --   it is a redelivery of the next five seconds: the ack went to a connection that another daemon had ended;
  --   it is the first delivery, to another daemon, in the socket of which it lay unread for up to a minute.
  RETURN QUERY
  WITH letter AS MATERIALIZED (
    SELECT * FROM unnest(received_ats, topics, payloads, reasons, details, elements, keys, redelivered, runs, held_untils,
                         named, fields, device_types, device_ids)
      WITH ORDINALITY AS l (received_at, topic, payload, reason, detail, element, key, redelivered, run, held_until,
                            named, field, device_type, device_id, place)
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
            ELSE letter.received_at - INTERVAL '1 minute' END
          AND (letter.held_until IS NULL OR d.received_at <= letter.held_until + CASE
            WHEN d.redelivered_to > 0 THEN INTERVAL '5 seconds'
            WHEN letter.redelivered AND d.redelivered_to <> - letter.run THEN INTERVAL '1 minute'
            ELSE INTERVAL '0' END)
          AND (letter.redelivered OR d.received_at = letter.received_at
            OR (d.redelivered_to > 0 AND (d.redelivered_to <> letter.run OR d.received_at > letter.received_at)))
        LIMIT 1) AS found
    WHERE letter.named
  ),
  recorded AS (
    INSERT INTO volt.dead_letter (received_at, topic, payload, reason, detail, element, redelivery_key, redelivered_to,
                                  field, device_type, device_id)
    SELECT l.received_at, l.topic, l.payload, l.reason, l.detail, l.element, l.key,
           CASE WHEN l.redelivered THEN record_dead_letters.run ELSE - l.run END, l.field, l.device_type, l.device_id
    FROM letter AS l
    WHERE NOT EXISTS (SELECT FROM there WHERE there.place = l.place)
    ORDER BY l.place
  )
  SELECT there.place::int FROM there;
END $$;
COMMENT ON FUNCTION volt_internal.record_dead_letters(bigint, bigint, text[], timestamptz[], text[], bytea[], text[], text[],
  integer[], bigint[], boolean[], bigint[], timestamptz[], boolean[], text[], text[], text[]) IS
  'Records dead letters, given as arrays, except those that another delivery of their message has recorded; returns the '
  'places, from 1, of the latter. run: the one that records; runs: those that received the messages, NULL where unknown. '
  'held_untils: when a message was about to be acked, NULL where it is not acked yet. named: the message has a packet id; '
  'without one no delivery can be recognised.';
