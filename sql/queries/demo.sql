-- What: what "voltd demo" shows. Run by voltd/demo/ as the superuser of its servers.
-- Why:  a person sees it work.
-- Lock: ACCESS SHARE.

-- name: demo_counts
-- Readings and dead letters. No malformed message of the demo has more than one bad field, and no other has one.
SELECT (SELECT count(*) FROM volt.vehicle_reading), (SELECT count(*) FROM volt.meter_reading),
       (SELECT coalesce(sum(repeats), 0)::bigint FROM volt.dead_letter)

-- name: demo_worst_chargers
-- The vehicle-hours with the lowest efficiency that say something about their charger.
SELECT meter_id, vehicle_id, hour AT TIME ZONE 'UTC', dc_kwh::float8, ac_kwh::float8, efficiency_pct::float8, quality
FROM volt.efficiency_hourly
WHERE efficiency_pct IS NOT NULL AND quality IN ('ok', 'partial') AND ac_kwh > 1
  AND hour < date_trunc('hour', now()) -- of the running hour one side may be ahead
ORDER BY efficiency_pct
LIMIT 5

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
-- How many vehicle-hours have an efficiency.
SELECT count(*) FROM volt.efficiency_hourly
