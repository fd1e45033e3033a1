SELECT f.metric, h.vehicle_id, h.hour + INTERVAL '1 hour' AS ended_at, f.value::float8 AS value, f.low::float8 AS low,
  f.high::float8 AS high, f.resolves
FROM volt.efficiency_hourly h
CROSS JOIN LATERAL (VALUES
  ('efficiency_pct', h.efficiency_pct, h.efficiency_low_pct, h.efficiency_high_pct, h.quality = 'ok',
    h.quality = 'ok' OR (h.quality = 'suspect' AND h.efficiency_pct > 100)),
  ('unassigned_kwh', h.unassigned_kwh, h.unassigned_kwh, h.unassigned_kwh, true, h.quality <> 'estimated')
) AS f (metric, value, low, high, resolves, counts)
WHERE h.hour >= %(since)s::timestamptz AND h.hour < %(until)s::timestamptz AND f.counts AND f.value IS NOT NULL
  AND f.metric = ANY (%(metrics)s::text[])
UNION ALL
-- An hour without energy has no row. Where a stranger was, it says that he has left, if a meter of the vehicle reported.
SELECT 'unassigned_kwh', i.vehicle_id, i.hour + INTERVAL '1 hour', 0, 0, 0, true
FROM (
  SELECT l.vehicle_id, date_trunc('hour', q.quarter_hour, 'UTC') AS hour
  FROM volt.vehicle_meter l
  JOIN volt.meter_quarter_hourly q ON q.meter_id = l.meter_id AND l.valid @> q.quarter_hour
  WHERE 'unassigned_kwh' = ANY (%(metrics)s::text[])
    AND q.quarter_hour >= %(since)s::timestamptz AND q.quarter_hour < %(until)s::timestamptz
    AND l.vehicle_id IN (
      SELECT a.device_id FROM volt.alert a
      WHERE a.rule = ANY (%(rules)s::text[]) AND a.device_type = 'vehicle' AND a.resolved_at IS NULL
      UNION ALL
      SELECT h.vehicle_id FROM volt.efficiency_hourly h
      WHERE h.hour >= %(since)s::timestamptz AND h.hour < %(until)s::timestamptz AND h.unassigned_kwh > 0)
  GROUP BY 1, 2
  HAVING max(q.energy_kwh) = 0
    AND max(q.quarter_hour) FILTER (WHERE q.energy_kwh = 0) = date_trunc('hour', q.quarter_hour, 'UTC') + INTERVAL '45 minutes'
) AS i
WHERE NOT EXISTS (SELECT FROM volt.efficiency_hourly h WHERE h.vehicle_id = i.vehicle_id AND h.hour = i.hour)
