-- What: what the scheduler runs to keep the database from growing without end.
-- Why:  see sql/idempotent/75_retention.sql.
-- Lock: ACCESS EXCLUSIVE on chunks that are dropped.

-- name: drop_old_readings
-- How many chunks were dropped; always 0 on the Community edition, whose own policy does it.
SELECT volt_internal.drop_old_readings()

-- name: drop_old_dead_letters
-- at_most int. How many dead letters were deleted.
SELECT volt_internal.drop_old_dead_letters(%(at_most)s::int)

-- name: drop_old_alerts
-- at_most int. How many episodes of alerts were deleted.
SELECT volt_internal.drop_old_alerts(%(at_most)s::int)

-- name: keep_raw_readings
-- at_least_days int. Whether the retention had to be raised.
SELECT volt_internal.keep_raw_readings(%(at_least_days)s::int)
