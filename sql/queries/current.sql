-- What: the newest known state of every device, written at most about once a second and healed at start.
-- Why:  a value yields only to one measured later (at equal times the stored one stays), so batches may come in any
--       order and more than once. A sign of life that is more than a minute ahead of now is of a host's clock that was
--       ahead: the next one takes its place. Staged with COPY: a few times faster than arrays for thousands of devices.
-- Lock: ROW EXCLUSIVE; rows are taken in the order of their ids, so two daemons cannot deadlock.

-- name: create_staged_vehicle_current
-- Once a session; empty again after each transaction. At most one row a vehicle.
CREATE TEMPORARY TABLE IF NOT EXISTS staged_vehicle_current (LIKE volt.vehicle_current INCLUDING DEFAULTS) ON COMMIT DELETE ROWS

-- name: copy_staged_vehicle_current
-- Binary COPY of merged states; each value with the time it was measured, last_seen_at NULL where only retained
-- messages spoke.
COPY pg_temp.staged_vehicle_current (
  vehicle_id, recorded_at, soc_pct, soc_at, speed_kmh, speed_at, battery_temp_c, battery_temp_at,
  kwh_delivered_dc, kwh_delivered_dc_at, dc_register_kwh, dc_register_at, latitude, longitude, position_at,
  charging_status, charging_status_at, odometer_km, odometer_at, kwh_returned_dc, kwh_returned_dc_at,
  dc_returned_register_kwh, dc_returned_register_at, diagnostics, diagnostics_at, last_seen_at
) FROM STDIN (FORMAT BINARY)

-- name: stage_vehicle_current_since
-- since timestamptz (NULL: everything): stages the states from readings received or filled in since, to heal what a crash
-- left behind. Readings that are more than a week older than that are not looked at: they may be in the columnstore, where
-- finding them by received_at means reading all of it. Liveness is left alone, raw rows do not tell retained ones.
INSERT INTO pg_temp.staged_vehicle_current (
  vehicle_id, recorded_at, soc_pct, soc_at, speed_kmh, speed_at, battery_temp_c, battery_temp_at,
  kwh_delivered_dc, kwh_delivered_dc_at, dc_register_kwh, dc_register_at, latitude, longitude, position_at,
  charging_status, charging_status_at, odometer_km, odometer_at, kwh_returned_dc, kwh_returned_dc_at,
  dc_returned_register_kwh, dc_returned_register_at, diagnostics, diagnostics_at, last_seen_at)
SELECT
  vehicle_id,
  max(recorded_at),
  last(soc_pct, recorded_at) FILTER (WHERE soc_pct IS NOT NULL),
  max(recorded_at) FILTER (WHERE soc_pct IS NOT NULL),
  last(speed_kmh, recorded_at) FILTER (WHERE speed_kmh IS NOT NULL),
  max(recorded_at) FILTER (WHERE speed_kmh IS NOT NULL),
  last(battery_temp_c, recorded_at) FILTER (WHERE battery_temp_c IS NOT NULL),
  max(recorded_at) FILTER (WHERE battery_temp_c IS NOT NULL),
  last(kwh_delivered_dc, recorded_at) FILTER (WHERE kwh_delivered_dc IS NOT NULL),
  max(recorded_at) FILTER (WHERE kwh_delivered_dc IS NOT NULL),
  last(dc_register_kwh, recorded_at) FILTER (WHERE dc_register_kwh IS NOT NULL),
  max(recorded_at) FILTER (WHERE dc_register_kwh IS NOT NULL),
  last(latitude, recorded_at) FILTER (WHERE latitude IS NOT NULL AND longitude IS NOT NULL),
  last(longitude, recorded_at) FILTER (WHERE latitude IS NOT NULL AND longitude IS NOT NULL),
  max(recorded_at) FILTER (WHERE latitude IS NOT NULL AND longitude IS NOT NULL),
  last(charging_status, recorded_at) FILTER (WHERE charging_status IS NOT NULL),
  max(recorded_at) FILTER (WHERE charging_status IS NOT NULL),
  last(odometer_km, recorded_at) FILTER (WHERE odometer_km IS NOT NULL),
  max(recorded_at) FILTER (WHERE odometer_km IS NOT NULL),
  last(kwh_returned_dc, recorded_at) FILTER (WHERE kwh_returned_dc IS NOT NULL),
  max(recorded_at) FILTER (WHERE kwh_returned_dc IS NOT NULL),
  last(dc_returned_register_kwh, recorded_at) FILTER (WHERE dc_returned_register_kwh IS NOT NULL),
  max(recorded_at) FILTER (WHERE dc_returned_register_kwh IS NOT NULL),
  last(diagnostics, recorded_at) FILTER (WHERE diagnostics IS NOT NULL),
  max(recorded_at) FILTER (WHERE diagnostics IS NOT NULL),
  NULL::timestamptz
FROM (
  SELECT * FROM volt.vehicle_reading
  WHERE received_at >= coalesce(%(since)s::timestamptz, '-infinity')
    AND recorded_at >= coalesce(%(since)s::timestamptz - INTERVAL '7 days', '-infinity')
  UNION ALL
  SELECT * FROM volt.vehicle_reading
  WHERE filled_at >= %(since)s::timestamptz AND received_at < %(since)s::timestamptz
    AND recorded_at >= %(since)s::timestamptz - INTERVAL '7 days'
) AS arrived
GROUP BY vehicle_id

-- name: merge_vehicle_current
-- Merges the staged states into the table; returns the full rows after it, for the live topic.
INSERT INTO volt.vehicle_current AS c (
  vehicle_id, recorded_at, soc_pct, soc_at, speed_kmh, speed_at, battery_temp_c, battery_temp_at,
  kwh_delivered_dc, kwh_delivered_dc_at, dc_register_kwh, dc_register_at, latitude, longitude, position_at,
  charging_status, charging_status_at, odometer_km, odometer_at, kwh_returned_dc, kwh_returned_dc_at,
  dc_returned_register_kwh, dc_returned_register_at, diagnostics, diagnostics_at, last_seen_at, updated_at)
SELECT
  vehicle_id, recorded_at, soc_pct, soc_at, speed_kmh, speed_at, battery_temp_c, battery_temp_at,
  kwh_delivered_dc, kwh_delivered_dc_at, dc_register_kwh, dc_register_at, latitude, longitude, position_at,
  charging_status, charging_status_at, odometer_km, odometer_at, kwh_returned_dc, kwh_returned_dc_at,
  dc_returned_register_kwh, dc_returned_register_at, diagnostics, diagnostics_at, last_seen_at, now()
FROM pg_temp.staged_vehicle_current
ORDER BY vehicle_id
ON CONFLICT (vehicle_id) DO UPDATE SET
  recorded_at = greatest(c.recorded_at, excluded.recorded_at),
  soc_pct = CASE WHEN excluded.soc_at > coalesce(c.soc_at, '-infinity') THEN excluded.soc_pct ELSE c.soc_pct END,
  soc_at = greatest(c.soc_at, excluded.soc_at),
  speed_kmh = CASE WHEN excluded.speed_at > coalesce(c.speed_at, '-infinity') THEN excluded.speed_kmh ELSE c.speed_kmh END,
  speed_at = greatest(c.speed_at, excluded.speed_at),
  battery_temp_c = CASE WHEN excluded.battery_temp_at > coalesce(c.battery_temp_at, '-infinity') THEN excluded.battery_temp_c ELSE c.battery_temp_c END,
  battery_temp_at = greatest(c.battery_temp_at, excluded.battery_temp_at),
  kwh_delivered_dc = CASE WHEN excluded.kwh_delivered_dc_at > coalesce(c.kwh_delivered_dc_at, '-infinity') THEN excluded.kwh_delivered_dc ELSE c.kwh_delivered_dc END,
  kwh_delivered_dc_at = greatest(c.kwh_delivered_dc_at, excluded.kwh_delivered_dc_at),
  dc_register_kwh = CASE WHEN excluded.dc_register_at > coalesce(c.dc_register_at, '-infinity') THEN excluded.dc_register_kwh ELSE c.dc_register_kwh END,
  dc_register_at = greatest(c.dc_register_at, excluded.dc_register_at),
  latitude = CASE WHEN excluded.position_at > coalesce(c.position_at, '-infinity') THEN excluded.latitude ELSE c.latitude END,
  longitude = CASE WHEN excluded.position_at > coalesce(c.position_at, '-infinity') THEN excluded.longitude ELSE c.longitude END,
  position_at = greatest(c.position_at, excluded.position_at),
  charging_status = CASE WHEN excluded.charging_status_at > coalesce(c.charging_status_at, '-infinity') THEN excluded.charging_status ELSE c.charging_status END,
  charging_status_at = greatest(c.charging_status_at, excluded.charging_status_at),
  odometer_km = CASE WHEN excluded.odometer_at > coalesce(c.odometer_at, '-infinity') THEN excluded.odometer_km ELSE c.odometer_km END,
  odometer_at = greatest(c.odometer_at, excluded.odometer_at),
  kwh_returned_dc = CASE WHEN excluded.kwh_returned_dc_at > coalesce(c.kwh_returned_dc_at, '-infinity') THEN excluded.kwh_returned_dc ELSE c.kwh_returned_dc END,
  kwh_returned_dc_at = greatest(c.kwh_returned_dc_at, excluded.kwh_returned_dc_at),
  dc_returned_register_kwh = CASE WHEN excluded.dc_returned_register_at > coalesce(c.dc_returned_register_at, '-infinity') THEN excluded.dc_returned_register_kwh ELSE c.dc_returned_register_kwh END,
  dc_returned_register_at = greatest(c.dc_returned_register_at, excluded.dc_returned_register_at),
  diagnostics = CASE WHEN excluded.diagnostics_at > coalesce(c.diagnostics_at, '-infinity') THEN excluded.diagnostics ELSE c.diagnostics END,
  diagnostics_at = greatest(c.diagnostics_at, excluded.diagnostics_at),
  last_seen_at = CASE WHEN c.last_seen_at > now() + INTERVAL '1 min' THEN coalesce(excluded.last_seen_at, c.last_seen_at) ELSE greatest(c.last_seen_at, excluded.last_seen_at) END,
  updated_at = now()
RETURNING c.*

-- name: create_staged_meter_current
-- Once a session; empty again after each transaction. At most one row a meter.
CREATE TEMPORARY TABLE IF NOT EXISTS staged_meter_current (LIKE volt.meter_current INCLUDING DEFAULTS) ON COMMIT DELETE ROWS

-- name: copy_staged_meter_current
-- Binary COPY of merged states; each value with the time it was measured, last_seen_at NULL where only retained
-- messages spoke.
COPY pg_temp.staged_meter_current (
  meter_id, recorded_at, kwh_consumed_ac, kwh_consumed_ac_at, ac_register_kwh, ac_register_at, voltage_v,
  voltage_at, current_a, current_at, power_kw, power_at, kwh_returned_ac, kwh_returned_ac_at,
  ac_returned_register_kwh, ac_returned_register_at, last_seen_at
) FROM STDIN (FORMAT BINARY)

-- name: stage_meter_current_since
-- since timestamptz (NULL: everything): stages the states from readings received or filled in since, to heal what a crash
-- left behind. Readings that are more than a week older than that are not looked at: they may be in the columnstore, where
-- finding them by received_at means reading all of it. Liveness is left alone, raw rows do not tell retained ones.
INSERT INTO pg_temp.staged_meter_current (
  meter_id, recorded_at, kwh_consumed_ac, kwh_consumed_ac_at, ac_register_kwh, ac_register_at, voltage_v,
  voltage_at, current_a, current_at, power_kw, power_at, kwh_returned_ac, kwh_returned_ac_at,
  ac_returned_register_kwh, ac_returned_register_at, last_seen_at)
SELECT
  meter_id,
  max(recorded_at),
  last(kwh_consumed_ac, recorded_at) FILTER (WHERE kwh_consumed_ac IS NOT NULL),
  max(recorded_at) FILTER (WHERE kwh_consumed_ac IS NOT NULL),
  last(ac_register_kwh, recorded_at) FILTER (WHERE ac_register_kwh IS NOT NULL),
  max(recorded_at) FILTER (WHERE ac_register_kwh IS NOT NULL),
  last(voltage_v, recorded_at) FILTER (WHERE voltage_v IS NOT NULL),
  max(recorded_at) FILTER (WHERE voltage_v IS NOT NULL),
  last(current_a, recorded_at) FILTER (WHERE current_a IS NOT NULL),
  max(recorded_at) FILTER (WHERE current_a IS NOT NULL),
  last(power_kw, recorded_at) FILTER (WHERE power_kw IS NOT NULL),
  max(recorded_at) FILTER (WHERE power_kw IS NOT NULL),
  last(kwh_returned_ac, recorded_at) FILTER (WHERE kwh_returned_ac IS NOT NULL),
  max(recorded_at) FILTER (WHERE kwh_returned_ac IS NOT NULL),
  last(ac_returned_register_kwh, recorded_at) FILTER (WHERE ac_returned_register_kwh IS NOT NULL),
  max(recorded_at) FILTER (WHERE ac_returned_register_kwh IS NOT NULL),
  NULL::timestamptz
FROM (
  SELECT * FROM volt.meter_reading
  WHERE received_at >= coalesce(%(since)s::timestamptz, '-infinity')
    AND recorded_at >= coalesce(%(since)s::timestamptz - INTERVAL '7 days', '-infinity')
  UNION ALL
  SELECT * FROM volt.meter_reading
  WHERE filled_at >= %(since)s::timestamptz AND received_at < %(since)s::timestamptz
    AND recorded_at >= %(since)s::timestamptz - INTERVAL '7 days'
) AS arrived
GROUP BY meter_id

-- name: merge_meter_current
-- Merges the staged states into the table.
INSERT INTO volt.meter_current AS c (
  meter_id, recorded_at, kwh_consumed_ac, kwh_consumed_ac_at, ac_register_kwh, ac_register_at, voltage_v,
  voltage_at, current_a, current_at, power_kw, power_at, kwh_returned_ac, kwh_returned_ac_at,
  ac_returned_register_kwh, ac_returned_register_at, last_seen_at, updated_at)
SELECT
  meter_id, recorded_at, kwh_consumed_ac, kwh_consumed_ac_at, ac_register_kwh, ac_register_at, voltage_v,
  voltage_at, current_a, current_at, power_kw, power_at, kwh_returned_ac, kwh_returned_ac_at,
  ac_returned_register_kwh, ac_returned_register_at, last_seen_at, now()
FROM pg_temp.staged_meter_current
ORDER BY meter_id
ON CONFLICT (meter_id) DO UPDATE SET
  recorded_at = greatest(c.recorded_at, excluded.recorded_at),
  kwh_consumed_ac = CASE WHEN excluded.kwh_consumed_ac_at > coalesce(c.kwh_consumed_ac_at, '-infinity') THEN excluded.kwh_consumed_ac ELSE c.kwh_consumed_ac END,
  kwh_consumed_ac_at = greatest(c.kwh_consumed_ac_at, excluded.kwh_consumed_ac_at),
  ac_register_kwh = CASE WHEN excluded.ac_register_at > coalesce(c.ac_register_at, '-infinity') THEN excluded.ac_register_kwh ELSE c.ac_register_kwh END,
  ac_register_at = greatest(c.ac_register_at, excluded.ac_register_at),
  voltage_v = CASE WHEN excluded.voltage_at > coalesce(c.voltage_at, '-infinity') THEN excluded.voltage_v ELSE c.voltage_v END,
  voltage_at = greatest(c.voltage_at, excluded.voltage_at),
  current_a = CASE WHEN excluded.current_at > coalesce(c.current_at, '-infinity') THEN excluded.current_a ELSE c.current_a END,
  current_at = greatest(c.current_at, excluded.current_at),
  power_kw = CASE WHEN excluded.power_at > coalesce(c.power_at, '-infinity') THEN excluded.power_kw ELSE c.power_kw END,
  power_at = greatest(c.power_at, excluded.power_at),
  kwh_returned_ac = CASE WHEN excluded.kwh_returned_ac_at > coalesce(c.kwh_returned_ac_at, '-infinity') THEN excluded.kwh_returned_ac ELSE c.kwh_returned_ac END,
  kwh_returned_ac_at = greatest(c.kwh_returned_ac_at, excluded.kwh_returned_ac_at),
  ac_returned_register_kwh = CASE WHEN excluded.ac_returned_register_at > coalesce(c.ac_returned_register_at, '-infinity') THEN excluded.ac_returned_register_kwh ELSE c.ac_returned_register_kwh END,
  ac_returned_register_at = greatest(c.ac_returned_register_at, excluded.ac_returned_register_at),
  last_seen_at = CASE WHEN c.last_seen_at > now() + INTERVAL '1 min' THEN coalesce(excluded.last_seen_at, c.last_seen_at) ELSE greatest(c.last_seen_at, excluded.last_seen_at) END,
  updated_at = now()

-- name: touch_vehicle_current
-- ids text[], seen_ats timestamptz[]: vehicles that were heard without a measurement. Only those that have a state.
WITH heard AS MATERIALIZED (
  SELECT c.vehicle_id, seen.at
  FROM unnest(%(ids)s::text[], %(seen_ats)s::timestamptz[]) AS seen (id, at)
    JOIN volt.vehicle_current AS c ON c.vehicle_id = seen.id
  WHERE c.last_seen_at IS NULL OR c.last_seen_at < seen.at
    OR (c.last_seen_at > now() + INTERVAL '1 min' AND c.last_seen_at <> seen.at)
  ORDER BY c.vehicle_id
  FOR UPDATE OF c
)
UPDATE volt.vehicle_current AS c SET last_seen_at = heard.at, updated_at = now()
FROM heard WHERE c.vehicle_id = heard.vehicle_id

-- name: touch_meter_current
-- ids text[], seen_ats timestamptz[]: meters that were heard without a measurement. Only those that have a state.
WITH heard AS MATERIALIZED (
  SELECT c.meter_id, seen.at
  FROM unnest(%(ids)s::text[], %(seen_ats)s::timestamptz[]) AS seen (id, at)
    JOIN volt.meter_current AS c ON c.meter_id = seen.id
  WHERE c.last_seen_at IS NULL OR c.last_seen_at < seen.at
    OR (c.last_seen_at > now() + INTERVAL '1 min' AND c.last_seen_at <> seen.at)
  ORDER BY c.meter_id
  FOR UPDATE OF c
)
UPDATE volt.meter_current AS c SET last_seen_at = heard.at, updated_at = now()
FROM heard WHERE c.meter_id = heard.meter_id
