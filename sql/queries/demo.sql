-- What: what "voltd demo" shows. Run by voltd/demo/ as the superuser of its servers.
-- Why:  a person sees it work.
-- Lock: ACCESS SHARE.

-- name: demo_counts
-- Readings and dead letters. No malformed message of the demo has more than one bad field, and no other has one.
SELECT (SELECT count(*) FROM volt.vehicle_reading), (SELECT count(*) FROM volt.meter_reading),
       (SELECT coalesce(sum(repeats), 0)::bigint FROM volt.dead_letter)

-- name: demo_charging_now
-- Vehicles that charge at the moment, up to five, with the figures of the hour until their newest reading.
SELECT e.meter_id, v.vehicle_id, e.began_at AT TIME ZONE 'UTC', e.dc_kwh::float8, e.ac_kwh::float8, e.efficiency_pct::float8,
  e.quality
FROM (
  SELECT vehicle_id, recorded_at FROM volt.vehicle_current
  WHERE charging_status = 'CHARGING' ORDER BY vehicle_id LIMIT 5
) v
CROSS JOIN LATERAL volt.vehicle_efficiency(v.vehicle_id, v.recorded_at - INTERVAL '1 hour', v.recorded_at, 'period') e
ORDER BY v.vehicle_id

-- name: demo_alerts
-- Episodes by rule: how many are open, how many are resolved (or were found in late readings).
SELECT rule, count(*) FILTER (WHERE resolved_at IS NULL), count(*) FILTER (WHERE resolved_at IS NOT NULL)
FROM volt.alert GROUP BY rule ORDER BY rule

-- name: demo_newest_alerts
-- The newest messages, open alerts first.
SELECT message FROM volt.alert ORDER BY resolved_at IS NOT NULL, opened_at DESC LIMIT 3

-- name: demo_dead_letter_reasons
-- The most frequent ones.
SELECT reason, sum(repeats)::bigint FROM volt.dead_letter GROUP BY reason ORDER BY 2 DESC, 1

-- name: demo_efficiency_rows
-- How many vehicle-hours had energy to compare; volt.efficiency_hourly has them once they are closed.
SELECT count(*)
FROM volt.vehicle_current v
CROSS JOIN LATERAL (
  SELECT min(r.recorded_at) AS at FROM volt.vehicle_reading r WHERE r.vehicle_id = v.vehicle_id
) began
CROSS JOIN LATERAL volt.vehicle_efficiency(v.vehicle_id, began.at, now(), 'hour') e
WHERE e.efficiency_pct IS NOT NULL
