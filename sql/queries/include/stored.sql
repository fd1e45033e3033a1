-- Staged rows s at places int[] and their stored rows r, of the day from since to until.
FROM pg_temp.{device}_staging s
JOIN (
  SELECT v.*
  FROM (
    SELECT {device}_id, min(recorded_at) AS since, max(recorded_at) AS until FROM pg_temp.{device}_staging
    WHERE recorded_at >= %(since)s AND recorded_at < %(until)s
      AND place = ANY (%(places)s::int[]) GROUP BY {device}_id) AS d
  CROSS JOIN LATERAL (
    SELECT * FROM volt.{device}_reading w
    WHERE w.{device}_id = d.{device}_id AND w.recorded_at >= d.since AND w.recorded_at <= d.until
      AND w.recorded_at >= %(since)s AND w.recorded_at < %(until)s
    OFFSET 0) AS v
) AS r ON r.{device}_id = s.{device}_id AND r.recorded_at = s.recorded_at
WHERE s.place = ANY (%(places)s::int[]);
