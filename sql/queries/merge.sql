-- What: rows of which some are stored already, whole or in part. Run by voltd/pipeline/write/merge.py as volt_writer.
-- Why:  two messages of one device and one time belong together. A row is new, fills in what the stored one lacks, says
--       the same, or contradicts it; what is stored stands. The staging tables live as long as the connection.
-- Lock: ROW EXCLUSIVE on the readings; the rows that are filled in until the transaction ends.

-- name: create_vehicle_staging
-- One per connection; empty outside of a transaction. Rows get their places, from 0, as they come.
CREATE TEMP SEQUENCE IF NOT EXISTS vehicle_place AS integer MINVALUE 0 CACHE 1000;
CREATE TEMP TABLE IF NOT EXISTS vehicle_staging (
  LIKE volt.vehicle_reading, place integer NOT NULL DEFAULT nextval('pg_temp.vehicle_place')) ON COMMIT DELETE ROWS;

-- name: copy_vehicle_staging
-- Rows of which some may be there.
COPY pg_temp.vehicle_staging (vehicle_id, recorded_at, soc_pct, speed_kmh, battery_temp_c, kwh_delivered_dc, dc_register_kwh, latitude, longitude, charging_status, odometer_km, kwh_returned_dc, dc_returned_register_kwh, diagnostics, received_at) FROM STDIN (FORMAT BINARY);

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

-- name: look_at_vehicle_staging
-- since, until timestamptz: of the staged rows of a day the places of those that are new, that fill in something, and that
-- contradict something (NULL: none); and of those with half a position, or another, the places and what is stored of it. A
-- day is a chunk, and one look-up a row in it: see prefer_look_ups.
SELECT
  -- include: vehicle_looked.sql
FROM pg_temp.vehicle_staging s
LEFT JOIN volt.vehicle_reading r
  ON r.vehicle_id = s.vehicle_id AND r.recorded_at = s.recorded_at AND r.recorded_at >= %(since)s AND r.recorded_at < %(until)s
WHERE s.recorded_at >= %(since)s AND s.recorded_at < %(until)s;

-- name: look_through_vehicle_staging
-- The same, device by device: what is stored between the first and the last of its rows is read once. For rows that lie
-- close together, or in compressed chunks, of which each look-up would unpack a part.
SELECT
  -- include: vehicle_looked.sql
FROM pg_temp.vehicle_staging s
LEFT JOIN (
  SELECT v.*
  FROM (
    SELECT vehicle_id, min(recorded_at) AS since, max(recorded_at) AS until FROM pg_temp.vehicle_staging
    WHERE recorded_at >= %(since)s AND recorded_at < %(until)s GROUP BY vehicle_id) AS d
  CROSS JOIN LATERAL (
    SELECT * FROM volt.vehicle_reading w
    WHERE w.vehicle_id = d.vehicle_id AND w.recorded_at >= d.since AND w.recorded_at <= d.until
      AND w.recorded_at >= %(since)s AND w.recorded_at < %(until)s
    OFFSET 0) AS v
) AS r ON r.vehicle_id = s.vehicle_id AND r.recorded_at = s.recorded_at
WHERE s.recorded_at >= %(since)s AND s.recorded_at < %(until)s;

-- name: insert_vehicle_staging
-- Those at places int[]; the row count is what was new.
INSERT INTO volt.vehicle_reading (vehicle_id, recorded_at, soc_pct, speed_kmh, battery_temp_c, kwh_delivered_dc, dc_register_kwh, latitude, longitude, charging_status, odometer_km, kwh_returned_dc, dc_returned_register_kwh, diagnostics, received_at)
SELECT vehicle_id, recorded_at, soc_pct, speed_kmh, battery_temp_c, kwh_delivered_dc, dc_register_kwh, latitude, longitude, charging_status, odometer_km, kwh_returned_dc, dc_returned_register_kwh, diagnostics, received_at
FROM pg_temp.vehicle_staging
WHERE place = ANY (%(places)s::int[])
ORDER BY vehicle_id COLLATE "C", recorded_at
ON CONFLICT DO NOTHING;

-- name: fill_vehicle_staging
-- Those at places int[] fill in what the stored rows lack; where they contradict, too, only if beside boolean says so.
INSERT INTO volt.vehicle_reading AS r (vehicle_id, recorded_at, soc_pct, speed_kmh, battery_temp_c, kwh_delivered_dc, dc_register_kwh, latitude, longitude, charging_status, odometer_km, kwh_returned_dc, dc_returned_register_kwh, diagnostics, received_at)
SELECT vehicle_id, recorded_at, soc_pct, speed_kmh, battery_temp_c, kwh_delivered_dc, dc_register_kwh, latitude, longitude, charging_status, odometer_km, kwh_returned_dc, dc_returned_register_kwh, diagnostics, received_at
FROM pg_temp.vehicle_staging
WHERE place = ANY (%(places)s::int[])
ORDER BY vehicle_id COLLATE "C", recorded_at
ON CONFLICT (vehicle_id, recorded_at) DO UPDATE SET
  -- include: vehicle_filled.sql
WHERE %(beside)s OR (
    excluded.soc_pct <> r.soc_pct
    OR excluded.speed_kmh <> r.speed_kmh
    OR excluded.battery_temp_c <> r.battery_temp_c
    OR excluded.kwh_delivered_dc <> r.kwh_delivered_dc
    OR excluded.dc_register_kwh <> r.dc_register_kwh
    OR excluded.latitude <> r.latitude
    OR excluded.longitude <> r.longitude
    OR excluded.charging_status <> r.charging_status
    OR excluded.odometer_km <> r.odometer_km
    OR excluded.kwh_returned_dc <> r.kwh_returned_dc
    OR excluded.dc_returned_register_kwh <> r.dc_returned_register_kwh
    OR excluded.diagnostics <> r.diagnostics
  ) IS NOT TRUE;

-- name: fill_there_vehicle_staging
-- since, until timestamptz: the same for rows of a day of which each is there, where none is compressed; the quick way. A
-- row that contradicts is left as it is, and not counted.
UPDATE volt.vehicle_reading r SET
  soc_pct = coalesce(r.soc_pct, s.soc_pct),
  speed_kmh = coalesce(r.speed_kmh, s.speed_kmh),
  battery_temp_c = coalesce(r.battery_temp_c, s.battery_temp_c),
  kwh_delivered_dc = coalesce(r.kwh_delivered_dc, s.kwh_delivered_dc),
  dc_register_kwh = coalesce(r.dc_register_kwh, s.dc_register_kwh),
  latitude = coalesce(r.latitude, s.latitude),
  longitude = coalesce(r.longitude, s.longitude),
  charging_status = coalesce(r.charging_status, s.charging_status),
  odometer_km = coalesce(r.odometer_km, s.odometer_km),
  kwh_returned_dc = coalesce(r.kwh_returned_dc, s.kwh_returned_dc),
  dc_returned_register_kwh = coalesce(r.dc_returned_register_kwh, s.dc_returned_register_kwh),
  diagnostics = coalesce(r.diagnostics, s.diagnostics),
  filled_at = greatest(r.filled_at, s.received_at)
FROM (
  SELECT * FROM pg_temp.vehicle_staging
  WHERE place = ANY (%(places)s::int[]) AND recorded_at >= %(since)s AND recorded_at < %(until)s
  ORDER BY vehicle_id COLLATE "C", recorded_at) AS s
WHERE r.vehicle_id = s.vehicle_id AND r.recorded_at = s.recorded_at AND r.recorded_at >= %(since)s AND r.recorded_at < %(until)s
  AND (
    s.soc_pct <> r.soc_pct
    OR s.speed_kmh <> r.speed_kmh
    OR s.battery_temp_c <> r.battery_temp_c
    OR s.kwh_delivered_dc <> r.kwh_delivered_dc
    OR s.dc_register_kwh <> r.dc_register_kwh
    OR s.latitude <> r.latitude
    OR s.longitude <> r.longitude
    OR s.charging_status <> r.charging_status
    OR s.odometer_km <> r.odometer_km
    OR s.kwh_returned_dc <> r.kwh_returned_dc
    OR s.dc_returned_register_kwh <> r.dc_returned_register_kwh
    OR s.diagnostics <> r.diagnostics
  ) IS NOT TRUE;

-- name: correct_vehicle_staging
-- Those at places int[] replace what is stored; the trigger records it. Only for the owner.
WITH allowed AS MATERIALIZED (SELECT set_config('volt.correction', 'on', true))
INSERT INTO volt.vehicle_reading AS r (vehicle_id, recorded_at, soc_pct, speed_kmh, battery_temp_c, kwh_delivered_dc, dc_register_kwh, latitude, longitude, charging_status, odometer_km, kwh_returned_dc, dc_returned_register_kwh, diagnostics, received_at)
SELECT vehicle_id, recorded_at, soc_pct, speed_kmh, battery_temp_c, kwh_delivered_dc, dc_register_kwh, latitude, longitude, charging_status, odometer_km, kwh_returned_dc, dc_returned_register_kwh, diagnostics, received_at
FROM pg_temp.vehicle_staging, allowed
WHERE place = ANY (%(places)s::int[])
ORDER BY vehicle_id COLLATE "C", recorded_at
ON CONFLICT (vehicle_id, recorded_at) DO UPDATE SET
  soc_pct = coalesce(excluded.soc_pct, r.soc_pct),
  speed_kmh = coalesce(excluded.speed_kmh, r.speed_kmh),
  battery_temp_c = coalesce(excluded.battery_temp_c, r.battery_temp_c),
  kwh_delivered_dc = coalesce(excluded.kwh_delivered_dc, r.kwh_delivered_dc),
  dc_register_kwh = coalesce(excluded.dc_register_kwh, r.dc_register_kwh),
  latitude = coalesce(excluded.latitude, r.latitude),
  longitude = coalesce(excluded.longitude, r.longitude),
  charging_status = coalesce(excluded.charging_status, r.charging_status),
  odometer_km = coalesce(excluded.odometer_km, r.odometer_km),
  kwh_returned_dc = coalesce(excluded.kwh_returned_dc, r.kwh_returned_dc),
  dc_returned_register_kwh = coalesce(excluded.dc_returned_register_kwh, r.dc_returned_register_kwh),
  diagnostics = coalesce(excluded.diagnostics, r.diagnostics),
  filled_at = greatest(r.filled_at, excluded.received_at);

-- name: stored_of_vehicle_staging
-- since, until timestamptz: the stored rows of those at places int[], of that day.
SELECT s.place, to_jsonb(r)
-- include: vehicle_stored.sql

-- name: contradicted_vehicle_staging
-- since, until timestamptz: of those at places int[], of that day, the columns in which the stored row has another value,
-- and the stored row.
SELECT s.place, array_remove(ARRAY[
  CASE WHEN s.soc_pct <> r.soc_pct THEN 'soc_pct' END,
  CASE WHEN s.speed_kmh <> r.speed_kmh THEN 'speed_kmh' END,
  CASE WHEN s.battery_temp_c <> r.battery_temp_c THEN 'battery_temp_c' END,
  CASE WHEN s.kwh_delivered_dc <> r.kwh_delivered_dc THEN 'kwh_delivered_dc' END,
  CASE WHEN s.dc_register_kwh <> r.dc_register_kwh THEN 'dc_register_kwh' END,
  CASE WHEN s.latitude <> r.latitude THEN 'latitude' END,
  CASE WHEN s.longitude <> r.longitude THEN 'longitude' END,
  CASE WHEN s.charging_status <> r.charging_status THEN 'charging_status' END,
  CASE WHEN s.odometer_km <> r.odometer_km THEN 'odometer_km' END,
  CASE WHEN s.kwh_returned_dc <> r.kwh_returned_dc THEN 'kwh_returned_dc' END,
  CASE WHEN s.dc_returned_register_kwh <> r.dc_returned_register_kwh THEN 'dc_returned_register_kwh' END,
  CASE WHEN s.diagnostics <> r.diagnostics THEN 'diagnostics' END
], NULL), to_jsonb(r)
-- include: vehicle_stored.sql

-- name: clear_vehicle_staging
-- Before rows are staged: two parts of one transaction may come after each other.
WITH cleared AS (DELETE FROM pg_temp.vehicle_staging) SELECT setval('pg_temp.vehicle_place', 0, false);
