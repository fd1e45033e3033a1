-- What: which daemon does what exactly one has to do. Run by voltd/database/locks.py.
-- Why:  session locks, which PostgreSQL frees when their holder dies or its connection does.
-- Lock: advisory ones.

-- name: try_locks
-- keys bigint[]: key, and whether it was free and is ours now.
SELECT key, pg_try_advisory_lock(key) FROM unnest(%(keys)s::bigint[]) AS key


-- name: clock
-- The time now, not that of the transaction.
SELECT clock_timestamp()
