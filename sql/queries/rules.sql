-- What: what a check of the rules reads and writes. Run by voltd/rules/check.py and its two halves, check_read.py and
--       check_write.py, in one transaction (REPEATABLE READ) a check.
-- Why:  sets, not devices: a check is a handful of statements however many devices have news. Rows go in as one JSON
--       array a statement.
-- Lock: ROW EXCLUSIVE on the tables of alerts, which nobody else writes but people who acknowledge.

-- name: alert_progress
-- turn, efficiency_until, healthy_since, healthy_at.
SELECT turn, efficiency_until, healthy_since, healthy_at FROM volt.alert_progress

-- name: alert_states
-- All that is remembered.
SELECT rule, device_type, device_id, alert_id, state::text FROM volt.alert_state

-- name: excursions
-- at_most live ones, and at_most_late late ones; the oldest first.
(SELECT excursion_id, vehicle_id, since, received_at, late FROM volt.excursion
 WHERE NOT late ORDER BY excursion_id LIMIT %(at_most)s)
UNION ALL
(SELECT excursion_id, vehicle_id, since, received_at, late FROM volt.excursion
 WHERE late ORDER BY excursion_id LIMIT %(at_most_late)s)

-- name: delete_excursions
-- Once what they stand for has been judged.
DELETE FROM volt.excursion WHERE excursion_id = ANY (%(ids)s::bigint[])

-- name: vehicles_with_news
-- rules text[]: of vehicles with a state under these rules, those that have a reading after it, and since when.
SELECT s.device_id, min(s.judged_at)
FROM volt.alert_state s
JOIN volt.vehicle_current c ON c.vehicle_id = s.device_id
WHERE s.device_type = 'vehicle' AND s.rule = ANY (%(rules)s::text[]) AND c.recorded_at > s.judged_at
GROUP BY s.device_id

-- name: vehicle_rows
-- ids text[], sinces and untils timestamptz[] (triples), oldest timestamptz (the least of sinces): their readings in
-- [since, until], at most at_most of each triple, with the charging status as last known.
SELECT r.vehicle_id, r.recorded_at, r.received_at, r.soc_pct, r.speed_kmh, r.battery_temp_c, r.charging_status,
  c.charging_status, c.charging_status_at
FROM unnest(%(ids)s::text[], %(sinces)s::timestamptz[], %(untils)s::timestamptz[]) AS wanted (vehicle_id, since, until)
CROSS JOIN LATERAL (
  SELECT * FROM volt.vehicle_reading v
  WHERE v.vehicle_id = wanted.vehicle_id AND v.recorded_at >= wanted.since AND v.recorded_at <= wanted.until
    AND v.recorded_at >= %(oldest)s
  ORDER BY v.recorded_at LIMIT %(at_most)s
) AS r
LEFT JOIN volt.vehicle_current c ON c.vehicle_id = r.vehicle_id
ORDER BY r.vehicle_id, r.recorded_at

-- name: registry_of_vehicles
-- ids text[]: fleet, model and status of those that are registered.
SELECT vehicle_id, fleet_id, model, status FROM volt.vehicle WHERE vehicle_id = ANY (%(ids)s::text[])

-- name: silent_devices
-- rules text[] (those that watch silence), overdue_before timestamptz (NULL: silence does not count now), worsens
-- boolean: devices last heard before that which are not told yet, and those told and heard since (or all that are told).
SELECT DISTINCT seen.device_type, seen.device_id, seen.last_seen_at
FROM (
  SELECT 'vehicle' AS device_type, vehicle_id AS device_id, last_seen_at FROM volt.vehicle_current
  UNION ALL
  SELECT 'meter', meter_id, last_seen_at FROM volt.meter_current
) AS seen
LEFT JOIN volt.alert_state s
  ON s.rule = ANY (%(rules)s::text[]) AND s.device_type = seen.device_type AND s.device_id = seen.device_id
WHERE seen.last_seen_at IS NOT NULL AND CASE
  WHEN s.phase = 'firing' THEN %(worsens)s OR s.judged_at IS DISTINCT FROM seen.last_seen_at
  ELSE seen.last_seen_at < %(overdue_before)s::timestamptz
END

-- name: skewed_devices
-- Of the devices heard since: how far device time is off at the newest arrival, in seconds, where that is beyond a
-- bound or a state is remembered. The current state keeps a time that was ahead until the others have passed it: where
-- it is ahead (some seconds may be the network's) the last stored arrival speaks, and nothing where there is none since.
WITH candidate AS (
  SELECT seen.*, s.known
  FROM (
    SELECT 'vehicle' AS device_type, vehicle_id AS device_id, recorded_at, last_seen_at FROM volt.vehicle_current
    WHERE last_seen_at > %(since)s
    UNION ALL
    SELECT 'meter', meter_id, recorded_at, last_seen_at FROM volt.meter_current WHERE last_seen_at > %(since)s
  ) AS seen
  LEFT JOIN (
    SELECT DISTINCT device_type, device_id, true AS known FROM volt.alert_state WHERE rule = ANY (%(rules)s::text[])
  ) AS s USING (device_type, device_id)
  WHERE s.known OR abs(extract(epoch FROM seen.last_seen_at - seen.recorded_at)) > %(above)s
), judged AS MATERIALIZED (  -- once a device
  SELECT device_type, device_id, last_seen_at, known, abs(extract(epoch FROM CASE
    WHEN recorded_at < last_seen_at + INTERVAL '3 s' THEN last_seen_at - recorded_at
    WHEN device_type = 'vehicle' THEN (
      SELECT r.received_at - r.recorded_at FROM volt.vehicle_reading r
      WHERE r.vehicle_id = c.device_id AND r.received_at > %(since)s
        AND r.recorded_at > %(since)s::timestamptz - INTERVAL '15 min' AND r.recorded_at <= c.recorded_at
      ORDER BY r.received_at DESC, r.recorded_at DESC LIMIT 1)
    ELSE (
      SELECT r.received_at - r.recorded_at FROM volt.meter_reading r
      WHERE r.meter_id = c.device_id AND r.received_at > %(since)s
        AND r.recorded_at > %(since)s::timestamptz - INTERVAL '15 min' AND r.recorded_at <= c.recorded_at
      ORDER BY r.received_at DESC, r.recorded_at DESC LIMIT 1)
    END))::float8 AS skew_s
  FROM candidate c
)
SELECT device_type, device_id, last_seen_at, skew_s FROM judged WHERE skew_s > %(above)s OR (known AND skew_s IS NOT NULL)

-- name: judged_hours
-- Efficiency of the vehicle-hours in [since, until) that can be trusted.
SELECT vehicle_id, hour + INTERVAL '1 hour', efficiency_pct
FROM volt.efficiency_hourly
WHERE hour >= %(since)s AND hour < %(until)s AND quality = 'ok'

-- name: daemons
-- Those that run, and those that died within a day.
SELECT instance, reported_at, lag_s, spooling, healthy FROM volt.daemon
WHERE reported_at > now() - INTERVAL '1 day'

-- name: report_daemon
-- How one daemon is.
INSERT INTO volt.daemon AS d (instance, reported_at, lag_s, spooling, healthy)
VALUES (%(instance)s, now(), %(lag_s)s, %(spooling)s, %(healthy)s)
ON CONFLICT (instance) DO UPDATE SET reported_at = excluded.reported_at, lag_s = excluded.lag_s,
  spooling = excluded.spooling, healthy = excluded.healthy

-- name: forget_daemon
-- It is being stopped.
DELETE FROM volt.daemon WHERE instance = %(instance)s

-- name: next_turn
-- turn bigint as last seen; no row: another daemon has written since. What is NULL stays as it is.
UPDATE volt.alert_progress
SET turn = turn + 1, efficiency_until = coalesce(%(efficiency_until)s::timestamptz, efficiency_until)
WHERE turn = %(turn)s

-- name: set_healthy
-- Since when all has been there (NULL: it is not), as of now.
UPDATE volt.alert_progress SET healthy_since = %(since)s, healthy_at = now()

-- name: change_alerts
-- rows jsonb: open episodes that got worse, were still there, or are over.
UPDATE volt.alert a
SET severity = coalesce(r.severity, a.severity), last_seen_at = r.last_seen_at, peak_value = r.peak_value,
  resolved_at = r.resolved_at, message = coalesce(r.message, a.message)
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (alert_id bigint, severity text, last_seen_at timestamptz,
  peak_value double precision, resolved_at timestamptz, message text)
WHERE a.alert_id = r.alert_id

-- name: insert_alerts
-- rows jsonb: new episodes; returns their numbers.
INSERT INTO volt.alert (rule, severity, device_type, device_id, fleet_id, opened_at, last_seen_at, peak_value,
  resolved_at, message)
SELECT rule, severity, device_type, device_id, fleet_id, opened_at, last_seen_at, peak_value, resolved_at, message
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (rule text, severity text, device_type text, device_id text,
  fleet_id text, opened_at timestamptz, last_seen_at timestamptz, peak_value double precision,
  resolved_at timestamptz, message text)
RETURNING rule, device_type, device_id, opened_at, alert_id

-- name: insert_past_alerts
-- rows jsonb: episodes found in late readings, where none of that rule and device meets them; returns how many.
WITH new AS (
  INSERT INTO volt.alert (rule, severity, device_type, device_id, fleet_id, opened_at, last_seen_at, peak_value,
    resolved_at, message, past)
  SELECT rule, severity, device_type, device_id, fleet_id, opened_at, last_seen_at, peak_value, resolved_at, message, true
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (rule text, severity text, device_type text, device_id text,
    fleet_id text, opened_at timestamptz, last_seen_at timestamptz, peak_value double precision,
    resolved_at timestamptz, message text)
  WHERE NOT EXISTS (
    SELECT FROM volt.alert a
    WHERE a.rule = r.rule AND a.device_type = r.device_type AND a.device_id = r.device_id
      AND a.opened_at <= r.resolved_at AND coalesce(a.resolved_at, 'infinity') >= r.opened_at)
  RETURNING 1
)
SELECT count(*) FROM new

-- name: insert_alert_deliveries
-- rows jsonb: what is to be told, in the transaction of the episodes; if_begun: only where the channel was to be told of
-- the episode before.
INSERT INTO volt.alert_delivery (alert_id, channel, transition, quiet, severity, message, status, sent_at, result)
SELECT alert_id, channel, transition, quiet, severity, message, coalesce(status, 'waiting'), sent_at, result
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (alert_id bigint, channel text, transition text, quiet boolean,
  severity text, message text, status text, sent_at timestamptz, result text, if_begun boolean)
WHERE NOT if_begun OR EXISTS (
  SELECT FROM volt.alert_delivery d WHERE d.alert_id = r.alert_id AND d.channel = r.channel)

-- name: put_alert_states
-- rows jsonb.
INSERT INTO volt.alert_state AS s (rule, device_type, device_id, alert_id, phase, judged_at, state)
SELECT rule, device_type, device_id, alert_id, phase, judged_at, state
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (rule text, device_type text, device_id text, alert_id bigint,
  phase text, judged_at timestamptz, state jsonb)
ON CONFLICT (rule, device_type, device_id) DO UPDATE SET alert_id = excluded.alert_id, phase = excluded.phase,
  judged_at = excluded.judged_at, state = excluded.state

-- name: delete_alert_states
-- rules, device_types, device_ids text[] (triples).
DELETE FROM volt.alert_state s
USING unnest(%(rules)s::text[], %(device_types)s::text[], %(device_ids)s::text[]) AS gone (rule, device_type, device_id)
WHERE s.rule = gone.rule AND s.device_type = gone.device_type AND s.device_id = gone.device_id
