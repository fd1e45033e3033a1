-- What: the fleet at this moment: how charged, and who is silent.
-- Why:  from the current state, one row a device; registered devices that were never seen must show too.
-- Lock: ACCESS EXCLUSIVE on the views while they are replaced.

CREATE OR REPLACE VIEW volt.fleet_soc_distribution AS
SELECT
  v.fleet_id,
  format('%s-%s', b.decade * 10, b.decade * 10 + 10) AS bucket,
  count(*) AS vehicles
FROM volt.vehicle_current c
LEFT JOIN volt.vehicle v ON v.vehicle_id = c.vehicle_id
CROSS JOIN LATERAL (SELECT least(floor(c.soc_pct / 10)::int, 9) AS decade) b
WHERE c.soc_pct IS NOT NULL AND v.status IS DISTINCT FROM 'retired'
GROUP BY v.fleet_id, b.decade;

CREATE OR REPLACE VIEW volt.device_liveness AS
SELECT
  'vehicle' AS device_type,
  coalesce(c.vehicle_id, v.vehicle_id) AS device_id,
  v.fleet_id,
  c.last_seen_at,
  extract(epoch FROM now() - c.last_seen_at)::double precision AS seconds_since,
  v.status
FROM volt.vehicle_current c
FULL JOIN volt.vehicle v ON v.vehicle_id = c.vehicle_id
UNION ALL
SELECT
  'meter',
  coalesce(c.meter_id, m.meter_id),
  f.fleet_id,
  c.last_seen_at,
  extract(epoch FROM now() - c.last_seen_at)::double precision,
  m.status
FROM volt.meter_current c
FULL JOIN volt.meter m ON m.meter_id = c.meter_id
LEFT JOIN (
  SELECT l.meter_id, min(v.fleet_id) AS fleet_id
  FROM volt.vehicle_meter l
  JOIN volt.vehicle v ON v.vehicle_id = l.vehicle_id
  WHERE l.valid @> now()
  GROUP BY l.meter_id
) f ON f.meter_id = coalesce(c.meter_id, m.meter_id);
