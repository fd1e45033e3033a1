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
