-- What people ask of the dead letters. Run by voltd/dead_letters.py.

-- name: list_dead_letters
-- Newest first, without payloads; each filter may be NULL. topic is a regular expression.
SELECT id, received_at, reason, topic, element, detail, replayed_at
FROM volt.dead_letter
WHERE (%(reason)s::text IS NULL OR reason = %(reason)s)
  AND (%(topic)s::text IS NULL OR topic ~ %(topic)s)
  AND (%(since)s::timestamptz IS NULL OR received_at >= %(since)s)
ORDER BY id DESC
LIMIT %(limit)s;

-- name: show_dead_letter
-- One with its payload.
SELECT id, received_at, reason, detail, topic, element, replayed_at, payload
FROM volt.dead_letter
WHERE id = %(id)s;
