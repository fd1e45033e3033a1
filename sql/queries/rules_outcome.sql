-- What: what an evaluation cycle of the rules writes, in the transaction in which it has read. Run by
--       voltd/rules/cycle/.
-- Why:  states, episodes and notifications are committed together, so a kill at any point loses and repeats nothing.
--       The rows of a statement go in as one JSON array. next_epoch fences: a daemon that no longer leads finds another
--       epoch than its own and writes nothing.
-- Lock: ROW EXCLUSIVE on the tables of alerts; besides a cycle only people who acknowledge write there.

-- name: next_epoch
-- epoch bigint as last read; no row: another daemon has written since. A NULL leaves efficiency_until as it is.
UPDATE volt_internal.alert_progress
SET epoch = epoch + 1, efficiency_until = coalesce(%(efficiency_until)s::timestamptz, efficiency_until)
WHERE epoch = %(epoch)s

-- name: change_alerts
-- rows jsonb: open episodes that got worse, continue, or are resolved.
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
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (
  -- include: episode_fields.sql
)
RETURNING rule, device_type, device_id, opened_at, alert_id

-- name: insert_alert_deliveries
-- rows jsonb: notifications, in the transaction of their episodes; if_begun: only where the channel has a notification
-- of the episode already.
INSERT INTO volt.alert_delivery (alert_id, channel, transition, quiet, severity, message, status, sent_at, result)
SELECT alert_id, channel, transition, quiet, severity, message, coalesce(status, 'waiting'), sent_at, result
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (alert_id bigint, channel text, transition text, quiet boolean,
  severity text, message text, status text, sent_at timestamptz, result text, if_begun boolean)
WHERE NOT if_begun OR EXISTS (
  SELECT FROM volt.alert_delivery d WHERE d.alert_id = r.alert_id AND d.channel = r.channel)

-- name: upsert_alert_states
-- rows jsonb: inserts or replaces.
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

-- name: change_past_alerts
-- rows jsonb: late episodes that readings which arrived later have changed.
UPDATE volt.alert a
SET severity = r.severity, opened_at = r.opened_at, last_seen_at = r.last_seen_at, peak_value = r.peak_value,
  resolved_at = r.resolved_at, message = r.message
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (alert_id bigint, severity text, opened_at timestamptz,
  last_seen_at timestamptz, peak_value double precision, resolved_at timestamptz, message text)
WHERE a.alert_id = r.alert_id AND a.past

-- name: insert_past_alerts
-- rows jsonb: episodes found in late readings. An episode replaces a shorter late one within it. Where it overlaps any
-- other episode of that rule and device, nothing is added. Returns how many are new.
WITH found AS (
  SELECT rule, severity, device_type, device_id, fleet_id, opened_at, last_seen_at, peak_value, resolved_at, message
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (
    -- include: episode_fields.sql
  )
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

-- name: drop_past_alerts
-- ids bigint[]: late episodes that readings which arrived later have disproved.
SELECT volt_internal.drop_past_alerts(%(ids)s::bigint[])

-- name: set_healthy
-- since timestamptz: begin of the healthy streak (NULL: something is missing), as of now.
UPDATE volt_internal.alert_progress SET healthy_since = %(since)s, healthy_at = now()

-- name: publish_bounds
-- bounds jsonb, late_after_s: the limits that writers look for, as of now; by the daemon that evaluates the rules.
INSERT INTO volt_internal.rule_bounds AS b (bounds, late_after_s, published_at)
VALUES (%(bounds)s::jsonb, %(late_after_s)s, now())
ON CONFLICT (only_row) DO UPDATE SET bounds = excluded.bounds, late_after_s = excluded.late_after_s,
  published_at = excluded.published_at
