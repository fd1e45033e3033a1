-- What: what daemons report to each other. Run by voltd/daemon/ and voltd/rules/cycle/; published_bounds by
--       voltd/pipeline/write/.
-- Why:  the daemon that evaluates the rules raises the alert of another daemon's outage; of two daemons with one client
--       id the later one ends.
-- Lock: ROW EXCLUSIVE on a few rows.

-- name: report_daemon
-- How one daemon is, and which process it is.
INSERT INTO volt.daemon AS d (instance, reported_at, lag_s, spooling, healthy, unwell_at, client_id, host, pid, started_at)
VALUES (%(instance)s, now(), %(lag_s)s, %(spooling)s, %(healthy)s,
  now() - make_interval(secs => %(unwell_s)s::float8), %(client_id)s, %(host)s, %(pid)s, %(started_at)s)
ON CONFLICT (instance) DO UPDATE SET reported_at = excluded.reported_at, lag_s = excluded.lag_s,
  spooling = excluded.spooling, healthy = excluded.healthy, unwell_at = excluded.unwell_at,
  client_id = excluded.client_id, host = excluded.host, pid = excluded.pid, started_at = excluded.started_at

-- name: report_trouble
-- What keeps the daemon from taking messages; NULL: nothing.
UPDATE volt.daemon SET trouble = %(trouble)s::text WHERE instance = %(instance)s

-- name: forget_daemon
-- The daemon is being stopped.
DELETE FROM volt.daemon WHERE instance = %(instance)s

-- name: forget_dead_daemons
-- Daemons that died more than a day ago and never came back.
DELETE FROM volt.daemon WHERE reported_at <= now() - INTERVAL '1 day'

-- name: daemons
-- Daemons that run, and those that died within a day: instance, seconds since the report, lag, whether it spools,
-- whether it is healthy, seconds since it last was not healthy (NULL: never since it started), what keeps it from
-- taking messages (NULL: nothing). All by the clock of the database.
SELECT instance, extract(epoch FROM now() - reported_at)::float8, lag_s, spooling, healthy,
  extract(epoch FROM now() - unwell_at)::float8, trouble
FROM volt.daemon
WHERE reported_at > now() - INTERVAL '1 day'

-- name: daemons_of_client_id
-- client_id: other processes that report this client id (not host, pid, started_at): when they last did, and how many
-- seconds ago by the clock of the database.
SELECT host, pid, started_at, reported_at, extract(epoch FROM now() - reported_at)::float8
FROM volt.daemon
WHERE client_id = %(client_id)s AND (host, pid, started_at) <> (%(host)s, %(pid)s, %(started_at)s)

-- name: published_bounds
-- bounds as text, late_after_s, and how far the clocks of vehicles are behind as text (s by vehicle). No row where no
-- daemon has evaluated rules for a day: nobody would take excursions.
SELECT bounds::text, late_after_s,
  (SELECT jsonb_object_agg(device_id, behind_s) FROM volt.device_clock WHERE device_type = 'vehicle')::text
FROM volt_internal.rule_bounds WHERE published_at > now() - INTERVAL '1 day'
