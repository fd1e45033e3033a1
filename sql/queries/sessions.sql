-- What: keeps charging sessions. Run by voltd/database/sessions.py.
-- Why:  what has changed is marked, and one runner looks at the marks.
-- Lock: ROW EXCLUSIVE on the tables that are kept.

-- name: mark_sessions
-- Marks the vehicles whose current state says that a session begins or ends. How many.
SELECT volt_internal.mark_sessions()

-- name: keep_sessions
-- at_once int: of at most so many vehicles. How many marks were worked off; 0: none is due.
SELECT volt_internal.keep_sessions(%(at_once)s::int)
