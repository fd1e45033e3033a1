-- What people ask of the dead letters. Run by voltd/dead_letters.py and voltd/dead_letters_replay.py.
-- Filters are alike in all: each may be NULL, topic is a regular expression.

-- name: list_dead_letters
-- Newest first, without payloads.
SELECT id, received_at, reason, topic, element, detail, replayed_at
FROM volt.dead_letter
WHERE (%(ids)s::bigint[] IS NULL OR id = ANY (%(ids)s))
  AND (%(reason)s::text IS NULL OR reason = %(reason)s)
  AND (%(topic)s::text IS NULL OR topic ~ %(topic)s)
  AND (%(since)s::timestamptz IS NULL OR received_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR received_at < %(until)s)
ORDER BY id DESC
LIMIT %(limit)s;

-- name: show_dead_letter
-- One with its payload.
SELECT id, received_at, reason, detail, topic, element, replayed_at, payload
FROM volt.dead_letter
WHERE id = %(id)s;

-- name: next_dead_letters
-- Oldest first, those after one, with their payloads; replayed ones only where they are wanted.
SELECT id, received_at, topic, payload
FROM volt.dead_letter
WHERE id > %(after)s
  AND (%(again)s OR replayed_at IS NULL)
  AND (%(ids)s::bigint[] IS NULL OR id = ANY (%(ids)s))
  AND (%(reason)s::text IS NULL OR reason = %(reason)s)
  AND (%(topic)s::text IS NULL OR topic ~ %(topic)s)
  AND (%(since)s::timestamptz IS NULL OR received_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR received_at < %(until)s)
ORDER BY id
LIMIT %(limit)s;

-- name: mark_replayed
-- In the transaction that stores their readings.
UPDATE volt.dead_letter SET replayed_at = now() WHERE id = ANY (%(ids)s::bigint[]);

-- name: discard_dead_letters
-- For good.
DELETE FROM volt.dead_letter
WHERE (%(ids)s::bigint[] IS NULL OR id = ANY (%(ids)s))
  AND (%(reason)s::text IS NULL OR reason = %(reason)s)
  AND (%(topic)s::text IS NULL OR topic ~ %(topic)s)
  AND (%(since)s::timestamptz IS NULL OR received_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR received_at < %(until)s);

-- name: count_dead_letters
-- How many a discard with these filters would delete.
SELECT count(*) AS count
FROM volt.dead_letter
WHERE (%(ids)s::bigint[] IS NULL OR id = ANY (%(ids)s))
  AND (%(reason)s::text IS NULL OR reason = %(reason)s)
  AND (%(topic)s::text IS NULL OR topic ~ %(topic)s)
  AND (%(since)s::timestamptz IS NULL OR received_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR received_at < %(until)s);
