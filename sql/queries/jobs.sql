-- What: which daemon does what exactly one must do, the database's clock, and TimescaleDB's own jobs. Run by
--       voltd/daemon/ and voltd/database/policies.py.
-- Why:  session locks, which PostgreSQL frees when their holder or its connection ends.
-- Lock: advisory ones.

-- name: try_locks
-- keys bigint[]: each key, and whether this session has just taken its lock.
SELECT key, pg_try_advisory_lock(key) FROM unnest(%(keys)s::bigint[]) AS key

-- name: clock
-- The time now, not that of the transaction.
SELECT clock_timestamp()

-- name: timescaledb_jobs
-- TimescaleDB's jobs for voltd's tables, in the order in which a refresh needs the others; none on the Apache-2 edition.
SELECT job_id, kind, relation, owner, every, paused, running, succeeded, waiting, failed, failures,
  coalesce(error, '') AS error, coalesce(sqlstate, '') AS sqlstate, refresh_from, refresh_to, bucket
FROM volt_internal.timescaledb_jobs()

-- name: may_refresh
-- owner text: of an aggregate. Whether this user may refresh it: TimescaleDB lets its owner do that, and nobody else.
SELECT pg_has_role(current_user, %(owner)s::text, 'USAGE')
