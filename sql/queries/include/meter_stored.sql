-- Staged rows s at places int[] and their stored rows r, of the day from since until until.
FROM pg_temp.meter_staging s
JOIN (
  SELECT v.*
  FROM (
    SELECT meter_id, min(recorded_at) AS since, max(recorded_at) AS until FROM pg_temp.meter_staging
    WHERE recorded_at >= %(since)s AND recorded_at < %(until)s
      AND place = ANY (%(places)s::int[]) GROUP BY meter_id) AS d
  CROSS JOIN LATERAL (
    SELECT * FROM volt.meter_reading w
    WHERE w.meter_id = d.meter_id AND w.recorded_at >= d.since AND w.recorded_at <= d.until
      AND w.recorded_at >= %(since)s AND w.recorded_at < %(until)s
    OFFSET 0) AS v
) AS r ON r.meter_id = s.meter_id AND r.recorded_at = s.recorded_at
WHERE s.place = ANY (%(places)s::int[]);
