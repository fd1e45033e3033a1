-- What: devices that send and of which everything is refused. Run by voltd/pipeline/write/ and voltd/daemon/.
-- Why:  a stored reading deletes nothing here, as that would cost every batch: readers compare last_at with
--       last_seen_at.
-- Lock: ROW EXCLUSIVE; rows are locked in the order of their keys, so two writers cannot deadlock.

-- name: upsert_refused_devices
-- device_type, device_id, reason, detail: text[]; since, last_at: timestamptz[]. Inserts or updates; since begins anew
-- where a reading was stored after the last refusal.
INSERT INTO volt_internal.refused_device AS r (device_type, device_id, since, last_at, reason, detail)
SELECT * FROM unnest(%(device_type)s::text[], %(device_id)s::text[], %(since)s::timestamptz[], %(last_at)s::timestamptz[],
  %(reason)s::text[], %(detail)s::text[])
ON CONFLICT (device_type, device_id) DO UPDATE SET
  since = CASE WHEN r.last_at < coalesce(CASE r.device_type
      WHEN 'vehicle' THEN (SELECT c.last_seen_at FROM volt.vehicle_current c WHERE c.vehicle_id = r.device_id)
      ELSE (SELECT c.last_seen_at FROM volt.meter_current c WHERE c.meter_id = r.device_id) END, '-infinity')
    THEN excluded.since ELSE least(r.since, excluded.since) END,
  last_at = greatest(r.last_at, excluded.last_at),
  reason = excluded.reason,
  detail = excluded.detail

-- name: forget_refused_devices
-- Deletes those of which something was stored since, and those that have not sent for 30 days.
DELETE FROM volt_internal.refused_device r
WHERE r.last_at < now() - INTERVAL '30 days'
  OR (r.device_type = 'vehicle' AND EXISTS (
    SELECT FROM volt.vehicle_current c WHERE c.vehicle_id = r.device_id AND c.last_seen_at > r.last_at))
  OR (r.device_type = 'meter' AND EXISTS (
    SELECT FROM volt.meter_current c WHERE c.meter_id = r.device_id AND c.last_seen_at > r.last_at))
