-- What: the fleet at this moment: states of charge, and when each device was last heard.
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
  v.status,
  CASE WHEN c.speed_at = c.recorded_at AND c.speed_kmh > 5 THEN k.driving_usual_s ELSE k.usual_s END AS usual_interval_s,
  r.since AS refused_since,
  r.reason AS refused_reason,
  r.detail AS refused_detail
FROM volt.vehicle_current c
FULL JOIN volt.vehicle v ON v.vehicle_id = c.vehicle_id
LEFT JOIN volt_internal.device_rhythm k ON k.device_type = 'vehicle' AND k.device_id = coalesce(c.vehicle_id, v.vehicle_id)
LEFT JOIN volt_internal.refused_device r
  ON r.device_type = 'vehicle' AND r.device_id = coalesce(c.vehicle_id, v.vehicle_id)
    AND r.last_at > coalesce(c.last_seen_at, '-infinity')
UNION ALL
SELECT
  'meter',
  coalesce(c.meter_id, m.meter_id),
  f.fleet_id,
  c.last_seen_at,
  extract(epoch FROM now() - c.last_seen_at)::double precision,
  m.status,
  k.usual_s,
  r.since,
  r.reason,
  r.detail
FROM volt.meter_current c
FULL JOIN volt.meter m ON m.meter_id = c.meter_id
LEFT JOIN volt_internal.device_rhythm k ON k.device_type = 'meter' AND k.device_id = coalesce(c.meter_id, m.meter_id)
LEFT JOIN volt_internal.refused_device r
  ON r.device_type = 'meter' AND r.device_id = coalesce(c.meter_id, m.meter_id)
    AND r.last_at > coalesce(c.last_seen_at, '-infinity')
LEFT JOIN (
  SELECT l.meter_id, min(v.fleet_id) AS fleet_id
  FROM volt.vehicle_meter l
  JOIN volt.vehicle v ON v.vehicle_id = l.vehicle_id
  WHERE l.valid @> now()
  GROUP BY l.meter_id
) f ON f.meter_id = coalesce(c.meter_id, m.meter_id)
UNION ALL
SELECT r.device_type, r.device_id, NULL, NULL, NULL, NULL, NULL, r.since, r.reason, r.detail
FROM volt_internal.refused_device r
WHERE NOT EXISTS (SELECT FROM volt.vehicle_current c WHERE r.device_type = 'vehicle' AND c.vehicle_id = r.device_id)
  AND NOT EXISTS (SELECT FROM volt.vehicle v WHERE r.device_type = 'vehicle' AND v.vehicle_id = r.device_id)
  AND NOT EXISTS (SELECT FROM volt.meter_current c WHERE r.device_type = 'meter' AND c.meter_id = r.device_id)
  AND NOT EXISTS (SELECT FROM volt.meter m WHERE r.device_type = 'meter' AND m.meter_id = r.device_id);
