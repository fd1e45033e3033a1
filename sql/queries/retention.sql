-- What: what the scheduler runs so that the database does not grow without end, and what a daemon runs that takes older
--       readings than the database stores.
-- Why:  see sql/idempotent/75_retention.sql.
-- Lock: ACCESS EXCLUSIVE on chunks that are dropped.

-- name: drop_old_readings
-- How many chunks were dropped.
SELECT volt_internal.drop_old_readings()

-- name: drop_old_dead_letters
-- at_most int. How many dead letters were deleted.
SELECT volt_internal.drop_old_dead_letters(%(at_most)s::int)

-- name: drop_old_alerts
-- at_most int. How many episodes of alerts were deleted.
SELECT volt_internal.drop_old_alerts(%(at_most)s::int)

-- name: raise_raw_retention
-- at_least_days int. Whether the retention was raised.
SELECT volt_internal.raise_raw_retention(%(at_least_days)s::int)
