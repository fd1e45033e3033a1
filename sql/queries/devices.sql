-- What: the registry's status of devices, as people set and see it. Run by voltd/commands/.
-- Why:  a device need not be registered to be stored, so setting its status may register it.
-- Lock: ROW EXCLUSIVE on volt.vehicle or volt.meter for as long as it takes.

-- name: set_vehicle_status
-- ids text[], status: registers those that are not registered; returns nothing.
INSERT INTO volt.vehicle AS v (vehicle_id, status)
SELECT id, %(status)s FROM unnest(%(ids)s::text[]) AS id ORDER BY id
ON CONFLICT (vehicle_id) DO UPDATE SET status = excluded.status WHERE v.status <> excluded.status

-- name: set_meter_status
-- The same for meters.
INSERT INTO volt.meter AS m (meter_id, status)
SELECT id, %(status)s FROM unnest(%(ids)s::text[]) AS id ORDER BY id
ON CONFLICT (meter_id) DO UPDATE SET status = excluded.status WHERE m.status <> excluded.status

-- name: devices_before
-- device_type, ids text[]: of each its status (NULL: not registered), whether it was ever heard, its open alerts.
SELECT id, l.status, l.last_seen_at IS NOT NULL, (
  SELECT count(*) FROM volt.alert a
  WHERE a.resolved_at IS NULL AND a.device_type = %(device_type)s AND a.device_id = id)
FROM unnest(%(ids)s::text[]) WITH ORDINALITY AS wanted (id, place)
LEFT JOIN volt.device_liveness l ON l.device_type = %(device_type)s AND l.device_id = id
ORDER BY place

-- name: list_devices
-- device_type, status, fleet: each may be NULL; status 'unregistered': those that are not in the registry.
SELECT device_type, device_id, fleet_id, status, last_seen_at, seconds_since
FROM volt.device_liveness
WHERE (%(device_type)s::text IS NULL OR device_type = %(device_type)s)
  AND (%(status)s::text IS NULL OR coalesce(status, 'unregistered') = %(status)s)
  AND (%(fleet)s::text IS NULL OR fleet_id = %(fleet)s)
ORDER BY device_type DESC, device_id

-- name: registered_devices
-- Each device of the registry: device_type and id.
SELECT 'vehicle', vehicle_id FROM volt.vehicle
UNION ALL
SELECT 'meter', meter_id FROM volt.meter
