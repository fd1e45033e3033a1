-- What: stored history as the rules see it. Run by voltd/rules/backtest/, read only, in one transaction.
-- Why:  a device that cannot have raised anything is left out here, by the limits of the rules (NULL: none on that
--       side). Of the others only the readings from their first excursion on are sent, device by device. ids NULL:
--       every device. Readings by arrival are searched among those recorded up to a day before and after.
-- Lock: ACCESS SHARE.

-- name: history_registry
-- Fleet, model and status of every registered device; a meter has neither fleet nor model.
SELECT 'vehicle', vehicle_id, fleet_id, model, status FROM volt.vehicle
UNION ALL
SELECT 'meter', meter_id, NULL, NULL, status FROM volt.meter

-- name: history_candidates
-- Vehicles with a reading in [begins, ends) beyond a limit: the first of these, and their charging status in the
-- current state.
SELECT found.vehicle_id, found.since, c.charging_status, c.charging_status_at
FROM (
  SELECT vehicle_id, min(recorded_at) AS since
  FROM volt.vehicle_reading
  WHERE recorded_at >= %(begins)s::timestamptz AND recorded_at < %(ends)s::timestamptz
    AND (%(ids)s::text[] IS NULL OR vehicle_id = ANY (%(ids)s))
    AND (
      false
      -- each metric: OR {metric} < %({metric}_below)s::float8 OR {metric} > %({metric}_above)s::float8
    )
  GROUP BY vehicle_id
) AS found
LEFT JOIN volt.vehicle_current c ON c.vehicle_id = found.vehicle_id

-- name: history_charging
-- ids text[], sinces timestamptz[] (pairs): the last charging status of each before that time, and when it was
-- reported.
SELECT wanted.vehicle_id, last.charging_status, last.recorded_at
FROM unnest(%(ids)s::text[], %(sinces)s::timestamptz[]) AS wanted (vehicle_id, since)
CROSS JOIN LATERAL (
  SELECT r.charging_status, r.recorded_at
  FROM volt.vehicle_reading r
  WHERE r.vehicle_id = wanted.vehicle_id AND r.recorded_at < wanted.since AND r.charging_status IS NOT NULL
    AND r.recorded_at >= wanted.since - INTERVAL '1 day'
  ORDER BY r.recorded_at DESC LIMIT 1
) AS last

-- name: history_before
-- ids text[], sinces timestamptz[] (pairs), at_most int: when the last at_most readings of each before that time begin;
-- these show how often it reports.
SELECT wanted.vehicle_id, min(last.recorded_at)
FROM unnest(%(ids)s::text[], %(sinces)s::timestamptz[]) AS wanted (vehicle_id, since)
CROSS JOIN LATERAL (
  SELECT r.recorded_at
  FROM volt.vehicle_reading r
  WHERE r.vehicle_id = wanted.vehicle_id AND r.recorded_at < wanted.since
    AND r.recorded_at >= wanted.since - INTERVAL '2 days'
  ORDER BY r.recorded_at DESC LIMIT %(at_most)s
) AS last
GROUP BY wanted.vehicle_id

-- name: history_rows
-- ids text[], sinces timestamptz[] (pairs): their readings from then on until ends, vehicle by vehicle, in order.
SELECT r.vehicle_id, r.recorded_at, r.received_at, {r.metrics}, r.charging_status, r.filled_at
FROM unnest(%(ids)s::text[], %(sinces)s::timestamptz[]) AS wanted (vehicle_id, since)
JOIN volt.vehicle_reading r ON r.vehicle_id = wanted.vehicle_id AND r.recorded_at >= wanted.since
WHERE r.recorded_at >= %(oldest)s::timestamptz AND r.recorded_at < %(ends)s::timestamptz
ORDER BY r.vehicle_id, r.recorded_at

-- name: history_vehicle_gaps
-- Signs of life in [begins, ends) that nothing followed for longer than longer_than_s; the next one, if any; whether
-- the vehicle was driving; whether it reported that it is parked; and whether the interval counts for its rhythm
-- (rhythm.sql says when).
-- Also the first two intervals that count, however short: until then the rhythm is not known.
SELECT device_id, seen_at, next_at, driving, parked, counts
FROM (
  SELECT *,
    count(*) FILTER (WHERE counts AND driving) OVER w AS while_driving,
    count(*) FILTER (WHERE counts AND NOT driving) OVER w AS otherwise
  FROM (
    SELECT *, next_at > seen_at AND (driving OR next_at - seen_at >= INTERVAL '90 s'
      OR moved_at IS NULL OR seen_at - moved_at >= INTERVAL '1 hour') AS counts
    FROM (
      SELECT vehicle_id AS device_id, received_at AS seen_at,
        lead(received_at) OVER v AS next_at,
        coalesce(speed_kmh > 5, false) AS driving,
        coalesce(speed_kmh <= 5, false) AS parked,
        max(received_at) FILTER (WHERE speed_kmh > 5) OVER v AS moved_at
      FROM volt.vehicle_reading
      WHERE received_at >= %(begins)s::timestamptz AND received_at < %(ends)s::timestamptz
        AND recorded_at >= %(begins)s::timestamptz - INTERVAL '1 day'
        AND recorded_at < %(ends)s::timestamptz + INTERVAL '1 day'
        AND (%(ids)s::text[] IS NULL OR vehicle_id = ANY (%(ids)s))
      WINDOW v AS (PARTITION BY vehicle_id ORDER BY received_at)
    ) AS seen
  ) AS marked
  WINDOW w AS (PARTITION BY device_id ORDER BY seen_at ROWS UNBOUNDED PRECEDING)
) AS counted
WHERE coalesce(next_at, %(ends)s) - seen_at > make_interval(secs => %(longer_than_s)s::float8)
  OR (counts AND CASE WHEN driving THEN while_driving ELSE otherwise END <= 2)
ORDER BY device_id, seen_at

-- name: history_meter_gaps
-- The same for meters, which do not drive.
SELECT device_id, seen_at, next_at, false, false, coalesce(next_at > seen_at, false)
FROM (
  SELECT *, count(*) FILTER (WHERE next_at > seen_at) OVER w AS intervals
  FROM (
    SELECT meter_id AS device_id, received_at AS seen_at, lead(received_at) OVER v AS next_at
    FROM volt.meter_reading
    WHERE received_at >= %(begins)s::timestamptz AND received_at < %(ends)s::timestamptz
      AND recorded_at >= %(begins)s::timestamptz - INTERVAL '1 day'
      AND recorded_at < %(ends)s::timestamptz + INTERVAL '1 day'
      AND (%(ids)s::text[] IS NULL OR meter_id = ANY (%(ids)s))
    WINDOW v AS (PARTITION BY meter_id ORDER BY received_at)
  ) AS seen
  WINDOW w AS (PARTITION BY device_id ORDER BY seen_at ROWS UNBOUNDED PRECEDING)
) AS counted
WHERE coalesce(next_at, %(ends)s) - seen_at > make_interval(secs => %(longer_than_s)s::float8)
  OR (next_at > seen_at AND intervals <= 2)
ORDER BY device_id, seen_at

-- each device:

-- name: history_{device}_skew
-- Of devices that seemed to be off by more than above_s: at most one sample a minute, of the newest reading that
-- arrived in it: its arrival, and how far its own time was behind that, s.
WITH arrived AS NOT MATERIALIZED (
  SELECT {device}_id, recorded_at, received_at
  FROM volt.{device}_reading
  WHERE received_at >= %(begins)s::timestamptz AND received_at < %(ends)s::timestamptz
    AND recorded_at >= %(begins)s::timestamptz - INTERVAL '1 day'
    AND recorded_at < %(ends)s::timestamptz + INTERVAL '1 day'
    AND (%(ids)s::text[] IS NULL OR {device}_id = ANY (%(ids)s))
),
off AS MATERIALIZED (  -- once, not for each row: a cursor's plan hopes for an early end
  SELECT DISTINCT {device}_id FROM arrived
  WHERE received_at > recorded_at + make_interval(secs => %(above_s)s::float8)
    OR received_at < recorded_at - make_interval(secs => %(above_s)s::float8)
)
SELECT DISTINCT ON ({device}_id, date_trunc('minute', received_at))
  {device}_id, received_at, extract(epoch FROM received_at - recorded_at)::float8
FROM arrived
WHERE {device}_id IN (SELECT {device}_id FROM off)
ORDER BY {device}_id, date_trunc('minute', received_at), recorded_at DESC

-- end

-- name: history_hours
-- rules text[]: none. Figures of the vehicle-hours in [since, until) that may be trusted, metric by metric and vehicle by
-- vehicle. Columns as of hourly_figures.
SELECT metric, vehicle_id, ended_at, value, low, high, resolves
FROM (
  -- include: hourly_figures.sql
) AS figure
WHERE %(ids)s::text[] IS NULL OR vehicle_id = ANY (%(ids)s)
ORDER BY metric, vehicle_id, ended_at
