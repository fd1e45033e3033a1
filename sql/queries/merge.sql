-- What: rows of which some are stored already, whole or in part. Run by voltd/pipeline/write/merge.py as volt_writer.
-- Why:  two messages of one device and one time belong together. A row is new, fills in what the stored one lacks, says
--       the same, or contradicts it; what is stored stands. The staging tables live as long as the connection.
-- Lock: ROW EXCLUSIVE on the readings; the rows that are filled in until the transaction ends.

-- name: unpack_as_needed
-- For the rest of the transaction: a row that is filled in unpacks up to a thousand of a compressed chunk, and a batch may
-- fill in as many rows as it has.
SELECT set_config('timescaledb.max_tuples_decompressed_per_dml_transaction', '0', true);

-- name: prefer_look_ups
-- For the rest of the transaction: one look-up a staged row by the primary key, never a chunk read as a whole. The staging
-- table has no statistics, a new chunk has none either, and others have millions of rows or are compressed.
SELECT set_config('enable_nestloop', 'on', true), set_config('enable_hashjoin', 'off', true),
  set_config('enable_mergejoin', 'off', true), set_config('enable_material', 'off', true),
  set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true);

-- name: prefer_ranges
-- For the statements that go through stored rows device by device: these by the primary key, then one hash join.
SELECT set_config('enable_nestloop', 'off', true), set_config('enable_mergejoin', 'off', true),
  set_config('enable_hashjoin', 'on', true), set_config('enable_seqscan', 'off', true),
  set_config('enable_bitmapscan', 'off', true);

-- each device:

-- name: create_{device}_staging
-- One per connection; empty outside of a transaction. Rows get their places, from 0, as they come.
CREATE TEMP SEQUENCE IF NOT EXISTS {device}_place AS integer MINVALUE 0 CACHE 1000;
CREATE TEMP TABLE IF NOT EXISTS {device}_staging (
  LIKE volt.{device}_reading, place integer NOT NULL DEFAULT nextval('pg_temp.{device}_place')) ON COMMIT DELETE ROWS;

-- name: copy_{device}_staging
-- Rows of which some may be there.
COPY pg_temp.{device}_staging ({columns}) FROM STDIN (FORMAT BINARY);

-- name: look_at_{device}_staging
-- since, until timestamptz: of the staged rows of a day the places of those that are new, that fill in something, and that
-- contradict something (NULL: none); and of those with half a position, or another, the places and what is stored of it. A
-- day is a chunk, and one look-up a row in it: see prefer_look_ups.
SELECT
  -- include: looked.sql
FROM pg_temp.{device}_staging s
LEFT JOIN volt.{device}_reading r
  ON r.{device}_id = s.{device}_id AND r.recorded_at = s.recorded_at AND r.recorded_at >= %(since)s AND r.recorded_at < %(until)s
WHERE s.recorded_at >= %(since)s AND s.recorded_at < %(until)s;

-- name: look_through_{device}_staging
-- The same, device by device: what is stored between the first and the last of its rows is read once. For rows that lie
-- close together, or in compressed chunks, of which each look-up would unpack a part.
SELECT
  -- include: looked.sql
FROM pg_temp.{device}_staging s
LEFT JOIN (
  SELECT v.*
  FROM (
    SELECT {device}_id, min(recorded_at) AS since, max(recorded_at) AS until FROM pg_temp.{device}_staging
    WHERE recorded_at >= %(since)s AND recorded_at < %(until)s GROUP BY {device}_id) AS d
  CROSS JOIN LATERAL (
    SELECT * FROM volt.{device}_reading w
    WHERE w.{device}_id = d.{device}_id AND w.recorded_at >= d.since AND w.recorded_at <= d.until
      AND w.recorded_at >= %(since)s AND w.recorded_at < %(until)s
    OFFSET 0) AS v
) AS r ON r.{device}_id = s.{device}_id AND r.recorded_at = s.recorded_at
WHERE s.recorded_at >= %(since)s AND s.recorded_at < %(until)s;

-- name: insert_{device}_staging
-- Those at places int[]; the row count is what was new.
INSERT INTO volt.{device}_reading ({columns})
SELECT {columns}
FROM pg_temp.{device}_staging
WHERE place = ANY (%(places)s::int[])
ORDER BY {device}_id COLLATE "C", recorded_at
ON CONFLICT DO NOTHING;

-- name: fill_{device}_staging
-- Those at places int[] fill in what the stored rows lack; where they contradict, too, only if beside boolean says so.
INSERT INTO volt.{device}_reading AS r ({columns})
SELECT {columns}
FROM pg_temp.{device}_staging
WHERE place = ANY (%(places)s::int[])
ORDER BY {device}_id COLLATE "C", recorded_at
ON CONFLICT ({device}_id, recorded_at) DO UPDATE SET
  -- include: filled.sql
WHERE %(beside)s OR (
    false
    -- each value: OR excluded.{value} <> r.{value}
  ) IS NOT TRUE;

-- name: fill_there_{device}_staging
-- since, until timestamptz: the same for rows of a day of which each is there, where none is compressed; the quick way. A
-- row that contradicts is left as it is, and not counted.
UPDATE volt.{device}_reading r SET
  -- each value: {value} = coalesce(r.{value}, s.{value}),
  filled_at = greatest(r.filled_at, s.received_at)
FROM (
  SELECT * FROM pg_temp.{device}_staging
  WHERE place = ANY (%(places)s::int[]) AND recorded_at >= %(since)s AND recorded_at < %(until)s
  ORDER BY {device}_id COLLATE "C", recorded_at) AS s
WHERE r.{device}_id = s.{device}_id AND r.recorded_at = s.recorded_at AND r.recorded_at >= %(since)s AND r.recorded_at < %(until)s
  AND (
    false
    -- each value: OR s.{value} <> r.{value}
  ) IS NOT TRUE;

-- name: correct_{device}_staging
-- Those at places int[] replace what is stored; the trigger records it. Only for the owner.
WITH allowed AS MATERIALIZED (SELECT set_config('volt.correction', 'on', true))
INSERT INTO volt.{device}_reading AS r ({columns})
SELECT {columns}
FROM pg_temp.{device}_staging, allowed
WHERE place = ANY (%(places)s::int[])
ORDER BY {device}_id COLLATE "C", recorded_at
ON CONFLICT ({device}_id, recorded_at) DO UPDATE SET
  -- each value: {value} = coalesce(excluded.{value}, r.{value}),
  filled_at = greatest(r.filled_at, excluded.received_at);

-- name: stored_of_{device}_staging
-- since, until timestamptz: the stored rows of those at places int[], of that day.
SELECT s.place, to_jsonb(r)
-- include: stored.sql

-- name: contradicted_{device}_staging
-- since, until timestamptz: of those at places int[], of that day, the columns in which the stored row has another value,
-- and the stored row.
SELECT s.place, array_remove(ARRAY[
  NULL::text
  -- each value: , CASE WHEN s.{value} <> r.{value} THEN '{value}' END
], NULL), to_jsonb(r)
-- include: stored.sql

-- name: clear_{device}_staging
-- Before rows are staged: two parts of one transaction may come after each other.
WITH cleared AS (DELETE FROM pg_temp.{device}_staging) SELECT setval('pg_temp.{device}_place', 0, false);

-- end
