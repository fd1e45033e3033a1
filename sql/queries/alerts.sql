-- What: what people ask of alerts and silences, and what they change. Run by voltd/commands/.
-- Why:  filters are alike in the list and its count; each may be NULL.
-- Lock: ROW EXCLUSIVE on alert or alert_silence where something is changed, for as long as that takes.

-- name: list_alerts
-- Episodes that were open at some time in [since, until). open: only those that still are, the most urgent first;
-- otherwise the newest first.
SELECT a.alert_id, a.severity, a.rule, a.device_type, a.device_id, a.fleet_id, a.opened_at, a.last_seen_at,
  a.peak_value, a.resolved_at, a.acknowledged_at, a.acknowledged_by, a.past, a.message, s.silence_id,
  s.ends_at AS silenced_until
FROM volt.alert a
-- include: longest_silence.sql
WHERE (NOT %(open)s::boolean OR a.resolved_at IS NULL)
  AND
  -- include: alert_filters.sql
ORDER BY
  CASE WHEN %(open)s THEN a.acknowledged_at IS NOT NULL OR s.silence_id IS NOT NULL END,
  CASE WHEN %(open)s THEN array_position(ARRAY['critical', 'warning', 'info'], a.severity) END,
  a.opened_at DESC, a.alert_id DESC
LIMIT %(limit)s

-- name: count_alerts
-- With the filters of list_alerts: how many there are, and how many were resolved in the last day (without late ones).
SELECT count(*) FILTER (WHERE NOT %(open)s::boolean OR a.resolved_at IS NULL) AS count,
  count(*) FILTER (WHERE a.resolved_at > now() - INTERVAL '24 hours' AND NOT a.past) AS ended
FROM volt.alert a
WHERE
  -- include: alert_filters.sql

-- name: show_alert
-- One episode, with the silence that covers it now.
SELECT a.*, s.silence_id, s.ends_at AS silenced_until
FROM volt.alert a
-- include: longest_silence.sql
WHERE a.alert_id = %(id)s::bigint

-- name: deliveries_of_alert
-- Its notifications, the oldest first.
SELECT delivery_id, channel, transition, severity, quiet, status, created_at, attempts, attempted_at, sent_at, result,
  message_id, message
FROM volt.alert_delivery
WHERE alert_id = %(id)s::bigint
ORDER BY delivery_id

-- name: acknowledge_alerts
-- ids, by: acknowledges those that are not acknowledged; the others stay as they are. Returns alert_id.
UPDATE volt.alert SET acknowledged_at = now(), acknowledged_by = %(by)s::text
WHERE alert_id = ANY (%(ids)s::bigint[]) AND acknowledged_at IS NULL
RETURNING alert_id

-- name: take_back_acknowledgements
-- ids: none of them is acknowledged any more. Returns alert_id.
UPDATE volt.alert SET acknowledged_at = NULL, acknowledged_by = NULL
WHERE alert_id = ANY (%(ids)s::bigint[]) AND acknowledged_at IS NOT NULL
RETURNING alert_id

-- name: acknowledged_alerts
-- ids: who has acknowledged those that exist, and whether they are resolved.
SELECT alert_id, acknowledged_at, acknowledged_by, resolved_at
FROM volt.alert
WHERE alert_id = ANY (%(ids)s::bigint[])

-- name: insert_silence
-- From now on where begins_at is NULL; ends at ends_at, or after for_s seconds. Returns it.
INSERT INTO volt.alert_silence (rule, fleet_id, device_type, device_id, begins_at, ends_at, created_by, comment)
SELECT %(rule)s, %(fleet)s, %(device_type)s, %(device)s, begins_at,
  coalesce(%(ends_at)s::timestamptz, begins_at + make_interval(secs => %(for_s)s::float8)), %(by)s, %(comment)s
FROM (SELECT coalesce(%(begins_at)s::timestamptz, now()) AS begins_at) AS span
RETURNING silence_id, rule, fleet_id, device_type, device_id, begins_at, ends_at, created_by, comment

-- name: silence_covers
-- rule, fleet, device_type, device: how many open episodes have these, and whether rule, fleet and device are known at
-- all.
SELECT
  (SELECT count(*) FROM volt.alert a
   WHERE a.resolved_at IS NULL AND (%(rule)s::text IS NULL OR a.rule = %(rule)s)
     AND (%(fleet)s::text IS NULL OR a.fleet_id = %(fleet)s)
     AND (%(device)s::text IS NULL OR (a.device_type = %(device_type)s::text AND a.device_id = %(device)s))) AS open,
  EXISTS (SELECT FROM volt.alert WHERE rule = %(rule)s) AS rule_known,
  EXISTS (SELECT FROM volt.fleet WHERE fleet_id = %(fleet)s
    UNION ALL SELECT FROM volt.vehicle WHERE fleet_id = %(fleet)s) AS fleet_known,
  CASE %(device_type)s::text
    WHEN 'meter' THEN EXISTS (SELECT FROM volt.meter WHERE meter_id = %(device)s
      UNION ALL SELECT FROM volt.meter_current WHERE meter_id = %(device)s)
    ELSE EXISTS (SELECT FROM volt.vehicle WHERE vehicle_id = %(device)s
      UNION ALL SELECT FROM volt.vehicle_current WHERE vehicle_id = %(device)s)
  END AS device_known,
  (SELECT fleet_id FROM volt.vehicle WHERE vehicle_id = %(device)s AND %(device_type)s = 'vehicle') AS device_fleet

-- name: list_silences
-- Those in force and those to come, in the order in which they end; open: how many open episodes each covers.
SELECT s.silence_id, s.rule, s.fleet_id, s.device_type, s.device_id, s.begins_at, s.ends_at, s.created_at,
  s.created_by, s.comment, s.begins_at > now() AS coming, count(a.alert_id) AS open
FROM volt.alert_silence s
LEFT JOIN volt.alert a
  ON a.resolved_at IS NULL AND volt.silence_matches(s, a.rule, a.fleet_id, a.device_type, a.device_id)
WHERE s.ends_at > now() AND s.ends_at > s.begins_at
GROUP BY s.silence_id
ORDER BY s.ends_at, s.silence_id

-- name: end_silences
-- ids: those in force end now, those to come never begin. Returns silence_id and whether it was to come.
UPDATE volt.alert_silence SET ends_at = greatest(now(), begins_at)
WHERE silence_id = ANY (%(ids)s::bigint[]) AND ends_at > now() AND ends_at > begins_at
RETURNING silence_id, begins_at > now() AS coming

-- name: known_silences
-- ids: those of them that exist.
SELECT silence_id, ends_at FROM volt.alert_silence WHERE silence_id = ANY (%(ids)s::bigint[])
