-- What: what a check of the rules reads and writes. Run by voltd/rules/cycle/check.py and its two halves, read.py and
--       write.py, in one transaction (REPEATABLE READ) a check.
-- Why:  sets, not devices: a check is a handful of statements however many devices have news. Rows go in as one JSON
--       array a statement.
-- Lock: ROW EXCLUSIVE on the tables of alerts, which nobody else writes but people who acknowledge; and, after the
--       clock was ahead, on a few rows of the current state, in the order of their ids.

-- name: alert_progress
-- epoch, efficiency_until, healthy_since, healthy_at.
SELECT epoch, efficiency_until, healthy_since, healthy_at FROM volt_internal.alert_progress

-- name: alert_states
-- All that is remembered, and all episodes that are open (alert_id NULL: none is), each whether or not it has the other.
SELECT rule, device_type, device_id, s.evaluated_at, s.state::text, a.alert_id, a.severity, a.opened_at, a.last_seen_at,
  a.peak_value
FROM volt_internal.alert_state s
FULL JOIN (SELECT * FROM volt.alert WHERE resolved_at IS NULL) a USING (rule, device_type, device_id)

-- name: past_ranges
-- at_most int: of vehicles with past episodes, the last ones by number: from when to when they were.
SELECT device_id, min(opened_at), max(resolved_at)
FROM (
  SELECT device_id, opened_at, resolved_at FROM volt.alert
  WHERE past AND device_type = 'vehicle' ORDER BY alert_id DESC LIMIT %(at_most)s
) AS last
GROUP BY device_id

-- name: alerts_within
-- rows jsonb (place, rule, device_type, device_id, since, until): the episodes that meet these, by place.
SELECT r.place, a.alert_id, a.past, a.opened_at, a.resolved_at
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (place int, rule text, device_type text, device_id text,
  since timestamptz, until timestamptz)
JOIN volt.alert a ON a.rule = r.rule AND a.device_type = r.device_type AND a.device_id = r.device_id
  AND a.opened_at <= r.until AND coalesce(a.resolved_at, 'infinity') >= r.since
ORDER BY r.place, a.opened_at, a.alert_id

-- name: change_past_alerts
-- rows jsonb: past episodes as later arrivals have shown them to be.
UPDATE volt.alert a
SET severity = r.severity, opened_at = r.opened_at, last_seen_at = r.last_seen_at, peak_value = r.peak_value,
  resolved_at = r.resolved_at, message = r.message
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (alert_id bigint, severity text, opened_at timestamptz,
  last_seen_at timestamptz, peak_value double precision, resolved_at timestamptz, message text)
WHERE a.alert_id = r.alert_id AND a.past

-- name: drop_past_alerts
-- ids bigint[]: past episodes that later arrivals have shown to be none.
SELECT volt_internal.drop_past_alerts(%(ids)s::bigint[])

-- name: registry_of_devices
-- vehicles, meters text[]: fleet, model and status of those that are registered; a meter has neither fleet nor model.
SELECT 'vehicle', vehicle_id, fleet_id, model, status FROM volt.vehicle WHERE vehicle_id = ANY (%(vehicles)s::text[])
UNION ALL
SELECT 'meter', meter_id, NULL, NULL, status FROM volt.meter WHERE meter_id = ANY (%(meters)s::text[])

-- name: silent_devices
-- rules text[] (those that watch silence), now, counts boolean (whether silence counts now), worsens boolean, least_s,
-- parked_s, at_most_s and times: no rule has a lower limit than these make of a device's rhythm. Devices silent for
-- longer that are not told yet, and those told and heard since (or all that are told), or of which something else is to be
-- said: last sign of life, second longest interval (NULL: not known) driving or not as it was last heard, whether it says
-- that it stands, whether its rhythm otherwise than driving was not known for a day then; and where it sends and
-- everything is refused since when, reason and detail. A device of which nothing
-- was ever accepted was heard when it was first refused, and has parked_s between two messages, as its rhythm is not
-- known; it is raised only while it sends. One that is told and not known at all any more: last sign of life NULL.
SELECT DISTINCT seen.device_type, seen.device_id, seen.last_seen_at, usual.s, seen.parked, usual.lately, r.since, r.reason,
  r.detail
FROM (
  SELECT 'vehicle' AS device_type, vehicle_id AS device_id, last_seen_at,
    coalesce(speed_at = recorded_at AND speed_kmh > 5, false) AS driving,
    coalesce(speed_at = recorded_at AND speed_kmh <= 5, false) AS parked, true AS accepted
  FROM volt.vehicle_current WHERE last_seen_at IS NOT NULL
  UNION ALL
  SELECT 'meter', meter_id, last_seen_at, false, false, true FROM volt.meter_current WHERE last_seen_at IS NOT NULL
  UNION ALL
  SELECT device_type, device_id, d.since, false, false, false
  FROM (
    SELECT device_type, device_id, since FROM volt_internal.refused_device
    UNION ALL
    SELECT t.device_type, t.device_id, NULL FROM volt_internal.alert_state t
    WHERE t.rule = ANY (%(rules)s::text[]) AND t.phase = 'firing' AND NOT EXISTS (
      SELECT FROM volt_internal.refused_device o WHERE o.device_type = t.device_type AND o.device_id = t.device_id)
  ) AS d
  WHERE NOT EXISTS (
      SELECT FROM volt.vehicle_current c
      WHERE d.device_type = 'vehicle' AND c.vehicle_id = d.device_id AND c.last_seen_at IS NOT NULL)
    AND NOT EXISTS (
      SELECT FROM volt.meter_current c
      WHERE d.device_type = 'meter' AND c.meter_id = d.device_id AND c.last_seen_at IS NOT NULL)
) AS seen
LEFT JOIN volt_internal.alert_state s
  ON s.rule = ANY (%(rules)s::text[]) AND s.device_type = seen.device_type AND s.device_id = seen.device_id
LEFT JOIN volt_internal.device_rhythm k ON k.device_type = seen.device_type AND k.device_id = seen.device_id
CROSS JOIN LATERAL (
  SELECT CASE WHEN seen.driving THEN k.driving_usual_s ELSE k.usual_s END
    * power(0.5, least(1000, extract(epoch FROM seen.last_seen_at
      - CASE WHEN seen.driving THEN k.driving_noted_at ELSE k.noted_at END)::float8 / 604800)) AS s,
    coalesce(seen.last_seen_at < coalesce(k.known_since, k.noted_at) + INTERVAL '1 day', false) AS lately
) AS usual
CROSS JOIN LATERAL (
  SELECT greatest(%(least_s)s::float8,
    CASE WHEN usual.s IS NOT NULL THEN least(%(at_most_s)s::float8, %(times)s::float8 * usual.s) END,
    CASE WHEN seen.parked AND (usual.s IS NULL OR usual.lately) THEN %(parked_s)s::float8 END) AS s
) AS own_limit
LEFT JOIN volt_internal.refused_device r
  ON r.device_type = seen.device_type AND r.device_id = seen.device_id AND r.last_at > seen.last_seen_at
    AND r.last_at > %(now)s::timestamptz
      - make_interval(secs => greatest(own_limit.s, 90, CASE WHEN NOT seen.accepted THEN %(parked_s)s::float8 END))
-- first, as few are: the others' rhythms need not be looked up
WHERE (s.phase = 'firing' OR seen.last_seen_at < %(now)s::timestamptz - make_interval(secs => %(least_s)s::float8))
  AND CASE
  WHEN s.phase = 'firing' THEN %(worsens)s OR s.evaluated_at IS DISTINCT FROM seen.last_seen_at
    OR r.since IS NOT NULL OR s.state ->> 'note' IS NOT NULL
  ELSE %(counts)s AND seen.last_seen_at < %(now)s::timestamptz - make_interval(secs => own_limit.s)
    AND (seen.accepted OR r.since IS NOT NULL)
END

-- name: bound_signs_of_life
-- now, by the clock of the check: signs of life that are more than a minute ahead of it and of the database's are of a host
-- whose clock was ahead. They count as of now, so that a device that is not heard after that is silent in time; but those
-- of which silence is told already.
WITH ahead AS MATERIALIZED (
  SELECT c.vehicle_id, greatest(now(), %(now)s::timestamptz) AS at
  FROM volt.vehicle_current c
  WHERE c.last_seen_at > greatest(now(), %(now)s::timestamptz) + INTERVAL '1 min' AND NOT EXISTS (
    SELECT FROM volt_internal.alert_state s
    WHERE s.device_type = 'vehicle' AND s.device_id = c.vehicle_id AND s.evaluated_at = c.last_seen_at
      AND split_part(s.state ->> 'watches', ' ', 1) = 'silence')
  ORDER BY c.vehicle_id FOR UPDATE OF c
), vehicles AS (
  UPDATE volt.vehicle_current c SET last_seen_at = ahead.at FROM ahead WHERE c.vehicle_id = ahead.vehicle_id
), ahead_meters AS MATERIALIZED (
  SELECT c.meter_id, greatest(now(), %(now)s::timestamptz) AS at
  FROM volt.meter_current c
  WHERE c.last_seen_at > greatest(now(), %(now)s::timestamptz) + INTERVAL '1 min' AND NOT EXISTS (
    SELECT FROM volt_internal.alert_state s
    WHERE s.device_type = 'meter' AND s.device_id = c.meter_id AND s.evaluated_at = c.last_seen_at
      AND split_part(s.state ->> 'watches', ' ', 1) = 'silence')
  ORDER BY c.meter_id FOR UPDATE OF c
)
UPDATE volt.meter_current c SET last_seen_at = ahead_meters.at FROM ahead_meters WHERE c.meter_id = ahead_meters.meter_id

-- name: skewed_devices
-- Of the devices heard since that seem to be off by more than above seconds, have a state under these rules, or have a
-- clock that is known to be behind: of what
-- arrived since then the newest by the device's own time: its arrival, and how far that time was behind it, s. The
-- current state alone would not do: it keeps a time that was ahead, and the arrival of an older reading after a newer
-- one. So it speaks only where everything that arrived is ahead, by more than the network's seconds, or where a look
-- into the history would be one into many chunks.
SELECT 'vehicle', c.vehicle_id, n.received_at, extract(epoch FROM n.received_at - n.recorded_at)::float8
FROM volt.vehicle_current c
CROSS JOIN LATERAL (
  (SELECT 1 AS choice, v.received_at, v.recorded_at FROM volt.vehicle_reading v
   WHERE v.vehicle_id = c.vehicle_id AND v.received_at > %(since)s AND v.recorded_at < v.received_at + INTERVAL '3 s'
     AND v.recorded_at > %(since)s::timestamptz - INTERVAL '2 days'
     AND v.recorded_at <= c.recorded_at AND v.recorded_at > c.recorded_at
       - CASE WHEN c.recorded_at > c.last_seen_at THEN INTERVAL '15 min' ELSE INTERVAL '1 day' END
   ORDER BY v.recorded_at DESC LIMIT 1)
  UNION ALL
  SELECT 2, c.last_seen_at, c.recorded_at
  WHERE c.recorded_at >= c.last_seen_at + INTERVAL '3 s' OR c.recorded_at < %(since)s::timestamptz - INTERVAL '1 day'
  ORDER BY choice LIMIT 1
) n
WHERE c.last_seen_at > %(since)s AND (
  abs(extract(epoch FROM c.last_seen_at - c.recorded_at)) > %(above)s
  OR c.vehicle_id IN (
    SELECT device_id FROM volt_internal.alert_state WHERE rule = ANY (%(rules)s::text[]) AND device_type = 'vehicle'
    UNION ALL SELECT device_id FROM volt.device_clock WHERE device_type = 'vehicle'))
UNION ALL
SELECT 'meter', c.meter_id, n.received_at, extract(epoch FROM n.received_at - n.recorded_at)::float8
FROM volt.meter_current c
CROSS JOIN LATERAL (
  (SELECT 1 AS choice, m.received_at, m.recorded_at FROM volt.meter_reading m
   WHERE m.meter_id = c.meter_id AND m.received_at > %(since)s AND m.recorded_at < m.received_at + INTERVAL '3 s'
     AND m.recorded_at > %(since)s::timestamptz - INTERVAL '2 days'
     AND m.recorded_at <= c.recorded_at AND m.recorded_at > c.recorded_at
       - CASE WHEN c.recorded_at > c.last_seen_at THEN INTERVAL '15 min' ELSE INTERVAL '1 day' END
   ORDER BY m.recorded_at DESC LIMIT 1)
  UNION ALL
  SELECT 2, c.last_seen_at, c.recorded_at
  WHERE c.recorded_at >= c.last_seen_at + INTERVAL '3 s' OR c.recorded_at < %(since)s::timestamptz - INTERVAL '1 day'
  ORDER BY choice LIMIT 1
) n
WHERE c.last_seen_at > %(since)s AND (
  abs(extract(epoch FROM c.last_seen_at - c.recorded_at)) > %(above)s
  OR c.meter_id IN (
    SELECT device_id FROM volt_internal.alert_state WHERE rule = ANY (%(rules)s::text[]) AND device_type = 'meter'
    UNION ALL SELECT device_id FROM volt.device_clock WHERE device_type = 'meter'))

-- name: devices_heard
-- since: how many devices have been heard since then.
SELECT (SELECT count(*) FROM volt.vehicle_current WHERE last_seen_at > %(since)s)
  + (SELECT count(*) FROM volt.meter_current WHERE last_seen_at > %(since)s)

-- name: judged_hours
-- Efficiency of the vehicle-hours in [since, until) that can be trusted, of vehicles that have one outside [below, above]
-- or a state under these rules.
WITH judged AS MATERIALIZED (
  SELECT vehicle_id, hour + INTERVAL '1 hour' AS ended_at, efficiency_pct::float8 AS efficiency_pct
  FROM volt.efficiency_hourly
  WHERE hour >= %(since)s AND hour < %(until)s AND quality = 'ok'
)
SELECT vehicle_id, ended_at, efficiency_pct
FROM judged
WHERE vehicle_id IN (
    SELECT vehicle_id FROM judged WHERE efficiency_pct < %(below)s::float8 OR efficiency_pct > %(above)s::float8)
  OR vehicle_id IN (
    SELECT device_id FROM volt_internal.alert_state WHERE rule = ANY (%(rules)s::text[]) AND device_type = 'vehicle')

-- name: daemons
-- Those that run, and those that died within a day: instance, seconds since its report, lag, whether it spools, whether
-- it is healthy, seconds since it last was not (NULL: not since it started), why (NULL: it does not say). All by the
-- clock of the database.
SELECT instance, extract(epoch FROM now() - reported_at)::float8, lag_s, spooling, healthy,
  extract(epoch FROM now() - unwell_at)::float8, trouble
FROM volt.daemon
WHERE reported_at > now() - INTERVAL '1 day'

-- name: report_daemon
-- How one daemon is, and which process it is.
INSERT INTO volt.daemon AS d (instance, reported_at, lag_s, spooling, healthy, unwell_at, client_id, host, pid, started_at)
VALUES (%(instance)s, now(), %(lag_s)s, %(spooling)s, %(healthy)s,
  now() - make_interval(secs => %(unwell_s)s::float8), %(client_id)s, %(host)s, %(pid)s, %(started_at)s)
ON CONFLICT (instance) DO UPDATE SET reported_at = excluded.reported_at, lag_s = excluded.lag_s,
  spooling = excluded.spooling, healthy = excluded.healthy, unwell_at = excluded.unwell_at,
  client_id = excluded.client_id, host = excluded.host, pid = excluded.pid, started_at = excluded.started_at

-- name: daemons_of_client_id
-- client_id: the other processes that say they use it (not host, pid, started_at): when they last did, and how many
-- seconds ago by the clock of the database.
SELECT host, pid, started_at, reported_at, extract(epoch FROM now() - reported_at)::float8
FROM volt.daemon
WHERE client_id = %(client_id)s AND (host, pid, started_at) <> (%(host)s, %(pid)s, %(started_at)s)

-- name: report_trouble
-- What keeps it from taking messages; NULL: nothing.
UPDATE volt.daemon SET trouble = %(trouble)s::text WHERE instance = %(instance)s

-- name: forget_daemon
-- It is being stopped.
DELETE FROM volt.daemon WHERE instance = %(instance)s

-- name: forget_dead_daemons
-- Those that died more than a day ago, and never came back.
DELETE FROM volt.daemon WHERE reported_at <= now() - INTERVAL '1 day'

-- name: publish_bounds
-- bounds jsonb, late_after_s: what writers look for, as of now; by the daemon that checks the rules.
INSERT INTO volt_internal.rule_bounds AS b (bounds, late_after_s, published_at)
VALUES (%(bounds)s::jsonb, %(late_after_s)s, now())
ON CONFLICT (only_row) DO UPDATE SET bounds = excluded.bounds, late_after_s = excluded.late_after_s,
  published_at = excluded.published_at

-- name: published_bounds
-- bounds as text, late_after_s, how far vehicles' clocks are behind as text (s by vehicle); no row where
-- no daemon has checked the rules for a day: nobody would ask for excursions.
SELECT bounds::text, late_after_s,
  (SELECT jsonb_object_agg(device_id, behind_s) FROM volt.device_clock WHERE device_type = 'vehicle')::text
FROM volt_internal.rule_bounds WHERE published_at > now() - INTERVAL '1 day'

-- name: next_epoch
-- epoch bigint as last seen; no row: another daemon has written since. What is NULL stays as it is.
UPDATE volt_internal.alert_progress
SET epoch = epoch + 1, efficiency_until = coalesce(%(efficiency_until)s::timestamptz, efficiency_until)
WHERE epoch = %(epoch)s

-- name: set_healthy
-- Since when all has been there (NULL: it is not), as of now.
UPDATE volt_internal.alert_progress SET healthy_since = %(since)s, healthy_at = now()

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
-- rows jsonb: episodes found in late readings. One takes the place of a past one within it, which later arrivals have made
-- longer; where it meets any other of that rule and device nothing is to be added. Returns how many are new.
WITH found AS (
  SELECT rule, severity, device_type, device_id, fleet_id, opened_at, last_seen_at, peak_value, resolved_at, message
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (rule text, severity text, device_type text, device_id text,
    fleet_id text, opened_at timestamptz, last_seen_at timestamptz, peak_value double precision,
    resolved_at timestamptz, message text)
), longer AS (
  UPDATE volt.alert a
  SET severity = f.severity, opened_at = f.opened_at, last_seen_at = f.last_seen_at, peak_value = f.peak_value,
    resolved_at = f.resolved_at, message = f.message
  FROM found f
  WHERE a.past AND a.rule = f.rule AND a.device_type = f.device_type AND a.device_id = f.device_id
    AND a.opened_at >= f.opened_at AND a.resolved_at <= f.resolved_at
    AND (a.opened_at > f.opened_at OR a.resolved_at < f.resolved_at)
    AND NOT EXISTS (
      SELECT FROM volt.alert o
      WHERE o.rule = f.rule AND o.device_type = f.device_type AND o.device_id = f.device_id AND o.alert_id <> a.alert_id
        AND o.opened_at <= f.resolved_at AND coalesce(o.resolved_at, 'infinity') >= f.opened_at)
), new AS (
  INSERT INTO volt.alert (rule, severity, device_type, device_id, fleet_id, opened_at, last_seen_at, peak_value,
    resolved_at, message, past)
  SELECT f.*, true FROM found f
  WHERE NOT EXISTS (
    SELECT FROM volt.alert a
    WHERE a.rule = f.rule AND a.device_type = f.device_type AND a.device_id = f.device_id
      AND a.opened_at <= f.resolved_at AND coalesce(a.resolved_at, 'infinity') >= f.opened_at)
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
INSERT INTO volt_internal.alert_state AS s (rule, device_type, device_id, alert_id, phase, evaluated_at, state)
SELECT rule, device_type, device_id, alert_id, phase, evaluated_at, state
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (rule text, device_type text, device_id text, alert_id bigint,
  phase text, evaluated_at timestamptz, state jsonb)
ON CONFLICT (rule, device_type, device_id) DO UPDATE SET alert_id = excluded.alert_id, phase = excluded.phase,
  evaluated_at = excluded.evaluated_at, state = excluded.state

-- name: delete_alert_states
-- rules, device_types, device_ids text[] (triples).
DELETE FROM volt_internal.alert_state s
USING unnest(%(rules)s::text[], %(device_types)s::text[], %(device_ids)s::text[]) AS gone (rule, device_type, device_id)
WHERE s.rule = gone.rule AND s.device_type = gone.device_type AND s.device_id = gone.device_id
