-- What: what "voltd check" asks. Run by voltd/commands/.
-- Why:  each query answers one line of its output.
-- Lock: ACCESS SHARE.

-- name: missing_privileges
-- What the connected user may not do although the daemon must: user, table, privilege.
SELECT current_user, wanted.name, wanted.privilege
FROM (VALUES
  ('volt.vehicle_reading', 'INSERT'), ('volt.vehicle_reading', 'SELECT'), ('volt.vehicle_reading', 'UPDATE'),
  ('volt.meter_reading', 'INSERT'), ('volt.meter_reading', 'SELECT'), ('volt.meter_reading', 'UPDATE'),
  ('volt.vehicle_current', 'INSERT'), ('volt.vehicle_current', 'UPDATE'),
  ('volt.meter_current', 'INSERT'), ('volt.meter_current', 'UPDATE'),
  ('volt.dead_letter', 'INSERT'), ('volt.dead_letter', 'SELECT'), ('volt_internal.ingest_state', 'UPDATE'),
  ('volt_internal.ingest_commit', 'INSERT'), ('volt_internal.ingest_commit', 'UPDATE'),
  ('volt_internal.excursion', 'INSERT'), ('volt.retained_reading', 'INSERT'),
  ('volt_internal.alert_progress', 'UPDATE'), ('volt.alert', 'INSERT'), ('volt.alert', 'UPDATE'),
  ('volt_internal.alert_state', 'UPDATE'), ('volt.alert_delivery', 'UPDATE'), ('volt.daemon', 'UPDATE'),
  ('volt_internal.rule_bounds', 'SELECT'), ('volt_internal.rule_bounds', 'UPDATE'),
  ('volt_internal.refused_device', 'UPDATE'), ('volt_internal.device_rhythm', 'UPDATE')
) AS wanted (name, privilege)
-- Of any column, because of dead letters it may read all but the payload. By oid, because the name of a table in a
-- schema that the user may not use is an error.
WHERE NOT coalesce((
  SELECT has_schema_privilege(c.relnamespace, 'USAGE') AND has_any_column_privilege(c.oid, wanted.privilege)
  FROM pg_class c WHERE concat_ws('.', c.relnamespace::regnamespace, c.relname) = wanted.name), false)
ORDER BY 2, 3

-- name: rules_checked
-- Whether a daemon of this database evaluates the rules; it publishes that every two seconds.
SELECT EXISTS (SELECT FROM volt_internal.rule_bounds WHERE published_at > now() - INTERVAL '30 s')

-- name: unknown_fleets
-- fleets text[]: those of them that are not registered, so that no vehicle can be in them.
SELECT named.fleet_id
FROM unnest(%(fleets)s::text[]) AS named (fleet_id)
WHERE NOT EXISTS (SELECT FROM volt.fleet f WHERE f.fleet_id = named.fleet_id)
ORDER BY 1

-- name: daemons_in_trouble
-- Instance, and what keeps it from taking messages.
SELECT instance, trouble FROM volt.daemon
WHERE trouble IS NOT NULL AND reported_at > now() - INTERVAL '30 s'
ORDER BY instance
