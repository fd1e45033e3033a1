-- What: how what voltd keeps itself comes about: energy, efficiency, and the roll-ups of TimescaleDB's Apache-2 edition. Run
--       by voltd/database/rollup.py.
-- Why:  quarter hours before the closing watermark are computed once; a reading that arrives later must have them computed
--       again.
-- Lock: a shared advisory lock, for which only the closing of hours waits; ROW EXCLUSIVE on the append-only dirty
--       tables.

-- name: rollup_closing_watermark
-- First statement of each batch's transaction. NULL: nothing to mark. Readings recorded before the time returned get
-- their device-hours marked (next two queries) in the same transaction. Holds a shared advisory lock until it ends.
SELECT volt_internal.rollup_closing_watermark() AS closing_watermark

-- each device:

-- name: mark_{device}_hours_dirty
-- {device}_ids text[], recorded_ats timestamptz[]: of the readings recorded before the closing watermark.
INSERT INTO volt_internal.{device}_rollup_dirty ({device}_id, hour)
SELECT DISTINCT {device}_id, date_trunc('hour', recorded_at, 'UTC')
FROM unnest(%({device}_ids)s::text[], %(recorded_ats)s::timestamptz[]) AS late ({device}_id, recorded_at)

-- end

-- name: mark_onboard_hours_dirty
-- vehicle_ids text[], recorded_ats timestamptz[]: of the late readings that have an AC register of an on-board charger.
INSERT INTO volt_internal.energy_dirty (device_type, device_id, from_at, to_at)
SELECT DISTINCT 'onboard', vehicle_id, date_trunc('hour', recorded_at, 'UTC'),
  date_trunc('hour', recorded_at, 'UTC') + INTERVAL '1 hour'
FROM unnest(%(vehicle_ids)s::text[], %(recorded_ats)s::timestamptz[]) AS late (vehicle_id, recorded_at)

-- name: rollup_try_lock
-- key bigint. One runner of the roll-up, or of the sessions, at a time; false: another daemon runs it.
SELECT pg_try_advisory_lock(%(key)s::bigint)

-- name: rollup_unlock
-- key bigint.
SELECT pg_advisory_unlock(%(key)s::bigint)

-- name: statement_limit
-- How long a statement of this session may take.
SELECT current_setting('statement_timeout')

-- name: limit_statements
-- limit text: how long statements of this session may take from now on.
SELECT set_config('statement_timeout', %(limit)s::text, false)

-- name: close_quarter_hours
-- The new closing watermark.
SELECT volt_internal.close_quarter_hours()

-- name: rollup_advance
-- Computes one closed hour of the Apache-2 edition's roll-ups; false: none is left.
SELECT volt_internal.rollup_advance()

-- each device:

-- name: rollup_recompute_{device}s
-- at_once int: at most so many marks. How many {device}-hours were computed again.
SELECT volt_internal.rollup_recompute_{device}s(%(at_once)s::int)

-- name: keep_marked_{device}s
-- at_once int: at most so many marks. How many {device}-days had their energy computed again.
SELECT volt_internal.keep_marked_{device}s(%(at_once)s::int)

-- end

-- name: keep_marked_onboards
-- at_once int: at most so many vehicles. How many on-board chargers had their energy of a day computed again.
SELECT volt_internal.keep_marked_onboards(%(at_once)s::int)

-- name: keep_energy
-- Computes the next closed quarter hours; false: none is left.
SELECT volt_internal.keep_energy()

-- name: keep_efficiency
-- at_once int: about so many marks. How many vehicles had their efficiency computed.
SELECT volt_internal.keep_efficiency(%(at_once)s::int)

-- name: efficiency_is_kept
-- Notes up to which hour the efficiency is complete.
SELECT volt_internal.efficiency_is_kept()
