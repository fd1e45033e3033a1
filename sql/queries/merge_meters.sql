-- What: merge.sql for meters.
-- Why:  the same statements on other columns; prefer_look_ups and prefer_ranges are there.
-- Lock: as there.

-- name: create_meter_staging
-- One per connection; empty outside of a transaction. Rows get their places, from 0, as they come.
CREATE TEMP SEQUENCE IF NOT EXISTS meter_place AS integer MINVALUE 0 CACHE 1000;
CREATE TEMP TABLE IF NOT EXISTS meter_staging (
  LIKE volt.meter_reading, place integer NOT NULL DEFAULT nextval('pg_temp.meter_place')) ON COMMIT DELETE ROWS;

-- name: copy_meter_staging
-- Rows of which some may be there.
COPY pg_temp.meter_staging (meter_id, recorded_at, kwh_consumed_ac, ac_register_kwh, voltage_v, current_a, power_kw, kwh_returned_ac, ac_returned_register_kwh, received_at) FROM STDIN (FORMAT BINARY);

-- name: look_at_meter_staging
-- since, until timestamptz: of the staged rows of a day the places of those that are new, that fill in something, and that
-- contradict something (NULL: none). A day is a chunk, and one look-up a row in it: see prefer_look_ups.
SELECT
  -- include: meter_looked.sql
FROM pg_temp.meter_staging s
LEFT JOIN volt.meter_reading r
  ON r.meter_id = s.meter_id AND r.recorded_at = s.recorded_at AND r.recorded_at >= %(since)s AND r.recorded_at < %(until)s
WHERE s.recorded_at >= %(since)s AND s.recorded_at < %(until)s;

-- name: look_through_meter_staging
-- The same, device by device: what is stored between the first and the last of its rows is read once. For rows that lie
-- close together, or in compressed chunks, of which each look-up would unpack a part.
SELECT
  -- include: meter_looked.sql
FROM pg_temp.meter_staging s
LEFT JOIN (
  SELECT v.*
  FROM (
    SELECT meter_id, min(recorded_at) AS since, max(recorded_at) AS until FROM pg_temp.meter_staging
    WHERE recorded_at >= %(since)s AND recorded_at < %(until)s GROUP BY meter_id) AS d
  CROSS JOIN LATERAL (
    SELECT * FROM volt.meter_reading w
    WHERE w.meter_id = d.meter_id AND w.recorded_at >= d.since AND w.recorded_at <= d.until
      AND w.recorded_at >= %(since)s AND w.recorded_at < %(until)s
    OFFSET 0) AS v
) AS r ON r.meter_id = s.meter_id AND r.recorded_at = s.recorded_at
WHERE s.recorded_at >= %(since)s AND s.recorded_at < %(until)s;

-- name: insert_meter_staging
-- Those at places int[]; the row count is what was new.
INSERT INTO volt.meter_reading (meter_id, recorded_at, kwh_consumed_ac, ac_register_kwh, voltage_v, current_a, power_kw, kwh_returned_ac, ac_returned_register_kwh, received_at)
SELECT meter_id, recorded_at, kwh_consumed_ac, ac_register_kwh, voltage_v, current_a, power_kw, kwh_returned_ac, ac_returned_register_kwh, received_at
FROM pg_temp.meter_staging
WHERE place = ANY (%(places)s::int[])
ORDER BY meter_id COLLATE "C", recorded_at
ON CONFLICT DO NOTHING;

-- name: fill_meter_staging
-- Those at places int[] fill in what the stored rows lack; where they contradict, too, only if beside boolean says so.
INSERT INTO volt.meter_reading AS r (meter_id, recorded_at, kwh_consumed_ac, ac_register_kwh, voltage_v, current_a, power_kw, kwh_returned_ac, ac_returned_register_kwh, received_at)
SELECT meter_id, recorded_at, kwh_consumed_ac, ac_register_kwh, voltage_v, current_a, power_kw, kwh_returned_ac, ac_returned_register_kwh, received_at
FROM pg_temp.meter_staging
WHERE place = ANY (%(places)s::int[])
ORDER BY meter_id COLLATE "C", recorded_at
ON CONFLICT (meter_id, recorded_at) DO UPDATE SET
  -- include: meter_filled.sql
WHERE %(beside)s OR (
    excluded.kwh_consumed_ac <> r.kwh_consumed_ac
    OR excluded.ac_register_kwh <> r.ac_register_kwh
    OR excluded.voltage_v <> r.voltage_v
    OR excluded.current_a <> r.current_a
    OR excluded.power_kw <> r.power_kw
    OR excluded.kwh_returned_ac <> r.kwh_returned_ac
    OR excluded.ac_returned_register_kwh <> r.ac_returned_register_kwh
  ) IS NOT TRUE;

-- name: fill_there_meter_staging
-- since, until timestamptz: the same for rows of a day of which each is there, where none is compressed; the quick way. A
-- row that contradicts is left as it is, and not counted.
UPDATE volt.meter_reading r SET
  kwh_consumed_ac = coalesce(r.kwh_consumed_ac, s.kwh_consumed_ac),
  ac_register_kwh = coalesce(r.ac_register_kwh, s.ac_register_kwh),
  voltage_v = coalesce(r.voltage_v, s.voltage_v),
  current_a = coalesce(r.current_a, s.current_a),
  power_kw = coalesce(r.power_kw, s.power_kw),
  kwh_returned_ac = coalesce(r.kwh_returned_ac, s.kwh_returned_ac),
  ac_returned_register_kwh = coalesce(r.ac_returned_register_kwh, s.ac_returned_register_kwh),
  filled_at = greatest(r.filled_at, s.received_at)
FROM (
  SELECT * FROM pg_temp.meter_staging
  WHERE place = ANY (%(places)s::int[]) AND recorded_at >= %(since)s AND recorded_at < %(until)s
  ORDER BY meter_id COLLATE "C", recorded_at) AS s
WHERE r.meter_id = s.meter_id AND r.recorded_at = s.recorded_at AND r.recorded_at >= %(since)s AND r.recorded_at < %(until)s
  AND (
    s.kwh_consumed_ac <> r.kwh_consumed_ac
    OR s.ac_register_kwh <> r.ac_register_kwh
    OR s.voltage_v <> r.voltage_v
    OR s.current_a <> r.current_a
    OR s.power_kw <> r.power_kw
    OR s.kwh_returned_ac <> r.kwh_returned_ac
    OR s.ac_returned_register_kwh <> r.ac_returned_register_kwh
  ) IS NOT TRUE;

-- name: correct_meter_staging
-- Those at places int[] replace what is stored; the trigger records it. Only for the owner.
WITH allowed AS MATERIALIZED (SELECT set_config('volt.correction', 'on', true))
INSERT INTO volt.meter_reading AS r (meter_id, recorded_at, kwh_consumed_ac, ac_register_kwh, voltage_v, current_a, power_kw, kwh_returned_ac, ac_returned_register_kwh, received_at)
SELECT meter_id, recorded_at, kwh_consumed_ac, ac_register_kwh, voltage_v, current_a, power_kw, kwh_returned_ac, ac_returned_register_kwh, received_at
FROM pg_temp.meter_staging, allowed
WHERE place = ANY (%(places)s::int[])
ORDER BY meter_id COLLATE "C", recorded_at
ON CONFLICT (meter_id, recorded_at) DO UPDATE SET
  kwh_consumed_ac = coalesce(excluded.kwh_consumed_ac, r.kwh_consumed_ac),
  ac_register_kwh = coalesce(excluded.ac_register_kwh, r.ac_register_kwh),
  voltage_v = coalesce(excluded.voltage_v, r.voltage_v),
  current_a = coalesce(excluded.current_a, r.current_a),
  power_kw = coalesce(excluded.power_kw, r.power_kw),
  kwh_returned_ac = coalesce(excluded.kwh_returned_ac, r.kwh_returned_ac),
  ac_returned_register_kwh = coalesce(excluded.ac_returned_register_kwh, r.ac_returned_register_kwh),
  filled_at = greatest(r.filled_at, excluded.received_at);

-- name: stored_of_meter_staging
-- since, until timestamptz: the stored rows of those at places int[], of that day.
SELECT s.place, to_jsonb(r)
-- include: meter_stored.sql

-- name: contradicted_meter_staging
-- since, until timestamptz: of those at places int[], of that day, the columns in which the stored row has another value,
-- and the stored row.
SELECT s.place, array_remove(ARRAY[
  CASE WHEN s.kwh_consumed_ac <> r.kwh_consumed_ac THEN 'kwh_consumed_ac' END,
  CASE WHEN s.ac_register_kwh <> r.ac_register_kwh THEN 'ac_register_kwh' END,
  CASE WHEN s.voltage_v <> r.voltage_v THEN 'voltage_v' END,
  CASE WHEN s.current_a <> r.current_a THEN 'current_a' END,
  CASE WHEN s.power_kw <> r.power_kw THEN 'power_kw' END,
  CASE WHEN s.kwh_returned_ac <> r.kwh_returned_ac THEN 'kwh_returned_ac' END,
  CASE WHEN s.ac_returned_register_kwh <> r.ac_returned_register_kwh THEN 'ac_returned_register_kwh' END
], NULL), to_jsonb(r)
-- include: meter_stored.sql

-- name: clear_meter_staging
-- Before rows are staged: two parts of one transaction may come after each other.
WITH cleared AS (DELETE FROM pg_temp.meter_staging) SELECT setval('pg_temp.meter_place', 0, false);
