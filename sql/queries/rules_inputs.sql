-- What: what an evaluation cycle of the rules reads, apart from readings (rules_readings.sql). Run by
--       voltd/rules/cycle/ in one transaction (REPEATABLE READ) a cycle.
-- Why:  sets, not devices: a cycle is a handful of statements however many devices have new readings.
-- Lock: none, but for bound_signs_of_life: after a host's clock was ahead it locks a few rows of the current state, in
--       the order of their ids.

-- name: alert_progress
-- epoch, efficiency_until, healthy_since, healthy_at.
SELECT epoch, efficiency_until, healthy_since, healthy_at FROM volt_internal.alert_progress

-- name: alert_states
-- All persisted states and all open episodes (alert_id NULL: none is open), also a state without an episode and an
-- episode without a state.
SELECT rule, device_type, device_id, s.evaluated_at, s.state::text, a.alert_id, a.severity, a.opened_at, a.last_seen_at,
  a.peak_value
FROM volt_internal.alert_state s
FULL JOIN (SELECT * FROM volt.alert WHERE resolved_at IS NULL) a USING (rule, device_type, device_id)

-- name: past_ranges
-- at_most int: of the vehicles with late episodes, counting the last ones by number: from when to when these were.
SELECT device_id, min(opened_at), max(resolved_at)
FROM (
  SELECT device_id, opened_at, resolved_at FROM volt.alert
  WHERE past AND device_type = 'vehicle' ORDER BY alert_id DESC LIMIT %(at_most)s
) AS last
GROUP BY device_id

-- name: alerts_within
-- rows jsonb (place, rule, device_type, device_id, since, until): the episodes that overlap these, by place.
SELECT r.place, a.alert_id, a.past, a.opened_at, a.resolved_at
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (place int, rule text, device_type text, device_id text,
  since timestamptz, until timestamptz)
JOIN volt.alert a ON a.rule = r.rule AND a.device_type = r.device_type AND a.device_id = r.device_id
  AND a.opened_at <= r.until AND coalesce(a.resolved_at, 'infinity') >= r.since
ORDER BY r.place, a.opened_at, a.alert_id

-- name: registry_of_devices
-- vehicles, meters text[]: fleet, model and status of those that are registered; a meter has neither fleet nor model.
SELECT 'vehicle', vehicle_id, fleet_id, model, status FROM volt.vehicle WHERE vehicle_id = ANY (%(vehicles)s::text[])
UNION ALL
SELECT 'meter', meter_id, NULL, NULL, status FROM volt.meter WHERE meter_id = ANY (%(meters)s::text[])

-- name: devices_heard
-- since: how many devices have been heard since then.
SELECT (SELECT count(*) FROM volt.vehicle_current WHERE last_seen_at > %(since)s)
  + (SELECT count(*) FROM volt.meter_current WHERE last_seen_at > %(since)s)

-- name: stale_devices
-- rules text[] (those that watch inactivity), now, counts boolean (whether inactivity counts now), worsens boolean, and
-- the limits: no rule has a lower limit than least_s, parked_s, at_most_s and times make of a device's rhythm.
-- Returns devices that have been inactive for longer and have no alert yet; devices with an alert that were heard since
-- (with worsens: all with an alert), or whose reason has changed.
-- Columns: last sign of life; usual interval, driving or not as it was last heard (NULL: not known); whether it
-- reported that it is parked; whether its rhythm while not driving was known for less than a day then; and, where it
-- sends and everything is refused, since when, reason and detail.
-- A device of which nothing was ever accepted was heard when it was first refused. Its rhythm is not known, so parked_s
-- counts as the interval between two messages; it gets an alert only while it sends. A device with an alert of which
-- nothing else is known any more has NULL as its last sign of life.
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
-- First, because few are left by it: the rhythms of the others need not be looked up.
WHERE (s.phase = 'firing' OR seen.last_seen_at < %(now)s::timestamptz - make_interval(secs => %(least_s)s::float8))
  AND CASE
  WHEN s.phase = 'firing' THEN %(worsens)s OR s.evaluated_at IS DISTINCT FROM seen.last_seen_at
    OR r.since IS NOT NULL OR s.state ->> 'note' IS NOT NULL
  ELSE %(counts)s AND seen.last_seen_at < %(now)s::timestamptz - make_interval(secs => own_limit.s)
    AND (seen.accepted OR r.since IS NOT NULL)
END

-- name: bound_signs_of_life
-- now: the clock of the evaluation cycle. A sign of life more than a minute ahead of it and of the database's clock was
-- recorded by a host whose clock was ahead. It counts as of now, so that an inactive device is noticed in time. Signs
-- of life that have an alert of inactivity stay.
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
-- Devices heard after since that seem to be off by more than above seconds, have a state under these rules, or have a
-- clock that is known to be behind. Returns, of the newest reading by the device's own time among what arrived after
-- since: its arrival, and how far its own time was behind the arrival, s.
-- The current state alone would not do: it keeps a time that was ahead, and the arrival of an older reading after a
-- newer one. It is used only where everything that arrived is ahead by more than the network's seconds, or where a look
-- into the history would touch many chunks.
-- each device:
-- meter: UNION ALL
SELECT '{device}', c.{device}_id, n.received_at, extract(epoch FROM n.received_at - n.recorded_at)::float8
FROM volt.{device}_current c
CROSS JOIN LATERAL (
  (SELECT 1 AS choice, r.received_at, r.recorded_at FROM volt.{device}_reading r
   WHERE r.{device}_id = c.{device}_id AND r.received_at > %(since)s AND r.recorded_at < r.received_at + INTERVAL '3 s'
     AND r.recorded_at > %(since)s::timestamptz - INTERVAL '2 days'
     AND r.recorded_at <= c.recorded_at AND r.recorded_at > c.recorded_at
       - CASE WHEN c.recorded_at > c.last_seen_at THEN INTERVAL '15 min' ELSE INTERVAL '1 day' END
   ORDER BY r.recorded_at DESC LIMIT 1)
  UNION ALL
  SELECT 2, c.last_seen_at, c.recorded_at
  WHERE c.recorded_at >= c.last_seen_at + INTERVAL '3 s' OR c.recorded_at < %(since)s::timestamptz - INTERVAL '1 day'
  ORDER BY choice LIMIT 1
) n
WHERE c.last_seen_at > %(since)s AND (
  abs(extract(epoch FROM c.last_seen_at - c.recorded_at)) > %(above)s
  OR c.{device}_id IN (
    SELECT device_id FROM volt_internal.alert_state WHERE rule = ANY (%(rules)s::text[]) AND device_type = '{device}'
    UNION ALL SELECT device_id FROM volt.device_clock WHERE device_type = '{device}'))
-- end

-- name: devices_heard_last
-- since: devices that were heard since then, with the time of their newest reading; those heard last are first.
SELECT device_type, device_id, recorded_at
FROM (
  SELECT 'vehicle' AS device_type, vehicle_id AS device_id, recorded_at, last_seen_at FROM volt.vehicle_current
  WHERE last_seen_at > %(since)s
  UNION ALL
  SELECT 'meter', meter_id, recorded_at, last_seen_at FROM volt.meter_current WHERE last_seen_at > %(since)s
) AS heard
WHERE recorded_at IS NOT NULL
ORDER BY last_seen_at DESC

-- name: vehicle_units
-- ids text[], oldest (no newest reading of them is older): what these vehicles measured in the hour up to their newest
-- reading, at most 1000 readings each, oldest first. Columns: vehicle, seconds since 1970, and those of
-- voltd.unit_proof.proof.COLUMNS in their order.
SELECT c.vehicle_id, r.*
FROM volt.vehicle_current c
CROSS JOIN LATERAL (
  SELECT extract(epoch FROM v.recorded_at)::float8 AS at, v.soc_pct, v.speed_kmh, v.kwh_delivered_dc, v.dc_register_kwh,
    v.latitude, v.longitude, v.charging_power_kw, v.odometer_km, v.kwh_returned_dc, v.dc_returned_register_kwh,
    v.ac_register_kwh
  FROM volt.vehicle_reading v
  WHERE v.vehicle_id = c.vehicle_id AND v.recorded_at <= c.recorded_at
    AND v.recorded_at > c.recorded_at - INTERVAL '1 hour' AND v.recorded_at > %(oldest)s::timestamptz - INTERVAL '1 hour'
  ORDER BY v.recorded_at DESC LIMIT 1000
) AS r
WHERE c.vehicle_id = ANY (%(ids)s::text[])
ORDER BY c.vehicle_id, r.at

-- name: meter_units
-- As vehicle_units, of meters.
SELECT c.meter_id, r.*
FROM volt.meter_current c
CROSS JOIN LATERAL (
  SELECT extract(epoch FROM m.recorded_at)::float8 AS at, m.kwh_consumed_ac, m.ac_register_kwh, m.power_kw,
    m.kwh_returned_ac, m.ac_returned_register_kwh
  FROM volt.meter_reading m
  WHERE m.meter_id = c.meter_id AND m.recorded_at <= c.recorded_at
    AND m.recorded_at > c.recorded_at - INTERVAL '1 hour' AND m.recorded_at > %(oldest)s::timestamptz - INTERVAL '1 hour'
  ORDER BY m.recorded_at DESC LIMIT 1000
) AS r
WHERE c.meter_id = ANY (%(ids)s::text[])
ORDER BY c.meter_id, r.at

-- name: hourly_figures
-- metrics text[], belows, aboves float8[] (triples), rules text[]: figures of the vehicle-hours in [since, until) that may
-- be trusted, of vehicles that have one outside [below, above] or a state under these rules, hour by hour.
-- Columns: metric, vehicle, end of the hour, value, the least and the most that it can be, whether it may resolve.
WITH figure AS MATERIALIZED (
  -- include: hourly_figures.sql
), beyond AS (
  SELECT f.metric, f.vehicle_id
  FROM figure f
  JOIN unnest(%(metrics)s::text[], %(belows)s::float8[], %(aboves)s::float8[]) AS w (metric, below, above) USING (metric)
  WHERE f.value < w.below OR f.value > w.above
)
SELECT metric, vehicle_id, ended_at, value, low, high, resolves
FROM figure
WHERE (metric, vehicle_id) IN (SELECT metric, vehicle_id FROM beyond)
  OR vehicle_id IN (
    SELECT device_id FROM volt_internal.alert_state WHERE rule = ANY (%(rules)s::text[]) AND device_type = 'vehicle')
ORDER BY ended_at

-- name: hours_kept
-- since, until: up to where in this period the efficiency of all hours is kept.
SELECT greatest(%(since)s::timestamptz, least(%(until)s::timestamptz, s.efficiency_watermark))
FROM volt_internal.rollup_state s

-- name: late_hours_waiting
-- since, until: whether readings or corrections of this period wait to be computed.
SELECT EXISTS (
    SELECT FROM volt_internal.vehicle_rollup_dirty
    WHERE hour >= %(since)s::timestamptz AND hour < %(until)s::timestamptz)
  OR EXISTS (
    SELECT FROM volt_internal.meter_rollup_dirty
    WHERE hour >= %(since)s::timestamptz AND hour < %(until)s::timestamptz)
  OR EXISTS (
    SELECT FROM volt_internal.energy_dirty
    WHERE to_at > %(since)s::timestamptz AND from_at < %(until)s::timestamptz)
  OR EXISTS (
    SELECT FROM volt_internal.efficiency_dirty
    WHERE to_at > %(since)s::timestamptz AND from_at < %(until)s::timestamptz)

-- name: charged_hours
-- ids text[] (NULL: all): vehicle and end of the vehicle-hours in [since, until) in which it took energy of a meter, hour
-- by hour.
SELECT vehicle_id, hour + INTERVAL '1 hour'
FROM volt.efficiency_hourly
WHERE hour >= %(since)s::timestamptz AND hour < %(until)s::timestamptz AND dc_kwh > 0 AND ac_kwh > 0
  AND meter_id IS NOT NULL
  AND (%(ids)s::text[] IS NULL OR vehicle_id = ANY (%(ids)s))
ORDER BY 2, 1

-- name: paired_figures
-- metrics, ids text[], ends timestamptz[] (triples): figures of these vehicle-hours that are computed from their readings,
-- in the order given; none where it is not known. Columns as of hourly_figures.
SELECT w.metric, w.vehicle_id, w.ended_at, f.value, f.value, f.value, true
FROM unnest(%(metrics)s::text[], %(ids)s::text[], %(ends)s::timestamptz[])
  WITH ORDINALITY AS w (metric, vehicle_id, ended_at, place)
CROSS JOIN LATERAL (
  SELECT c.correlation_pct::float8 AS value
  FROM volt.correlation(w.vehicle_id, w.ended_at - INTERVAL '1 hour', w.ended_at) c
  WHERE w.metric = 'correlation_pct'
  UNION ALL
  -- Over a day, as an hour in which charging goes on has no edge. Of several meters the worst.
  SELECT max(abs(o.offset_s))::float8
  FROM volt.vehicle_meter l
  CROSS JOIN LATERAL volt.clock_offset(l.vehicle_id, l.meter_id, w.ended_at - INTERVAL '1 day', w.ended_at) o
  WHERE w.metric = 'pair_offset_s' AND l.vehicle_id = w.vehicle_id
    AND l.valid && tstzrange(w.ended_at - INTERVAL '1 hour', w.ended_at)
) AS f
WHERE f.value IS NOT NULL
ORDER BY w.place
