-- What: what people ask of the dead letters, and their reprocessing. Run by voltd/commands/dead_letters/ as volt_owner.
-- Why:  filters are alike in all; each may be NULL.
-- Lock: ROW EXCLUSIVE on dead_letter where rows are marked or deleted.

-- name: list_dead_letters
-- Newest first, without payloads.
SELECT id, received_at, reason, topic, element, detail, replayed_at, field, device_type, device_id, repeats,
  last_received_at
FROM volt.dead_letter
WHERE
  -- include: dead_letter_filters.sql
ORDER BY id DESC
LIMIT %(limit)s

-- name: show_dead_letter
-- One with its payload.
SELECT id, received_at, reason, field, detail, topic, element, device_type, device_id, repeats, last_received_at,
  replayed_at, payload
FROM volt.dead_letter
WHERE id = %(id)s

-- name: next_dead_letters
-- Those after a number, the oldest first, with their payloads, as many as have most_bytes bytes; reprocessed ones too
-- with again.
-- overwrite: only those whose reading contradicts a stored one. Dead letters with a field are left out: there the
-- message contradicts itself.
SELECT id, received_at, topic, payload, reason, detail, element, field, partial, repeats
FROM (
  SELECT id, received_at, topic, payload, reason, detail, element, field, repeat_key IS NOT NULL AS partial,
    greatest(repeats - 1, 0) AS repeats,
    sum(octet_length(payload)) OVER (ORDER BY id) - octet_length(payload) AS bytes_before
  FROM volt.dead_letter
  WHERE id > %(after)s
    AND (%(again)s OR replayed_at IS NULL)
    AND (NOT %(overwrite)s OR (field IS NULL AND repeat_key IS NULL))
    AND
    -- include: dead_letter_filters.sql
  ORDER BY id
  LIMIT %(limit)s
) AS next
WHERE bytes_before < %(most_bytes)s
ORDER BY id

-- name: raw_retention_days
-- How long raw readings are stored.
SELECT volt_internal.setting_number('raw_retention_days')

-- name: mark_replayed
-- ids: their readings are stored, and in the current state.
UPDATE volt.dead_letter SET replayed_at = now() WHERE id = ANY (%(ids)s::bigint[])

-- name: discard_dead_letters
-- Deletes them; none that is newer than the last one that was counted.
DELETE FROM volt.dead_letter
WHERE id <= %(last)s
  AND
  -- include: dead_letter_filters.sql

-- name: count_dead_letters
-- How many there are with these filters, and the last of them.
SELECT count(*) AS count, max(id) AS last
FROM volt.dead_letter
WHERE
  -- include: dead_letter_filters.sql
