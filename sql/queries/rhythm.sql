-- What: how long each device is usually inactive between two signs of life. Run by voltd/pipeline/current/ in the
--       transaction of its merge, before it.
-- Why:  the interval is the staged sign of life less the stored one, so no history is read. A row is written only where
--       it changes what is known. voltd/rules/rhythm.py does the same over stored history, and says which intervals
--       count.
-- Lock: ROW EXCLUSIVE; rows are locked in the order of their ids.

-- name: note_vehicle_rhythms
-- well_since timestamptz: an interval that began before may be an outage of voltd or the broker, and does not count.
WITH heard AS (
  SELECT c.vehicle_id AS device_id, c.last_seen_at AS began_at, s.last_seen_at AS ended_at,
    extract(epoch FROM s.last_seen_at - c.last_seen_at)::float8 AS interval_s,
    coalesce(c.speed_at = c.recorded_at AND c.speed_kmh > 5, false) AS driving
  FROM pg_temp.staged_vehicle_current s
  JOIN volt.vehicle_current c ON c.vehicle_id = s.vehicle_id
  WHERE s.last_seen_at > c.last_seen_at AND c.last_seen_at >= %(well_since)s::timestamptz
), known AS (
  SELECT h.*, r.moved_at,
    CASE WHEN h.driving THEN r.driving_longest_s ELSE r.longest_s END * f.left_of_it AS longest_s,
    CASE WHEN h.driving THEN r.driving_usual_s ELSE r.usual_s END * f.left_of_it AS usual_s
  FROM heard h
  LEFT JOIN volt_internal.device_rhythm r ON r.device_type = 'vehicle' AND r.device_id = h.device_id
  CROSS JOIN LATERAL (
    SELECT power(0.5, least(extract(epoch FROM h.ended_at
      - CASE WHEN h.driving THEN r.driving_noted_at ELSE r.noted_at END)::float8 / 604800, 1000)) AS left_of_it) f
), weighed AS (
  SELECT *, CASE
    WHEN interval_s >= 90 THEN usual_s IS NULL OR interval_s > 1.1 * usual_s
    ELSE usual_s IS NULL AND (driving OR moved_at IS NULL OR began_at - moved_at >= INTERVAL '1 hour')
  END AS noted
  FROM known
)
INSERT INTO volt_internal.device_rhythm AS r (device_type, device_id, longest_s, usual_s, noted_at, driving_longest_s,
  driving_usual_s, driving_noted_at, moved_at, known_since)
SELECT 'vehicle', device_id,
  CASE WHEN noted AND NOT driving THEN greatest(longest_s, interval_s) END,
  CASE WHEN noted AND NOT driving AND longest_s IS NOT NULL THEN greatest(usual_s, least(longest_s, interval_s)) END,
  CASE WHEN noted AND NOT driving THEN ended_at END,
  CASE WHEN noted AND driving THEN greatest(longest_s, interval_s) END,
  CASE WHEN noted AND driving AND longest_s IS NOT NULL THEN greatest(usual_s, least(longest_s, interval_s)) END,
  CASE WHEN noted AND driving THEN ended_at END,
  CASE WHEN driving THEN began_at END,
  CASE WHEN noted AND NOT driving THEN ended_at END
FROM weighed
WHERE noted OR (driving AND (moved_at IS NULL OR moved_at < began_at - INTERVAL '10 min'))
ORDER BY device_id
ON CONFLICT (device_type, device_id) DO UPDATE SET
  longest_s = coalesce(excluded.longest_s, r.longest_s),
  usual_s = coalesce(excluded.usual_s, r.usual_s),
  noted_at = coalesce(excluded.noted_at, r.noted_at),
  driving_longest_s = coalesce(excluded.driving_longest_s, r.driving_longest_s),
  driving_usual_s = coalesce(excluded.driving_usual_s, r.driving_usual_s),
  driving_noted_at = coalesce(excluded.driving_noted_at, r.driving_noted_at),
  moved_at = greatest(r.moved_at, excluded.moved_at),
  known_since = coalesce(r.known_since, r.noted_at, excluded.known_since)

-- name: note_meter_rhythms
-- The same for meters, which do not drive.
WITH heard AS (
  SELECT c.meter_id AS device_id, s.last_seen_at AS ended_at,
    extract(epoch FROM s.last_seen_at - c.last_seen_at)::float8 AS interval_s
  FROM pg_temp.staged_meter_current s
  JOIN volt.meter_current c ON c.meter_id = s.meter_id
  WHERE s.last_seen_at > c.last_seen_at AND c.last_seen_at >= %(well_since)s::timestamptz
), known AS (
  SELECT h.*, r.longest_s * f.left_of_it AS longest_s, r.usual_s * f.left_of_it AS usual_s
  FROM heard h
  LEFT JOIN volt_internal.device_rhythm r ON r.device_type = 'meter' AND r.device_id = h.device_id
  CROSS JOIN LATERAL (
    SELECT power(0.5, least(extract(epoch FROM h.ended_at - r.noted_at)::float8 / 604800, 1000)) AS left_of_it) f
)
INSERT INTO volt_internal.device_rhythm AS r (device_type, device_id, longest_s, usual_s, noted_at)
SELECT 'meter', device_id, greatest(longest_s, interval_s),
  CASE WHEN longest_s IS NOT NULL THEN greatest(usual_s, least(longest_s, interval_s)) END, ended_at
FROM known
WHERE usual_s IS NULL OR (interval_s >= 90 AND interval_s > 1.1 * usual_s)
ORDER BY device_id
ON CONFLICT (device_type, device_id) DO UPDATE SET
  longest_s = excluded.longest_s,
  usual_s = coalesce(excluded.usual_s, r.usual_s),
  noted_at = excluded.noted_at

-- name: forget_rhythms
-- Deletes those of devices that have not been heard for 90 days.
DELETE FROM volt_internal.device_rhythm
WHERE greatest(noted_at, driving_noted_at, moved_at) < now() - INTERVAL '90 days'
  AND NOT EXISTS (SELECT FROM volt.vehicle_current c
    WHERE device_type = 'vehicle' AND c.vehicle_id = device_id AND c.last_seen_at > now() - INTERVAL '90 days')
  AND NOT EXISTS (SELECT FROM volt.meter_current c
    WHERE device_type = 'meter' AND c.meter_id = device_id AND c.last_seen_at > now() - INTERVAL '90 days')
