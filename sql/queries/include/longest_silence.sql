-- Of the episode a, where it is open: the silence s that covers it longest.
LEFT JOIN LATERAL (
  SELECT silence_id, ends_at
  FROM volt.alert_silence s
  WHERE a.resolved_at IS NULL AND volt.silence_covers(s, a.rule, a.fleet_id, a.device_type, a.device_id)
  ORDER BY s.ends_at DESC LIMIT 1
) s ON true
