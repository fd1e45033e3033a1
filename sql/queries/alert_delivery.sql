-- What: the outbox of alerts, as the workers of its channels use it. Run by voltd/alerts/.
-- Why:  the rows of a message are fixed under its id and committed before it is sent. Whatever happens then, another
--       attempt carries the same id and no other rows; only rows that were given up are missing. Silences are evaluated
--       here, where ten thousand covered rows cost one pass and no transfer.
-- Lock: ROW EXCLUSIVE; rows are locked only while they are claimed or their result is recorded, never while something
--       is sent.

-- name: drop_deliveries
-- channel, shows_state (silences do not count): drops what need not be sent any more; returns alert_id, result.
-- A row is given up where an attempt on the channel failed when it was a day old already, and its episode is resolved:
-- a daemon that was stopped for days tries first, and an alert that is still open is sent however long that takes.
WITH waiting AS (
  SELECT d.delivery_id, d.alert_id, d.transition, d.message_id, a.resolved_at IS NOT NULL AS resolved,
    a.acknowledged_at IS NOT NULL AS acknowledged,
    coalesce(d.created_at + INTERVAL '24 hours'
      < max(d.attempted_at) FILTER (WHERE d.result IS NOT NULL) OVER (), false) AS old,
    NOT %(shows_state)s::boolean AND EXISTS (
      -- include: silence_of_alert.sql
    ) AS silenced
  FROM volt.alert_delivery d
  JOIN volt.alert a USING (alert_id)
  WHERE d.channel = %(channel)s AND d.status = 'waiting'
), decided AS (
  SELECT delivery_id, alert_id, transition, message_id, CASE
    WHEN old AND resolved THEN 'gave up after 24 h'
    WHEN message_id IS NOT NULL OR transition = 'resolved' THEN NULL
    WHEN silenced AND resolved THEN 'silenced'
    WHEN transition = 'repeated' AND resolved THEN 'resolved meanwhile'
    WHEN transition = 'repeated' AND acknowledged THEN 'acknowledged meanwhile'
  END AS result
  FROM waiting
), episodes AS (  -- windows, not joins: the planner takes a WITH of ten thousand rows for a small one
  SELECT *,
    bool_or(transition <> 'resolved' AND result IS NULL) OVER episode AS to_notify,
    bool_or(result = 'silenced') OVER episode AS now_silenced
  FROM decided
  WINDOW episode AS (PARTITION BY alert_id)
), gone AS (
  SELECT delivery_id, CASE
    WHEN result IS NOT NULL THEN result
    -- The resolution of an episode that was not notified and will not be.
    WHEN NOT %(shows_state)s::boolean AND transition = 'resolved' AND message_id IS NULL AND NOT to_notify THEN (
      SELECT CASE WHEN coalesce(now_silenced, false) OR bool_or(d.result = 'silenced') THEN 'silenced'
        ELSE 'never sent' END
      FROM volt.alert_delivery d
      WHERE d.alert_id = episodes.alert_id AND d.channel = %(channel)s
      HAVING NOT bool_or(d.transition <> 'resolved' AND d.status = 'sent'))
  END AS result
  FROM episodes
)
UPDATE volt.alert_delivery d
SET status = 'dropped', result = gone.result
FROM gone
WHERE d.delivery_id = gone.delivery_id AND gone.result IS NOT NULL
RETURNING d.alert_id, d.result

-- name: waiting_deliveries
-- channel, shows_state: one row, as pacing.Waiting.
WITH waiting AS (
  SELECT d.delivery_id, d.message_id, d.attempts, d.attempted_at, d.created_at, d.result
  FROM volt.alert_delivery d
  JOIN volt.alert a USING (alert_id)
  WHERE d.channel = %(channel)s AND d.status = 'waiting'
    AND (%(shows_state)s::boolean OR d.message_id IS NOT NULL OR d.transition = 'resolved' OR NOT EXISTS (
      -- include: silence_of_alert.sql
    ))
), claimed AS (
  SELECT message_id, attempts, result IS NOT NULL AS failed,
    extract(epoch FROM clock_timestamp() - attempted_at)::float8 AS tried_s
  FROM waiting WHERE message_id IS NOT NULL ORDER BY delivery_id LIMIT 1
)
SELECT claimed.message_id, coalesce(claimed.attempts, 0), coalesce(claimed.failed, false),
  coalesce(claimed.tried_s, 0),
  (SELECT extract(epoch FROM clock_timestamp() - min(created_at))::float8 FROM waiting WHERE message_id IS NULL),
  (SELECT count(DISTINCT d.message_id) FROM volt.alert_delivery d
   WHERE d.channel = %(channel)s AND d.sent_at > now() - INTERVAL '1 hour')
FROM (SELECT 1) AS one LEFT JOIN claimed ON true

-- name: claim_deliveries
-- channel, shows_state, message_id, at_most: rows that were never tried become one message.
UPDATE volt.alert_delivery d
SET message_id = %(message_id)s, attempts = d.attempts + 1, attempted_at = clock_timestamp(), result = NULL
FROM (
  SELECT d.delivery_id
  FROM volt.alert_delivery d
  JOIN volt.alert a USING (alert_id)
  WHERE d.channel = %(channel)s AND d.status = 'waiting' AND d.message_id IS NULL
    AND (%(shows_state)s::boolean OR d.transition = 'resolved' OR NOT EXISTS (
      -- include: silence_of_alert.sql
    ))
  ORDER BY d.delivery_id
  LIMIT %(at_most)s
  FOR UPDATE OF d SKIP LOCKED
) AS chosen
WHERE d.delivery_id = chosen.delivery_id

-- name: claim_deliveries_again
-- channel, message_id: another attempt at the same rows.
UPDATE volt.alert_delivery
SET attempts = attempts + 1, attempted_at = clock_timestamp(), result = NULL
WHERE channel = %(channel)s AND status = 'waiting' AND message_id = %(message_id)s

-- name: claimed_deliveries
-- channel, message_id: the rows of a message with their episodes, as message.Row, then the number of the attempt.
SELECT d.transition, d.severity, d.message, a.rule, a.device_type, a.device_id, a.fleet_id, a.opened_at, a.alert_id,
  a.last_seen_at, a.peak_value, a.acknowledged_at, a.resolved_at, d.attempts
FROM volt.alert_delivery d
JOIN volt.alert a USING (alert_id)
WHERE d.channel = %(channel)s AND d.status = 'waiting' AND d.message_id = %(message_id)s
ORDER BY d.delivery_id

-- name: sent_deliveries
-- channel, message_id: the channel accepted it.
UPDATE volt.alert_delivery SET status = 'sent', sent_at = clock_timestamp(), result = 'ok'
WHERE channel = %(channel)s AND status = 'waiting' AND message_id = %(message_id)s

-- name: failed_deliveries
-- channel, message_id, attempts, result, for_good: the attempt failed. Where another attempt has begun since, nothing
-- changes.
UPDATE volt.alert_delivery
SET result = %(result)s, status = CASE WHEN %(for_good)s::boolean THEN 'dropped' ELSE status END
WHERE channel = %(channel)s AND status = 'waiting' AND message_id = %(message_id)s AND attempts = %(attempts)s

-- name: lock_repeats
-- channel: one daemon at a time adds repeats; false: another one does.
SELECT pg_try_advisory_xact_lock(hashtextextended('alerts ' || %(channel)s::text, 0))

-- name: repeat_deliveries
-- channel, repeat_s, severities, rules and fleets text[] (the channel's; rules, fleets: empty for all): an open alert
-- that was notified and not acknowledged is notified again; returns alert_id.
INSERT INTO volt.alert_delivery (alert_id, channel, transition, severity, message)
SELECT a.alert_id, %(channel)s, 'repeated', a.severity, a.message
FROM volt.alert a
CROSS JOIN LATERAL (  -- the last one alone: an alert that has been open for months has hundreds
  SELECT d.sent_at
  FROM volt.alert_delivery d
  WHERE d.alert_id = a.alert_id AND d.channel = %(channel)s AND d.status <> 'dropped' AND NOT d.quiet
  ORDER BY d.delivery_id DESC
  LIMIT 1
) AS last
WHERE a.resolved_at IS NULL AND a.acknowledged_at IS NULL AND a.severity = ANY (%(severities)s::text[])
  AND (%(rules)s::text[] = '{}' OR a.rule = ANY (%(rules)s::text[]))
  AND (%(fleets)s::text[] = '{}' OR a.fleet_id = ANY (%(fleets)s::text[]))
  AND last.sent_at < now() - make_interval(secs => %(repeat_s)s::float8)  -- NULL: it still waits
RETURNING alert_id

-- name: open_alerts
-- Every open episode, as message.Row, the oldest first.
SELECT 'fired', severity, message, rule, device_type, device_id, fleet_id, opened_at, alert_id, last_seen_at,
  peak_value, acknowledged_at, resolved_at
FROM volt.alert
WHERE resolved_at IS NULL
ORDER BY alert_id

-- name: drop_deliveries_of_no_channel
-- channels text[]: those that are configured; returns channel and alert_id.
UPDATE volt.alert_delivery SET status = 'dropped', result = 'no such channel'
WHERE status = 'waiting' AND channel <> ALL (%(channels)s::text[])
RETURNING channel, alert_id
