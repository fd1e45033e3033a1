-- What: the newest known state of every device, written at most about once a second and healed at start.
-- Why:  a value yields only to one measured later (at equal times the stored one stays), so batches may come in any
--       order and more than once. A sign of life that is more than a minute ahead of now is of a host's clock that was
--       ahead: the next one takes its place. Staged with COPY: a few times faster than arrays for thousands of devices.
-- Lock: ROW EXCLUSIVE; rows are taken in the order of their ids, so two daemons cannot deadlock.

-- each device:

-- name: create_staged_{device}_current
-- Once a session; empty again after each transaction. At most one row a device.
CREATE TEMPORARY TABLE IF NOT EXISTS staged_{device}_current (LIKE volt.{device}_current INCLUDING DEFAULTS) ON COMMIT DELETE ROWS

-- name: copy_staged_{device}_current
-- Binary COPY of merged states; each value with the time it was measured, last_seen_at NULL where only retained
-- messages spoke.
COPY pg_temp.staged_{device}_current ({device}_id, recorded_at, {state}, last_seen_at) FROM STDIN (FORMAT BINARY)

-- name: stage_{device}_current_since
-- since timestamptz (NULL: everything): stages the states from readings received or filled in since, to heal what a crash
-- left behind. Readings that are more than a week older than that are not looked at: they may be in the columnstore, where
-- finding them by received_at means reading all of it. Liveness is left alone, raw rows do not tell retained ones.
INSERT INTO pg_temp.staged_{device}_current (
  -- each value: {value},
  -- each time: {at},
  {device}_id, recorded_at)
SELECT
  -- each value: last({value}, recorded_at) FILTER (WHERE {known}),
  -- each time: max(recorded_at) FILTER (WHERE {known}),
  {device}_id,
  max(recorded_at)
FROM (
  SELECT * FROM volt.{device}_reading
  WHERE received_at >= coalesce(%(since)s::timestamptz, '-infinity')
    AND recorded_at >= coalesce(%(since)s::timestamptz - INTERVAL '7 days', '-infinity')
  UNION ALL
  SELECT * FROM volt.{device}_reading
  WHERE filled_at >= %(since)s::timestamptz AND received_at < %(since)s::timestamptz
    AND recorded_at >= %(since)s::timestamptz - INTERVAL '7 days'
) AS arrived
GROUP BY {device}_id

-- name: merge_{device}_current
-- Merges the staged states into the table. For vehicles it returns the full rows after it, for the live topic.
INSERT INTO volt.{device}_current AS c ({device}_id, recorded_at, {state}, last_seen_at, updated_at)
SELECT {device}_id, recorded_at, {state}, last_seen_at, now()
FROM pg_temp.staged_{device}_current
ORDER BY {device}_id
ON CONFLICT ({device}_id) DO UPDATE SET
  recorded_at = greatest(c.recorded_at, excluded.recorded_at),
  -- each value: {value} = CASE WHEN excluded.{at} > coalesce(c.{at}, '-infinity') THEN excluded.{value} ELSE c.{value} END,
  -- each time: {at} = greatest(c.{at}, excluded.{at}),
  last_seen_at = CASE WHEN c.last_seen_at > now() + INTERVAL '1 min' THEN coalesce(excluded.last_seen_at, c.last_seen_at) ELSE greatest(c.last_seen_at, excluded.last_seen_at) END,
  updated_at = now()
-- vehicle: RETURNING c.*

-- name: touch_{device}_current
-- ids text[], seen_ats timestamptz[]: devices that were heard without a measurement. Only those that have a state.
WITH heard AS MATERIALIZED (
  SELECT c.{device}_id, seen.at
  FROM unnest(%(ids)s::text[], %(seen_ats)s::timestamptz[]) AS seen (id, at)
    JOIN volt.{device}_current AS c ON c.{device}_id = seen.id
  WHERE c.last_seen_at IS NULL OR c.last_seen_at < seen.at
    OR (c.last_seen_at > now() + INTERVAL '1 min' AND c.last_seen_at <> seen.at)
  ORDER BY c.{device}_id
  FOR UPDATE OF c
)
UPDATE volt.{device}_current AS c SET last_seen_at = heard.at, updated_at = now()
FROM heard WHERE c.{device}_id = heard.{device}_id

-- end
