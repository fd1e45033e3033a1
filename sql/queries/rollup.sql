-- What: how the roll-ups of TimescaleDB's Apache-2 edition learn of late readings; both editions run the same queries.
--       Run by voltd/database/rollup.py.
-- Why:  hours before the closing watermark are computed once; a reading that arrives later must have its hour computed
--       again.
-- Lock: a shared advisory lock, for which only the closing of hours waits; ROW EXCLUSIVE on the append-only dirty
--       tables.

-- name: rollup_closing_watermark
-- First statement of each batch's transaction. NULL: nothing to mark. Readings recorded before the time returned get
-- their device-hours marked (next two queries) in the same transaction. Holds a shared advisory lock until it ends.
SELECT volt_internal.rollup_closing_watermark() AS closing_watermark

-- name: mark_vehicle_hours_dirty
-- vehicle_ids text[], recorded_ats timestamptz[]: of the readings recorded before the closing watermark.
INSERT INTO volt_internal.vehicle_rollup_dirty (vehicle_id, hour)
SELECT DISTINCT vehicle_id, date_trunc('hour', recorded_at, 'UTC')
FROM unnest(%(vehicle_ids)s::text[], %(recorded_ats)s::timestamptz[]) AS late (vehicle_id, recorded_at)

-- name: mark_meter_hours_dirty
-- meter_ids text[], recorded_ats timestamptz[]: of the readings recorded before the closing watermark.
INSERT INTO volt_internal.meter_rollup_dirty (meter_id, hour)
SELECT DISTINCT meter_id, date_trunc('hour', recorded_at, 'UTC')
FROM unnest(%(meter_ids)s::text[], %(recorded_ats)s::timestamptz[]) AS late (meter_id, recorded_at)

-- name: rollup_try_lock
-- key bigint. One roll-up runner at a time; false: another daemon runs it.
SELECT pg_try_advisory_lock(%(key)s::bigint)

-- name: rollup_unlock
-- key bigint.
SELECT pg_advisory_unlock(%(key)s::bigint)

-- name: rollup_close_hours
-- The new closing watermark; NULL: Community edition, nothing to do.
SELECT volt_internal.rollup_close_hours()

-- name: rollup_advance
-- Computes one closed hour; false: none is left.
SELECT volt_internal.rollup_advance()

-- name: rollup_recompute_vehicles
-- at_once int: at most so many marks. How many vehicle-hours were computed again.
SELECT volt_internal.rollup_recompute_vehicles(%(at_once)s::int)

-- name: rollup_recompute_meters
-- at_once int: at most so many marks. How many meter-hours were computed again.
SELECT volt_internal.rollup_recompute_meters(%(at_once)s::int)
