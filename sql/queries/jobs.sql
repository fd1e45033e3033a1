-- What: which daemon does what exactly one must do, and the database's clock. Run by voltd/database/locks.py and
--       voltd/daemon/.
-- Why:  session locks, which PostgreSQL frees when their holder or its connection ends.
-- Lock: advisory ones.

-- name: try_locks
-- keys bigint[]: each key, and whether this session has just taken its lock.
SELECT key, pg_try_advisory_lock(key) FROM unnest(%(keys)s::bigint[]) AS key

-- name: clock
-- The time now, not that of the transaction.
SELECT clock_timestamp()
