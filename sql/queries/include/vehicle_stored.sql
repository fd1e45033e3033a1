-- Staged rows s at places int[] and their stored rows r, of the day from since until until.
FROM pg_temp.vehicle_staging s
JOIN (
  SELECT v.*
  FROM (
    SELECT vehicle_id, min(recorded_at) AS since, max(recorded_at) AS until FROM pg_temp.vehicle_staging
    WHERE recorded_at >= %(since)s AND recorded_at < %(until)s
      AND place = ANY (%(places)s::int[]) GROUP BY vehicle_id) AS d
  CROSS JOIN LATERAL (
    SELECT * FROM volt.vehicle_reading w
    WHERE w.vehicle_id = d.vehicle_id AND w.recorded_at >= d.since AND w.recorded_at <= d.until
      AND w.recorded_at >= %(since)s AND w.recorded_at < %(until)s
    OFFSET 0) AS v
) AS r ON r.vehicle_id = s.vehicle_id AND r.recorded_at = s.recorded_at
WHERE s.place = ANY (%(places)s::int[]);
